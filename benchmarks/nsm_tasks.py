"""What NSMs and their peers do on tasks, at equal parameters, by the whole framework of metrics.

    python -m benchmarks.nsm_tasks --out runs/local/nsm-tasks                     # small: half an hour on two CPU cores
    python -m benchmarks.nsm_tasks --out large --device cuda --parameters 200000 --heads 4 --layers 4 --steps 20000 \\
        --seeds 3 --jobs 12 --examples 256 --tasks "listops,$(seq -s, -f stories:kind=%g 1 20),pathfinder,copy" --evolve 20x16

A task is NAME or NAME:KEY=VALUE:KEY=VALUE. For each, an NSM is evolved (`clso evolve --task`), all models are trained by
AdamW until valid stops improving (at most --steps), --jobs at a time over all tasks, and measured as `clso probe` does:
OUT/TASK/probe.json. What is there already is not evolved, trained or measured again. Models are measured alone, once all are
trained; side by side, each as soon as it is trained, if --groups leaves out what tells of time. Prints Markdown tables, with
published figures beside them."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import markdown
from benchmarks.side_by_side import Pool, tell
from clso import plugins
from clso.device import resolve_device
from clso.energy import open_meter
from clso.errors import ClsoError
from clso.models.modules import load_family
from clso.probe.folder import read_probe, write_probe
from clso.probe.metrics import GROUPS, METRICS
from clso.probe.run import TIMED, Measured, compare, measure, run_probe
from clso.probe.settings import ProbeSettings
from clso.probe.show import figure_text
from clso.probe.subject import open_subject, open_task, plan_trainings
from clso.probe.training import Training
from clso.space.options import parse_options
from clso.tasks.base import Task
from clso.tasks.models import model_options
from clso.tasks.train import Fit

MODELS = (
    *("simple-nsm", "advanced-hybrid", "sequential-hybrid"),
    *("lstm", "transformer", "mamba", "rwkv", "memn2n"),
)
TASKS = "listops,stories:kind=1:max_sentences=6,stories:kind=2:max_sentences=6"
EVOLVED, TRAINED = "evolved", "trained"
SLOWEST = (
    *("evolved", "sequential-hybrid", "mamba", "simple-nsm", "advanced-hybrid"),
    *("rwkv", "transformer", "memn2n", "lstm"),
)
"""By the time of a step on a CPU; what takes longest begins first."""
DIGITS = 6
"""Of a record's numbers."""

_ARENA = "Tay et al. 2020, of the Arena's own sequences"
_BABI = "Henaff et al. 2017, of bAbI's own stories, 10,000 to learn from"
_LSTM_ERRORS = (
    *(0.0, 81.9, 83.1, 0.2, 1.2, 51.8, 24.9, 34.1, 20.2, 30.1),
    *(10.3, 23.4, 6.1, 81.0, 78.7, 51.9, 50.1, 6.8, 90.3, 2.1),
)
_MEMN2N_ERRORS = (
    *(0.0, 0.3, 2.1, 0.0, 0.8, 0.1, 2.0, 0.9, 0.3, 0.0),
    *(0.0, 0.0, 0.0, 0.2, 0.0, 51.8, 18.6, 5.3, 2.3, 0.0),
)
PUBLISHED: dict[str, tuple[str, dict[str, float]]] = {
    **dict.fromkeys(
        ("listops", "listops-lra", "lra-listops"),
        (_ARENA, {"transformer": 0.3637, "linformer": 0.3570, "performer": 0.1801}),
    ),
    "lra-text": (_ARENA, {"transformer": 0.6427, "linformer": 0.5394, "performer": 0.6540}),
    "lra-retrieval": (_ARENA, {"transformer": 0.5746, "linformer": 0.5227, "performer": 0.5382}),
    "lra-image": (_ARENA, {"transformer": 0.4244, "linformer": 0.3856, "performer": 0.4277}),
    "pathfinder": (_ARENA, {"transformer": 0.7140, "linformer": 0.7634, "performer": 0.7705}),
    **{
        f"stories:kind={kind}": (
            _BABI,
            {"lstm": round(1 - lstm / 100, 3), "memn2n": round(1 - memory / 100, 3)},
        )
        for kind, (lstm, memory) in enumerate(zip(_LSTM_ERRORS, _MEMN2N_ERRORS, strict=True), 1)
    },
}
"""Source and accuracies by model, of tasks of the same kind that others drew."""

SHOWN = (
    *("accuracy", "loss", "accuracy_4x", "noise_replace", "adversarial"),
    *("time_per_sequence_s", "step_time_s", "step_peak_bytes"),
)


def parse_task(text: str) -> tuple[str, dict[str, Any]]:
    """NAME:KEY=VALUE:... as a name and options. Raises `ConfigError` or `PluginError`."""
    name, *pairs = text.split(":")
    kind = plugins.load("tasks", name).subclass_of(Task)
    options = parse_options(kind.Options, tuple(pairs), of="this task")
    kind.Options(**options)  # which says what it does not allow
    return name, options


def parse_model(text: str) -> tuple[str, dict[str, Any]]:
    """NAME:KEY=VALUE:... as a model and its options. Raises `ConfigError` or `PluginError`."""
    name, *pairs = text.split(":")
    return name, model_options(name, tuple(pairs))


def folder_of(text: str) -> str:
    """A task as the name of a folder."""
    return text.replace(":", "_").replace("=", "-")


def evolve(text: str, args: argparse.Namespace) -> None:
    """An NSM for the task, if it has none: `args.evolve` is GENERATIONSxCANDIDATES."""
    out = args.out / folder_of(text) / EVOLVED
    if (out / "result.json").exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    name, options = parse_task(text)
    gens, pop = args.evolve.split("x")
    pairs = [part for k, v in options.items() for part in ("--option", f"{k}={v}")]
    sizes = ("--gens", gens, "--pop", pop, "--surrogate", "none", "--device", args.device)
    command = ["evolve", "--space", "nsm", "--task", name, *pairs, *sizes, "--out", str(out)]
    environ = dict(os.environ)
    if args.jobs > 1:  # shared cores, and no joules of one's own
        environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // args.jobs))
        command += ["--energy", "null"]
    subprocess.run(
        [sys.executable, "-m", "clso", *command], check=True, stdout=subprocess.DEVNULL, env=environ
    )


def settings_of(text: str, args: argparse.Namespace) -> ProbeSettings:
    """How one task is probed."""
    name, options = parse_task(text)
    evolved = [str(args.out / folder_of(text) / EVOLVED)] if args.evolve else []
    return ProbeSettings(
        subjects=(*args.models.split(","), *evolved),
        task=name,
        task_options=options,
        groups=tuple(args.groups.split(",")),
        n_layers=args.layers,
        n_heads=args.heads,
        model_options=dict(map(parse_model, args.model_options)),
        equal_parameters=args.parameters,
        steps=args.steps,
        eval_every=args.eval_every,
        stop_after=args.stop_after,
        lr=args.lr,
        seeds=args.seeds,
        jobs=args.jobs,
        examples=args.examples,
        repeats=args.repeats,
        device=resolve_device(args.device),
        energy="null" if measured_together(args) else "auto",
    )


def measured_together(args: argparse.Namespace) -> bool:
    """Whether models are measured beside each other."""
    return args.jobs > 1 and not set(TIMED) & set(args.groups.split(","))


def add(pool: Pool, text: str, args: argparse.Namespace, turn: int) -> None:
    """All that a task takes: its plan, and then what follows from it. Tasks are taken in turn."""

    def planned(plans: dict[str, list[Training]]) -> None:
        specs = list(settings_of(text, args).subjects)
        found: dict[str, Measured] = {}

        def measured(spec: str, one: Measured) -> None:
            found[spec] = one
            if len(found) == len(specs):
                ordered = [found[spec] for spec in specs]
                pool.add(f"{text}: record", (-2,), record_of, text, args, ordered)

        def trained(spec: str, of: Training | None, left: list[None], done: Fit | None) -> None:
            name = EVOLVED if of is None else f"{of.name}, seed {of.seed}, lr {of.lr:.2g}"
            tell(f"{text}: {name}{'' if done is None else said_of(done)}")
            left.pop()
            if measured_together(args) and not left:
                then = partial(measured, spec)
                work = (measure_one, text, args, spec, plans.get(spec, []))
                pool.add(f"{text}: {name} measured", (-1,), *work, then=then)

        for spec in specs:
            plan = plans.get(spec, [])
            if not plan:
                then = partial(trained, spec, None, [None])
                pool.add(f"{text}: {EVOLVED}", (turn, 0), evolve, text, args, then=then)
            left: list[None] = [None] * len(plan)
            for one in plan:
                then = partial(trained, spec, one, left)
                rank = SLOWEST.index(spec) if spec in SLOWEST else 0
                pool.add(f"{text}: {one.name} {one.seed}", (turn, rank), train, one, then=then)

    pool.add(f"{text}: plan", (turn, -1), plan_of, text, args, then=planned)


def plan_of(text: str, args: argparse.Namespace) -> dict[str, list[Training]]:
    """The trainings of a task's models."""
    settings = settings_of(text, args)
    return plan_trainings(settings, open_task(settings), args.out / folder_of(text) / TRAINED)


def train(one: Training) -> Fit:
    """What was kept of a training, or what it gives."""
    return one.kept() or one.run(lambda line: None)


def said_of(done: Fit) -> str:
    """A training in a line."""
    right = f"{done.valid.accuracy:.3f}" if done.valid else "diverged"
    return f": {done.steps} steps, {done.train_s + done.score_s:.0f} s, valid {right}"


def measure_one(
    text: str, args: argparse.Namespace, spec: str, plan: Sequence[Training]
) -> Measured:
    """One model of a task, beside others."""
    settings = settings_of(text, args)
    subject = open_subject(spec, plan, settings, lambda line: None)
    with open_meter(settings.energy, settings.device) as meter:
        return measure(subject, open_task(settings), settings, meter, lambda line: None)


def record_of(text: str, args: argparse.Namespace, found: Sequence[Measured]) -> None:
    """Write a task's record."""
    settings = settings_of(text, args)
    with open_meter(settings.energy, settings.device) as meter:
        write(text, args, compare(found, open_task(settings), settings, meter).to_json())


def record(text: str, args: argparse.Namespace) -> dict[str, Any]:
    """One task's record, from its folder if it is there."""
    folder = args.out / folder_of(text)
    if not is_measured(text, args):
        probe = run_probe(
            settings_of(text, args), lambda line: tell(f"{text}: {line}"), folder / TRAINED
        )
        write(text, args, probe.to_json())
    return read_probe(folder)


def write(text: str, args: argparse.Namespace, found: dict[str, Any]) -> None:
    """A record, as small as what its tables need."""
    write_probe(args.out / folder_of(text), rounded(found), page=False, indent=None)


def rounded(value: Any) -> Any:
    """JSON types with `DIGITS` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value


def is_measured(text: str, args: argparse.Namespace) -> bool:
    """Whether a task's record is there."""
    return bool((args.out / folder_of(text) / "probe.json").exists())


def table(record: Mapping[str, Any]) -> str:
    """One task: a row a model, with what is published of its kind."""
    metrics = [metric for metric in METRICS if metric.name in SHOWN]
    metrics.sort(key=lambda metric: SHOWN.index(metric.name))
    task = record["task"]
    kind = f":kind={task['options']['kind']}" if task["task"] == "stories" else ""
    source, published = PUBLISHED.get(task["task"] + kind, ("", {}))
    last = ["published"] if published else []
    lines = markdown.head("model", "parameters", *(m.name for m in metrics), *last, numbers=True)
    for model in record["models"]:
        figures = model["metrics"]
        cells = [figure_text(m, figures[m.name]) if m.name in figures else "-" for m in metrics]
        row = [model["name"], f"{model['parameters']:,}", *cells]
        if published:
            row.append(f"{published[model['name']]:.3f}" if model["name"] in published else "")
        lines.append(markdown.row(*row))
    others = ", ".join(
        f"{name} {value:.3f}"
        for name, value in published.items()
        if name not in {model["name"] for model in record["models"]}
    )
    chance = record["models"][0]["metrics"]["chance"]["value"]
    note = f"Chance is {chance:.3f}."
    if published:
        note += f" Published: accuracies of {source}{f'; also {others}' if others else ''}."
    return "\n".join([*lines, "", note])


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line, or as given; what cannot be done is refused before anything is trained."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument(
        "--model-options", action="append", default=[], metavar="NAME:KEY=VALUE:..."
    )
    parser.add_argument("--parameters", type=int, default=30_000)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--eval-every", type=int, default=50)
    parser.add_argument("--stop-after", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--evolve", default="3x8", help="GENERATIONSxCANDIDATES; empty: none")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    if not re.fullmatch(r"(\d+x\d+)?", args.evolve):
        parser.error(f"--evolve is GENERATIONSxCANDIDATES, or empty; got {args.evolve!r}")
    if args.jobs < 1:
        parser.error(f"--jobs is at least 1; got {args.jobs}")
    try:
        for text in args.tasks.split(","):
            settings_of(text, args)
        for name in args.models.split(","):
            load_family(name)
    except ClsoError as error:
        parser.error(str(error))
    return args


def main() -> None:
    """Measure every task, and print its table."""
    args = parse_arguments()
    tasks = args.tasks.split(",")
    args.out.mkdir(parents=True, exist_ok=True)
    pool = Pool(args.jobs)
    for turn, text in enumerate(tasks):
        if not is_measured(text, args):
            add(pool, text, args, turn)
    pool.run()
    for error in pool.failed.values():
        raise error
    for text in tasks:
        found = record(text, args)
        print(f"{json.dumps(found['task']['options'])}\n\n{table(found)}\n")


if __name__ == "__main__":
    main()
