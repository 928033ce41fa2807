"""`clso evolve` and `clso resume`."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

import click

from clso.cli.output import echo, only_json
from clso.disk.recipes import find_recipe
from clso.errors import RunFolderError

__all__ = [
    "config_options",
    "evolve",
    "make_config",
    "new_folder",
    "resume",
    "space_options",
    "worker_options",
]


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that evolved runs and baselines share. Unset ones are None, so that a recipe can
    supply them."""
    options = [
        click.option(
            "--data", help="python-stdlib (default), text:PATH, wikitext-103 or wikitext-2."
        ),
        click.option("--tokenizer", help="bpe:N (default bpe:4096), gpt2 or bytes."),
        click.option("--seed", type=int, help="Seed of everything random (default 0)."),
        click.option("--device", help="auto (default), cpu, cuda or cuda:N."),
        click.option(
            "--energy", help="Energy source: auto (default), nvml, nvml-sampled, rapl or null."
        ),
        click.option(
            "--config",
            "recipe",
            type=find_recipe,
            metavar="NAME|FILE",
            help="A recipe: a name from `clso list recipes`, or a TOML file; options on the line win.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            help="The run folder (default: a new one in runs/local).",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where candidates are measured. They change nothing of what a run
    computes.

    The command gets those of `Workers.with_options` as one argument, `on_workers`.
    """
    options = [
        click.option(
            "--workers",
            "n",
            type=click.IntRange(min=0),
            help="Worker processes, on a private Ray unless --ray is given (default 0: measure in this process).",
        ),
        click.option(
            "--ray",
            metavar="auto|ADDRESS",
            help="Join a Ray cluster, with workers on all of it or --workers.",
        ),
        click.option(
            "--gpus-per-worker",
            "gpus",
            type=float,
            help="A share of a GPU, or whole ones (default: an equal share).",
        ),
        click.option(
            "--task-timeout",
            "timeout_s",
            type=float,
            help="Seconds after which a batch counts as hung (default 1800).",
        ),
        click.option(
            "--sync",
            metavar="URL",
            default="",
            help="Keep a copy of the run folder at s3://, gs://, ...",
        ),
    ]

    @wraps(command)
    def gathered(
        n: int | None, ray: str | None, gpus: float | None, timeout_s: float | None, **others: Any
    ) -> Any:
        return command(
            on_workers={"n": n, "ray": ray, "gpus": gpus, "timeout_s": timeout_s}, **others
        )

    wrapped: Callable[..., Any] = gathered
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def space_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--option`, and short forms of it that are older. The command gets them as one argument,
    `of_space`, for `make_config`."""
    short = {
        "library": click.option("--library", help="Short for --option library=...: its crystals."),
        "checkpoint": click.option("--checkpoint", help="Short for --option checkpoint=FOLDER."),
        "mlp": click.option("--mlp", is_flag=True, default=None, help="--option mlp=true."),
        "library_size": click.option("--library-size", help="Short for --option library_size=N."),
    }
    option = click.option(
        "--option",
        "pairs",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set an option of the space or task (clso list options NAME); repeatable.",
    )

    @wraps(command)
    def gathered(pairs: tuple[str, ...], **others: Any) -> Any:
        given = {name: others.pop(name) for name in short}
        texts = {name: str(value) for name, value in given.items() if value is not None}
        return command(of_space=(pairs, texts), **others)

    wrapped: Callable[..., Any] = gathered
    for decorate in reversed([option, *short.values()]):
        wrapped = decorate(wrapped)
    return wrapped


def make_config(
    recipe: Path | None, of_space: tuple[tuple[str, ...], dict[str, str]] = ((), {}), **options: Any
) -> Any:
    """A `RunConfig` from a recipe and the options that were given; `of_space` are those of
    `space_options`."""
    from clso.config import RunConfig

    base = RunConfig() if recipe is None else RunConfig.from_toml(recipe)
    config = base.with_options(**options)
    if not any(of_space):
        return config
    from clso.space.build import with_option_texts

    with only_json(True):  # what a plugin prints when it is imported is no result
        return with_option_texts(config, *of_space)


@contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[Path]:
    """`out`, or a new empty folder in runs/local, which goes again if an error leaves it empty.

    It is made here, so that of two commands in one second each has its own.
    """
    if out is not None:
        yield out
        return
    parent = Path("runs") / "local"
    made = [path for path in (parent, parent.parent) if not path.exists()]
    folder = _claimed(parent / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}")
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            for path in (folder, *made):
                if path.exists():  # a run that could not begin has removed its own
                    path.rmdir()
        raise


def _claimed(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise RunFolderError(
            f"a run folder can be made ({error.strerror})",
            got=str(path),
            remedy="Choose one with --out.",
        ) from error
    raise AssertionError("there is always a next number")


@click.command(short_help="Search for a model; the main job.")
@click.option("--gens", type=click.IntRange(min=1), help="Generations (default 50).")
@click.option("--pop", type=click.IntRange(min=2), help="Population size (default 32).")
@click.option(
    "--space", help="Search space: a name from `clso list spaces`, or FILE.py:CLASS (default gpt2)."
)
@click.option(
    "--task",
    help="Search on a sequence task of `clso list tasks`, not on a text; by default in space nsm.",
)
@space_options
@click.option(
    "--surrogate", help="gp (default), ridge, forest, another from `clso list surrogates`, or none."
)
@click.option(
    "--objective",
    callback=lambda context, option, value: (
        None if value is None else tuple(name.strip() for name in value.split(","))
    ),
    help="What is minimised: loss (default), and after commas what the space offers, such as flops, or energy_j.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    callback=lambda context, option, value: value or None,
    help="NAME=NUMBER: no genome that costs more is evaluated. Repeatable.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    help="Stop after so many generations without a better loss.",
)
@click.option(
    "--async",
    "asynchronous",
    is_flag=True,
    default=None,
    help="Steady state: each evaluation makes room for another candidate, and nobody waits for the slowest worker.",
)
@worker_options
@config_options
def evolve(
    recipe: Path | None,
    out: Path | None,
    as_json: bool,
    of_space: Any,
    on_workers: dict[str, Any],
    sync: str,
    **options: Any,
) -> None:
    """Evolve a model on a text and measure the winner.

    With no option: GPT-2 (2 layers, d = 128) on the running Python's standard library, 50
    generations of 32, on the CPU or the first GPU."""
    if options["task"] and options["space"] is None and recipe is None:
        options["space"] = "nsm"
    config = make_config(recipe, of_space, **options)
    from clso.cli.view import run_view, summary
    from clso.evaluation.workers import Workers
    from clso.run import evolve as run

    workers = Workers() if recipe is None else Workers.from_toml(recipe)
    workers = workers.with_options(**on_workers)
    with (
        new_folder(out, _folder_name(config)) as folder,
        only_json(as_json),
        run_view(config, quiet=as_json) as listener,
        graceful_stop() as stop,
    ):
        result = run(config, folder, listener=listener, stop=stop, workers=workers, sync=sync)
    echo(json.dumps(result)) if as_json else summary(folder, result)


def _folder_name(config: Any) -> str:
    library = config.options.get("library")
    parts = [Path(config.space).stem, *([str(library)] if library else []), f"s{config.seed}"]
    return "-".join(parts).replace("/", "-")


@click.command(short_help="Continue an interrupted run.")
@click.argument("run", type=click.Path(path_type=Path))
@worker_options
@click.option(
    "--trust",
    is_flag=True,
    help="Run the code and join the cluster that the folder names, though no run of yours has recorded them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
def resume(run: Path, as_json: bool, on_workers: dict[str, Any], sync: str, trust: bool) -> None:
    """Continue the run in folder RUN; it ends as it would have without the interruption.

    It goes on with the workers that it had, or with others. With --sync, a folder that is not there
    is fetched first. A folder that came from others runs none of its own code without --trust."""
    from clso.cli.view import run_view, summary
    from clso.run import resume as continue_run
    from clso.run.context import workers_to_resume
    from clso.run.folder import RunFolder
    from clso.run.mirror import fetch

    if sync:
        fetch(sync, run)
    folder = RunFolder.open(run)
    config = folder.config
    workers = None if folder.finished else workers_to_resume(folder, trust=trust, **on_workers)
    with only_json(as_json), run_view(config, quiet=as_json) as listener, graceful_stop() as stop:
        result = continue_run(
            run, listener=listener, stop=stop, workers=workers, sync=sync, trust=trust
        )
    echo(json.dumps(result)) if as_json else summary(run, result)


@contextmanager
def graceful_stop() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C lets the generation finish; the second stops at once. Yields "was it
    pressed?"."""
    pressed = False

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        echo("\nstopping after this generation; press Ctrl-C again to stop at once", err=True)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
