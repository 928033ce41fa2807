"""How many joules AdamW needs to reach a grown model's loss on a larger text: the crossover, with
AdamW's whole curve.

    python benchmarks/crossover.py --data text:FOLDER --tokenizer gpt2 --device cuda --out crossover.json

CLSO runs once a seed. AdamW trains anew for every rate, schedule and number of steps; its joules
are those of the training and of scoring valid, its test loss is read from the float32 model."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from clso import plugins
from clso.baseline import BaselineJob, TrainingPlan
from clso.config import RunConfig
from clso.data import load_corpus
from clso.device import resolve_device
from clso.energy import open_meter
from clso.energy.ledger import Ledger
from clso.models.gpt2 import text_loss
from clso.models.store import load_model
from clso.run import evolve
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.build import model_sizes
from clso.space.language import token_blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", default="50,100,250,500,1000,2000")
    parser.add_argument("--rates", default="1e-3,2e-3")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = resolve_device(args.device)
    config = RunConfig(data=args.data, tokenizer=args.tokenizer, device=args.device, idle_s=0.0)
    corpus = load_corpus(args.data, args.tokenizer)
    test = token_blocks(corpus.tokens("test"), model_sizes(config)["n_positions"]).to(device)
    found: dict[str, Any] = {
        "hardware": describe_device(device),
        "code": describe_code(),
        "software": describe_software(),
        "corpus": corpus.spec,
        "clso": [],
        "adamw": [],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed in range(args.seeds):
            result = evolve(config.with_options(seed=seed), folder / f"clso-{seed}")
            energy = result["energy_j"]
            found["clso"].append(
                {
                    "seed": seed,
                    "test_loss": result["best"]["test_loss"],
                    "valid_loss": result["best"]["valid_loss"],
                    "energy_j": energy["gross"]["total"] if energy else None,
                    "time_s": result["time_s"]["total"],
                }
            )
        baseline = plugins.load("baselines", "adamw").value
        steps = [int(s) for s in args.steps.split(",")]
        with open_meter("auto", device) as meter:
            job = BaselineJob(config, lambda: corpus, device, folder, Ledger(meter), lambda _: None)
            settings = baseline.Settings(batch=args.batch, tied_head=True)
            trainer = baseline(settings).timed(job, max(steps))
            trainer.prepare()
            for rate in (float(r) for r in args.rates.split(",")):
                for schedule in ("constant", "cosine"):
                    for n in steps:
                        with meter.window("adamw") as window:
                            trainer.run(0, TrainingPlan(rate, schedule, n, n))
                        trainer.save(folder / "adamw")
                        found["adamw"].append(
                            {
                                "lr": rate,
                                "schedule": schedule,
                                "steps": n,
                                "test_loss": text_loss(
                                    load_model(folder / "adamw", device=device), test
                                ),
                                "energy_j": window.energy_j,
                                "time_s": window.time_s,
                                "window_short": window.short,
                            }
                        )
            found["adamw_settings"] = trainer.describe()
            found["energy"] = {"source": meter.source, "reason": meter.reason}
    text = json.dumps(found, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
