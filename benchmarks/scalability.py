"""Larger models on one text: CLSO's whole run, and the joules that AdamW needs to reach the same loss.

    python -m benchmarks.scalability --data text:FOLDER --out runs/DATE_scalability/h200.json
    python -m benchmarks.scalability --data text:FOLDER --sizes 2x32 --steps 2,4 --device cpu --out /tmp/tiny.json

Sizes are layers x width, heads of 64. CLSO's runs come after one of a single generation, which loads
and compiles what they need. AdamW trains anew for each length, the rate by a cosine: all rates at
the first length, the best one after that, until every loss of CLSO's is reached or the row's
seconds are spent; its joules are those of one training and of scoring valid. The record is written
a row at a time, and the same command goes on. `benchmarks/scale.py` is another comparison: with
AdamW's best, on a smaller text.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from benchmarks.scale import HEAD, n_parameters
from clso import plugins
from clso.baseline import BaselineJob, TimedTraining, TrainingPlan
from clso.config import RunConfig
from clso.data import Corpus, load_corpus
from clso.data.shared import in_memory
from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.energy.ledger import Ledger
from clso.models.gpt2 import GPT2Config, text_loss
from clso.models.store import load_model
from clso.run import evolve
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.build import model_sizes
from clso.space.language import token_blocks

SIZES = "2x128,12x768,24x1024,36x1280"
_WARM_UP_SHARE = 20  # one step in so many warms up


@dataclass
class Size:
    """One size of both sides, and what AdamW trains with at it."""

    name: str
    config: RunConfig
    corpus: Corpus
    device: str
    meter: EnergyMeter
    settings: dict[str, Any]
    max_steps: int
    folder: Path

    @cached_property
    def training(self) -> TimedTraining:
        """AdamW, compiled when the first training asks."""
        baseline = plugins.load("baselines", "adamw").value
        host = in_memory(self.corpus)
        job = BaselineJob(
            self.config, lambda: host, self.device, self.folder, Ledger(self.meter), lambda _: None
        )
        out: TimedTraining = baseline(baseline.Settings(**self.settings)).timed(job, self.max_steps)
        return out

    def clso(self, space: str, idle_w: float | None) -> dict[str, Any]:
        """A whole run in a process that is warm."""
        config = self.config.with_options(space=space)
        evolve(config.with_options(gens=1), self.folder / f"{space}-warm-up")
        result = evolve(config, self.folder / space)
        sizes = model_sizes(config)
        energy, time_s = result["energy_j"], result["time_s"]
        gross = energy["gross"] if energy else None
        return {
            "n_parameters": n_parameters(GPT2Config(self.corpus.vocab_size, **sizes)),
            "valid_loss": result["best"]["valid_loss"],
            "test_loss": result["best"]["test_loss"],
            "energy_j": gross,
            "net_j": None if not gross or idle_w is None else gross["total"] - idle_w * time_s["total"],
            "energy_reason": result["energy_reason"],
            "time_s": time_s,
            "counts": result["counts"],
        }  # fmt: skip

    def adamw(self, rate: float, steps: int, idle_w: float | None) -> dict[str, Any]:
        """One training of a cosine's whole length."""
        plan = TrainingPlan(rate, "cosine", steps, steps, (("warmup", steps // _WARM_UP_SHARE),))
        self.training.prepare(plan)
        with self.meter.window("adamw", record=False) as window:
            self.training.run(0, plan)
        self.training.save(self.folder / "adamw")
        model = load_model(self.folder / "adamw", device=self.device)
        n_positions = model_sizes(self.config)["n_positions"]
        losses = {
            f"{split}_loss": text_loss(
                model, token_blocks(self.corpus.tokens(split), n_positions).to(self.device)
            )
            for split in ("valid", "test")
        }
        spent, time_s = window.energy_j, window.time_s
        return {
            "rate": rate,
            "steps": steps,
            **losses,
            "energy_j": spent,
            "net_j": None if spent is None or idle_w is None else spent - idle_w * time_s,
            "energy_reason": window.reason,
            "time_s": time_s,
            "kernels": self.training.describe()["kernels"],
        }


def curve(
    record: Record,
    size: Size,
    rates: Sequence[float],
    lengths: Sequence[int],
    row_s: float,
    idle_w: float | None,
) -> None:
    """AdamW's points at one size, longer and longer, until they reach CLSO's losses or cost too much."""
    own = [
        v["test_loss"] for k, v in record.rows.get("clso", {}).items() if k.split()[0] == size.name
    ]
    spent_s, best = 0.0, None
    for number, steps in enumerate(lengths):
        tried = rates if best is None else [best]
        points = [
            row
            for rate in tried
            if (row := record.add("adamw", f"{size.name} {rate:g} {steps}", partial(size.adamw, rate, steps, idle_w)))
        ]  # fmt: skip
        if not points:
            return
        first = min(points, key=lambda row: row["valid_loss"])
        best = first["rate"]
        spent_s += first["time_s"]
        following = lengths[number + 1] if number + 1 < len(lengths) else 0
        reached = bool(own) and first["test_loss"] <= min(own)
        if reached or spent_s + first["time_s"] * following / steps > row_s:
            return


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--energy", default="auto")
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--spaces", default="gpt2,gpt2-memory")
    parser.add_argument("--gens", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rates", default="5e-4,1e-3,2e-3")
    parser.add_argument("--steps", default="125,250,500,1000,2000,4000")
    parser.add_argument("--row-s", type=float, default=45, help="seconds of training at one size")
    parser.add_argument("--eager-from", type=int, default=36, help="layers that are not compiled")
    parser.add_argument("--minutes", type=float, default=8, help="no row begins after these")
    parser.add_argument("--idle-s", type=float, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    device = resolve_device(args.device)
    corpus = load_corpus(args.data, args.tokenizer)
    lengths = [int(n) for n in args.steps.split(",")]
    rates = [float(r) for r in args.rates.split(",")]
    start = {
        "device": describe_device(device),
        "software": describe_software(),
        "code": describe_code(),
        "corpus": corpus.spec,
        "gens": args.gens,
        "batch": args.batch,
    }
    record = Record(args.out, start, args.minutes)
    with open_meter(args.energy, device) as meter, tempfile.TemporaryDirectory() as temporary:
        idle_w = None if meter.reason else meter.measure_idle(args.idle_s)
        record.rows |= {
            "energy": {"source": meter.source, "reason": meter.reason},
            "idle_w": idle_w,
        }
        for name in args.sizes.split(","):
            layers, width = map(int, name.split("x"))
            options = {"n_layers": layers, "d_model": width, "n_heads": max(2, width // HEAD)}
            config = RunConfig(
                data=args.data, tokenizer=args.tokenizer, device=args.device, gens=args.gens,
                energy=args.energy, idle_s=0.0, options=options,
            )  # fmt: skip
            settings = {
                "batch": args.batch,
                "tied_head": True,
                "betas": (0.9, 0.95),
                "weight_decay": 0.1,
                "grad_clip": 1.0,
                "kernels": "eager" if layers >= args.eager_from else "auto",
            }
            folder = Path(temporary) / name
            size = Size(name, config, corpus, device, meter, settings, max(lengths), folder)
            for space in args.spaces.split(","):
                record.add("clso", f"{name} {space}", partial(size.clso, space, idle_w))
            curve(record, size, rates, lengths, args.row_s, idle_w)


if __name__ == "__main__":
    main()
