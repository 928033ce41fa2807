"""`gpt2-memory`: whole runs with their energy, what each expert is worth, orders, pruning against bytes, sizes of text.

    python benchmarks/memory.py --data text:FOLDER --tokenizer gpt2 --device cuda --out memory.json
    python benchmarks/memory.py --data python-stdlib --tokenizer bpe:4096 --device cpu --parts runs,rate --out std.json

Runs are whole (`clso evolve`: library, search, winner chosen on `valid`, read back from disk). In the ablation a genome's
model is grown and counted on the statistics text, its weights fitted on the fitness text, and its loss taken on all of
`test`: no search, so that only the named part differs from the hand-set genome.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clso.config import RunConfig
from clso.data import load_corpus
from clso.device import resolve_device
from clso.models.gpt2 import text_loss
from clso.models.store import load_model
from clso.run import evolve
from clso.run.manifest import describe_device, describe_software
from clso.search_spaces.gpt2_memory import GPT2MemorySpace
from clso.search_spaces.gpt2_memory.genes import MEMORY_GENES
from clso.search_spaces.gpt2_memory.weights import line_losses
from clso.space import Genome
from clso.space.context import SpaceContext

ORDERS = (2, 3, 4, 5, 6, 8, 10)
EXPERTS: dict[str, dict[str, Any]] = {
    "no skip contexts": {"memory.skips": 0},
    "no contexts with classes": {"memory.classes": 0},
    "no explicit counts again": {"memory.explicit": False},
    "no grown GPT-2": {"memory.grown": False},
    "no shares of the past": {"past.shares": 0},
    "no matches": {"past.matches": 0},
    "neither shares nor matches": {"past.shares": 0, "past.matches": 0},
    "coarse buckets": {"buckets": "coarse"},
    "one weight a stage": {"buckets": "one"},
}
PRUNED = [
    *({"memory.skips.cut": cut} for cut in MEMORY_GENES["memory.skips.cut"]),
    *({"memory.cut": cut} for cut in MEMORY_GENES["memory.cut"]),
    *({"memory.entropy.high": t} for t in MEMORY_GENES["memory.entropy.high"]),
    *(
        {"memory.entropy.low": t, "memory.entropy.high": t}
        for t in MEMORY_GENES["memory.entropy.low"]
    ),
]


class Prefix:
    """A corpus whose statistics text is cut after `n` tokens."""

    def __init__(self, corpus: Any, n: int) -> None:
        self._corpus, self._n, self.vocab_size = corpus, n, corpus.vocab_size
        self.content_hash = hashlib.sha256(f"{corpus.content_hash} {n}".encode()).hexdigest()

    def tokens(self, split: str) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self._corpus.tokens(split)
        return found[: self._n] if split == "statistics" else found


def genome(space: GPT2MemorySpace, changes: dict[str, Any]) -> Genome:
    """The hand-set genome with other values of some of the memory's genes."""
    out, names = list(space.seeds()[0]), list(MEMORY_GENES)
    for name, value in changes.items():
        out[space.n_grown + names.index(name)] = MEMORY_GENES[name].index(value)
    return tuple(out)


def measured(space: GPT2MemorySpace, changes: dict[str, Any]) -> dict[str, Any]:
    """Test loss and bytes of one genome's model, and the seconds that it took."""
    begin, chosen = time.perf_counter(), genome(space, changes)
    model = space.model(chosen).to(space.context.device)
    loss = text_loss(model, space.blocks("test"))
    row = {
        "changes": {k: str(v) for k, v in changes.items()},
        "test_loss": loss,
        "n_bytes": space.costs(chosen)["n_bytes"],
        "time_s": time.perf_counter() - begin,
    }
    print(json.dumps(row), flush=True)
    return row


def whole_runs(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Whole runs: losses, joules and seconds by phase, the winner in words."""
    rows = []
    for seed in range(args.seeds):
        config = RunConfig(
            space="gpt2-memory",
            data=args.data,
            tokenizer=args.tokenizer,
            gens=args.gens,
            seed=seed,
            device=args.device,
        )
        with tempfile.TemporaryDirectory() as folder:
            result = evolve(config, Path(folder) / "run")
            n_bytes = load_model(Path(folder) / "run" / "best").n_bytes
        keep = (
            "best",
            "energy_j",
            "energy_reason",
            "time_s",
            "cpu_time_s",
            "counts",
            "tokens_forward",
        )
        rows.append({"seed": seed, "n_bytes": n_bytes, **{k: result[k] for k in keep}})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def rates(space: GPT2MemorySpace) -> dict[str, float]:
    """Candidates a second: pairs of a mixture and a grown part whose probabilities are there, and mixtures that are not."""
    blocks, device = space.blocks("fitness", 2048), torch.device(space.context.device)
    n = blocks[:, 1:].numel()
    a, b, p = (torch.rand(512, n, dtype=torch.float64, device=device) for _ in range(3))
    line_losses(a, b, p).sum().item()
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < 3:
        line_losses(a, b, p).sum().item()
        done += len(a)
    shared = done / (time.perf_counter() - begin)
    settings = [
        genome(space, {"past.decay": d, "past.rarity": r})
        for d in (0.95, 0.97)
        for r in (0.0, 0.25)
    ]
    space.losses(settings[:1], blocks)
    begin = time.perf_counter()
    space.losses(settings[1:], blocks)
    new = (len(settings) - 1) / (time.perf_counter() - begin)
    return {"shared_per_s": shared, "new_mixtures_per_s": new, "n_tokens": n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="python-stdlib")
    parser.add_argument("--tokenizer", default="bpe:4096")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--gens", type=int, default=50)
    parser.add_argument("--parts", default="runs,experts,orders,pruning,sizes,rate")
    parser.add_argument("--sizes", default="10000,30000,100000,300000,1000000,3000000")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.device = resolve_device(args.device)
    corpus = load_corpus(args.data, args.tokenizer)
    context = SpaceContext(load_corpus=lambda: corpus, device=args.device)
    space, parts = GPT2MemorySpace(context), args.parts.split(",")
    available = len(corpus.tokens("statistics"))

    def of_size(n: int) -> dict[str, Any]:
        cut: Any = Prefix(corpus, n)
        return {
            "n_tokens": n,
            **measured(GPT2MemorySpace(replace(context, load_corpus=lambda: cut)), {}),
        }

    record: dict[str, Any] = {
        "device": describe_device(args.device),
        "software": describe_software(),
        "corpus": corpus.spec,
    }
    work: dict[str, Any] = {
        "runs": lambda: whole_runs(args),
        "experts": lambda: {
            "all": measured(space, {}),
            **{name: measured(space, changes) for name, changes in EXPERTS.items()},
        },
        "orders": lambda: [measured(space, {"memory.order": k}) for k in ORDERS],
        "pruning": lambda: [measured(space, changes) for changes in PRUNED],
        "sizes": lambda: [of_size(n) for n in map(int, args.sizes.split(",")) if n <= available],
        "rate": lambda: rates(space),
    }
    for part in parts:
        record[part] = work[part]()
        args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
