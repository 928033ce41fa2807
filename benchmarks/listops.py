"""ListOps accuracy of SimpleNSM, LSTM and Transformer, trained by AdamW, at equal numbers of
parameters.

    python benchmarks/listops.py --out listops.jsonl                            # small: about ten minutes on two CPU cores
    python benchmarks/listops.py --out lra.jsonl --task listops-lra --device cuda --parameters 200000 --steps 5000

The models' d_model are searched so that their parameters lie within 5 % of each other, near
--parameters; every model, seed and rate gets the same steps, batches and examples. A seed counts at
the rate that is best on valid. The control trains on permuted labels and has to fall to chance: the
accuracy of the most frequent answer. One JSON line a training; a line that is there already is not
trained again. Prints a Markdown table."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from clso import plugins
from clso.device import resolve_device
from clso.errors import EvaluationError
from clso.models.modules import n_parameters
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.options import parse_options
from clso.tasks.base import ShuffledLabels, Task, load_task
from clso.tasks.models import build_model, equal_widths
from clso.tasks.train import TrainSettings, train_on


def read(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that are there; a line that a kill cut short is dropped. Stops if they are of
    other settings."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    path.write_text(whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    if any(row["run"] != settings for row in rows):
        raise SystemExit(f"{path} holds rows of other settings; choose another --out")
    return rows


def table(rows: list[dict[str, Any]], models: list[str]) -> str:
    """Mean and standard deviation over seeds, each at its best rate on valid."""
    lines = [
        "| model | d_model | parameters | seeds | test accuracy | valid accuracy | labels shuffled | chance | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in models:
        own = [row for row in rows if row["model"] == name]
        real, control = ([row for row in own if row["control"] is kind] for kind in (False, True))
        if not real:
            continue
        chosen = [
            max((r for r in real if r["seed"] == s), key=_valid)
            for s in sorted({r["seed"] for r in real})
        ]
        cells = [name, real[0]["d_model"], f"{real[0]['parameters']:,}", len(chosen)]
        cells += [
            _spread(chosen, "test_accuracy"),
            _spread(chosen, "valid_accuracy"),
            _spread(control, "test_accuracy"),
        ]
        cells += [f"{real[0]['chance']:.4f}", f"{fmean(row['train_s'] for row in chosen):.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _valid(row: dict[str, Any]) -> float:
    return -1.0 if row["valid_accuracy"] is None else row["valid_accuracy"]


def _spread(rows: list[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return "-"
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def train(
    name: str,
    task: Task,
    sizes: dict[str, Any],
    settings: TrainSettings,
    lr: float,
    seed: int,
    device: str,
) -> Any:
    """One training's record; a diverged one has no accuracy."""
    model = build_model(name, task, sizes, seed=seed)
    try:
        return train_on(
            model,
            task,
            settings,
            lr,
            seed=seed,
            device=device,
            progress=lambda text: print(f"    {text}"),
        )
    except EvaluationError:
        found = {
            "seed": seed,
            "lr": lr,
            "parameters": n_parameters(model),
            "status": "diverged",
            "chance": 0.0,
        }
        return {**found, "valid_accuracy": None, "test_accuracy": None, "train_s": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default="simple-nsm,lstm,transformer")
    parser.add_argument("--task", default="listops")
    parser.add_argument(
        "--task-options", default="min_length=8,max_length=49,max_depth=4", help="KEY=VALUE,..."
    )
    parser.add_argument("--parameters", type=int, default=60_000)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument(
        "--lr", default="2e-3", help="rates, comma-separated; the control trains at the first"
    )
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--eval-every", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--control-seeds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = resolve_device(args.device)
    pairs = (
        [pair for pair in args.task_options.split(",") if pair] if args.task == "listops" else []
    )
    kind = plugins.load("tasks", args.task).subclass_of(Task)
    task = load_task(args.task, parse_options(kind.Options, pairs, of="this task"))
    rates, models = [float(rate) for rate in args.lr.split(",")], args.models.split(",")
    settings = TrainSettings(steps=args.steps, batch=args.batch, eval_every=args.eval_every)
    sizes = {"n_layers": args.layers, "n_heads": args.heads}
    run = {
        "task": task.describe(),
        "parameters": args.parameters,
        **sizes,
        "steps": args.steps,
        "batch": args.batch,
    }
    run["eval_every"] = args.eval_every
    rows = read(args.out, run)
    hardware = {
        "code": describe_code(),
        "hardware": describe_device(device),
        "software": describe_software(),
    }
    done = {(row["model"], row["seed"], row["lr"], row["control"]) for row in rows}
    widths = equal_widths(models, task, sizes, args.parameters)
    with args.out.open("a") as out:
        for name in models:
            d_model = widths[name]
            plans = [(seed, lr, False) for seed in range(args.seeds) for lr in rates]
            plans += [(seed, rates[0], True) for seed in range(args.control_seeds)]
            for seed, lr, control in plans:
                if (name, seed, lr, control) in done:
                    continue
                print(
                    f"{name}, d_model {d_model}, seed {seed}, lr {lr:g}{', labels shuffled' if control else ''}"
                )
                of = ShuffledLabels(task) if control else task
                record = train(name, of, {**sizes, "d_model": d_model}, settings, lr, seed, device)
                row = {
                    "model": name,
                    "d_model": d_model,
                    "control": control,
                    "run": run,
                    **record,
                    **hardware,
                }
                out.write(json.dumps(row) + "\n")
                out.flush()
                os.fsync(out.fileno())
                rows.append(row)
    print(table(rows, models))


if __name__ == "__main__":
    main()
