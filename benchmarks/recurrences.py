"""Recurrences in C and in plain torch, beside the Transformer: CPU seconds of a forward and backward pass.

    OMP_NUM_THREADS=1 python -m benchmarks.recurrences --out FILE

Forms and models take turns, and seconds are those of the process, so that a machine that does other work
as well says the same. The tables in docs/nsm.md are made from the record.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor

from clso import plugins
from clso.models import native
from clso.models.modules import build_module
from clso.models.sequence import SequenceModel
from clso.run.manifest import describe_device, describe_software

MODELS = ("simple-nsm", "advanced-hybrid", "sequential-hybrid", "mamba", "transformer")
LENGTHS = {1024: 9, 4096: 5}
"""And repetitions."""


@contextmanager
def form(name: str) -> Iterator[None]:
    """Have recurrences computed in "C" or in "torch"."""
    if name == "C":
        yield
        return
    with patch.object(native, "is_possible", lambda x: False):
        yield


def cpu_s(model: SequenceModel, tokens: Tensor) -> float:
    """Of one forward and backward pass."""
    model.zero_grad()
    started = time.process_time()
    torch.autograd.backward(model.token_losses(tokens).mean())
    return time.process_time() - started


def measure(length: int, repetitions: int) -> list[dict[str, object]]:
    """A row for each model and form; the Transformer has no recurrence."""
    tokens = torch.randint(256, (1, length + 1), generator=torch.Generator().manual_seed(0))
    models = {}
    for name in MODELS:
        kind: type[SequenceModel] = plugins.load("models", name).subclass_of(SequenceModel)
        models[name] = build_module(kind, kind.Config(256, 64, 2, 4, length))
    forms = [(name, one) for name in MODELS for one in ("torch", "C")]
    forms.remove(("transformer", "C"))
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in forms}
    for turn in range(repetitions + 1):
        for name, one in forms:
            with form(one):
                taken = cpu_s(models[name], tokens)
            if turn:  # the first compiles, and warms up
                seconds[name, one].append(taken)
    return [
        {
            "model": name,
            "form": one,
            "length": length,
            "cpu_s": median(taken),
            "least_cpu_s": min(taken),
            "repetitions": repetitions,
        }
        for (name, one), taken in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    if not native.is_possible(torch.zeros(1)):
        raise SystemExit("a C compiler is needed: none was found")
    rows = [row for length, n in LENGTHS.items() for row in measure(length, n)]
    what = {"sizes": "batch 1, float32, 2 layers of d = 64", "threads": torch.get_num_threads()}
    where = {"software": describe_software(), "hardware": describe_device("cpu")}
    out.write_text(json.dumps({**where, **what, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
