"""Does the search earn its keep? Evolved winners against the hand-set genome and against random
search, paired by seed.

    python benchmarks/evolution_matters.py --config ref-2x128 --data text:FOLDER --seeds 8 --out evidence.json

All three grow from the same text and are re-measured on `test` from disk. Random search gets as
many true evaluations as the evolved run of its seed made. Prints JSON with each seed's losses and
the paired differences, bootstrap intervals and all."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean, median

import numpy as np

from clso import plugins
from clso.baseline import run_baseline
from clso.config import RunConfig
from clso.device import resolve_device
from clso.disk.recipes import find_recipe
from clso.models.gpt2 import text_loss
from clso.run import evolve
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.build import build_space
from clso.space.language import LanguageModelSpace, token_blocks


def interval(differences: list[float]) -> dict[str, float]:
    """Mean, and its 95 % bootstrap interval over 10,000 resamples of the seeds."""
    d = np.array(differences)
    means = d[np.random.default_rng(0).integers(0, len(d), (10_000, len(d)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(d.mean()), "low": float(low), "high": float(high)}


def hand_set_loss(config: RunConfig) -> float:
    device = resolve_device(config.device)
    space = build_space(plugins.load("search_spaces", config.space), config, device)
    assert isinstance(space, LanguageModelSpace)
    model = space.final_model(space.seeds()[0]).to(device)
    return text_loss(
        model, token_blocks(space.corpus.tokens("test"), space.config.n_positions).to(device)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=find_recipe)
    parser.add_argument("--data")
    parser.add_argument("--tokenizer")
    parser.add_argument("--space")
    parser.add_argument("--device")
    parser.add_argument("--gens", type=int)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    base = RunConfig() if args.config is None else RunConfig.from_toml(args.config)
    config = base.with_options(
        data=args.data,
        tokenizer=args.tokenizer,
        space=args.space,
        device=args.device,
        gens=args.gens,
        idle_s=0.0,
    )
    default_genome = hand_set_loss(config)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            seeded = config.with_options(seed=seed)
            result = evolve(seeded, Path(folder) / f"evolved-{seed}")
            evaluated = result["counts"]["evaluated"]
            random = run_baseline(
                "random-search", {"evaluations": evaluated}, seeded, Path(folder) / f"random-{seed}"
            )
            energy = result["energy_j"]
            rows.append(
                {
                    "seed": seed,
                    "evolved": result["best"]["test_loss"],
                    "evolved_valid": result["best"]["valid_loss"],
                    "random_search": random["best"]["test_loss"],
                    "default_genome": default_genome,
                    "evaluated": evaluated,
                    "time_s": result["time_s"]["total"],
                    "energy_j": energy["gross"] if energy else None,
                    "alleles": result["best"]["alleles"],
                }
            )
    evolved = [r["evolved"] for r in rows]
    found = {
        "config": json.loads(json.dumps({**config.__dict__, "data": args.data or config.data})),
        "hardware": describe_device(resolve_device(config.device)),
        "code": describe_code(),
        "software": describe_software(),
        "rows": rows,
        "evolved_median": median(evolved),
        "evolved_mean": fmean(evolved),
        "evolved_minus_hand_set": interval([r["evolved"] - r["default_genome"] for r in rows]),
        "evolved_minus_random_search": interval([r["evolved"] - r["random_search"] for r in rows]),
    }
    text = json.dumps(found, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
