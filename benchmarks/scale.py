"""Does the saving grow with the model? CLSO's joules against the strongest AdamW's, by size, and
the trend with its error.

    python benchmarks/scale.py --data text:FOLDER --sizes 64x2,128x2,256x4,512x8,128x8 --out scale.json

Each size (d_model x layers, heads of 64) gets its own sweep of AdamW; the strongest, stopped where
its loss on valid is best, is then measured against CLSO in windows A B B A. A size whose CLSO loses
on valid saves nothing, whatever it costs."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from clso import plugins
from clso.baseline import Baseline
from clso.config import RunConfig
from clso.data import Corpus, load_corpus
from clso.data.shared import in_memory
from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.models.gpt2 import GPT2Config
from clso.prove.config import ProveConfig
from clso.prove.context import ProofContext
from clso.prove.controls import make_job
from clso.prove.sides import AdamwSide, ClsoSide
from clso.prove.sweep import best_within, plans, sweep_row
from clso.prove.windows import measure_window
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.build import model_sizes

HEAD = 64


def n_parameters(config: GPT2Config) -> int:
    """Parameters of the model, vocabulary tables included."""
    d, blocks = config.d_model, config.n_layers * (12 * config.d_model**2 + 13 * config.d_model)
    return blocks + (2 * config.vocab_size + config.n_positions + 2) * d


def measure(
    config: RunConfig, settings: ProveConfig, corpus: Corpus, device: str, meter: EnergyMeter
) -> dict[str, Any]:
    """Both sides at one size: losses, joules and seconds a run, and their ratio."""
    sizes = model_sizes(config)
    with tempfile.TemporaryDirectory() as temporary:
        proof = ProofContext(
            config,
            corpus,
            in_memory(corpus),
            device,
            Path(temporary),
            meter,
            lambda: open_meter(config.energy, device),
        )
        clso = ClsoSide(proof)
        kind: type[Baseline] = plugins.load("baselines", "adamw").subclass_of(Baseline)
        training = kind(kind.Settings()).timed(make_job(proof), settings.max_steps)
        adamw = AdamwSide(proof, training)
        training.prepare()
        sweep = [
            sweep_row(meter, training, plan, 0, settings.score_every) for plan in plans(settings)
        ]
        best, _ = best_within(sweep)
        arms = {"clso": clso.arm("clso"), "adamw": adamw.arm("adamw", best)}
        losses: dict[str, Any] = {"clso": clso.model("clso", 0)}
        losses["adamw"] = adamw.model("adamw", 0, best)
        order = ("clso", "adamw", "adamw", "clso")
        windows = [
            measure_window(meter, arms[name], range(settings.seeds), settings.window_s)
            for name in order
        ]
    cost = {
        name: {
            key: sum(w[key] or math.nan for w in windows if w["arm"] == name)
            / sum(w["n_runs"] for w in windows if w["arm"] == name)
            for key in ("energy_j", "time_s")
        }
        for name in arms
    }
    parts = [
        [(w["energy_j"] or math.nan) / w["n_runs"] for w in windows if w["arm"] == name]
        for name in arms
    ]
    sides = {
        name: {
            **cost[name],
            "valid_loss": losses[name]["valid_loss"],
            "test_loss": losses[name]["test_loss"],
        }
        for name in arms
    }
    return {
        "d_model": sizes["d_model"],
        "n_layers": sizes["n_layers"],
        "n_heads": sizes["n_heads"],
        "n_parameters": n_parameters(GPT2Config(vocab_size=corpus.vocab_size, **sizes)),
        "plan": str(best),
        **sides,
        "energy_ratio": cost["clso"]["energy_j"] / cost["adamw"]["energy_j"],
        "energy_ratio_by_window": [a / b for a, b in zip(*parts, strict=True)],
        "time_ratio": cost["clso"]["time_s"] / cost["adamw"]["time_s"],
        "sweep_j": sum(row["energy_j"] or math.nan for row in sweep),
    }


def trend(rows: list[dict[str, Any]], *keys: str) -> dict[str, Any]:
    """Least squares of log(energy ratio) on the logs of `keys`, a point a pair of windows: slopes
    with standard errors.

    Below 0 savings grow with that size.
    """
    points = [
        ([math.log(row[key]) for key in keys], math.log(r))
        for row in rows
        for r in row["energy_ratio_by_window"]
    ]
    x, y = np.array([[1.0, *logs] for logs, _ in points]), np.array([ratio for _, ratio in points])
    found: dict[str, Any] = {"of": "energy_ratio", "n": len(points)}
    free = len(y) - len(keys) - 1
    if free < 1 or np.linalg.matrix_rank(x) <= len(keys):
        return {**found, "slopes": None}  # too few sizes to tell the keys apart
    slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
    residual = y - x @ slopes
    covariance = float(residual @ residual) / free * np.linalg.inv(x.T @ x)
    errors = np.sqrt(np.diag(covariance))
    by_key = zip(keys, slopes[1:].tolist(), errors[1:].tolist(), strict=True)
    return {
        **found,
        "slopes": {key: {"slope": slope, "standard_error": error} for key, slope, error in by_key},
    }


def trends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over parameters alone, and over width and depth together."""
    return [trend(rows, "n_parameters"), trend(rows, "d_model", "n_layers")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--energy", default="auto")
    parser.add_argument("--sizes", default="64x2,128x2,256x4,512x8,128x8")
    parser.add_argument("--rates", default="3e-4,5e-4,1e-3")
    parser.add_argument("--steps", default="1000,2000")
    parser.add_argument("--schedules", default="cosine")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--window-s", type=float, default=3.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = resolve_device(args.device)
    corpus = load_corpus(args.data, args.tokenizer)
    settings = ProveConfig(
        seeds=args.seeds,
        window_s=args.window_s,
        rates=tuple(map(float, args.rates.split(","))),
        steps_grid=tuple(map(int, args.steps.split(","))),
        schedules=tuple(args.schedules.split(",")),
    )
    found: dict[str, Any] = {
        "hardware": describe_device(device),
        "code": describe_code(),
        "software": describe_software(),
        "corpus": corpus.spec,
        "settings": settings.to_json(),
        "sizes": [],
    }
    for size in args.sizes.split(","):
        d, layers = map(int, size.split("x"))
        config = RunConfig(
            data=args.data, tokenizer=args.tokenizer, device=args.device, energy="null", idle_s=0.0
        )
        config = config.with_options(
            options={"d_model": d, "n_layers": layers, "n_heads": max(2, d // HEAD)}
        )
        with open_meter(args.energy, device) as meter:
            row = measure(config, settings, corpus, device, meter)
        found["sizes"].append(row)
        print(json.dumps(row), flush=True)
        found["trends"] = trends(found["sizes"])
        if args.out:
            args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found.get("trends")))


if __name__ == "__main__":
    main()
