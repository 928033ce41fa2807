"""`clso evolve` and `clso resume`."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from clso.cli.new_folder import new_folder
from clso.cli.options import (
    config_options,
    log_option,
    make_config,
    objective_option,
    space_options,
    worker_options,
)
from clso.cli.output import echo, only_json
from clso.errors import Stopped

__all__ = ["evolve", "graceful_stop", "resume"]


@click.command(short_help="Search for a model; the main job.")
@click.option("--gens", type=click.IntRange(min=1), help="Generations (default 50; of nsm 15).")
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
@objective_option
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
    "--promote",
    is_flag=True,
    default=None,
    help="Measure the best quarter of a rung on the next one while the search goes on, and follow that.",
)
@click.option(
    "--warm-from",
    multiple=True,
    metavar="RUN",
    callback=lambda context, option, value: value or None,
    help="Start from the best genomes, and the surrogate's data, of an earlier run of this space. Repeatable.",
)
@click.option(
    "--async",
    "asynchronous",
    is_flag=True,
    default=None,
    help="Steady state: each evaluation makes room for another candidate, and nobody waits for the slowest worker.",
)
@click.option(
    "--noise",
    is_flag=True,
    default=None,
    help="Values are drawn anew each time: the leader is measured again, and its mean counts.",
)
@log_option
@worker_options
@config_options
def evolve(
    recipe: Path | None,
    out: Path | None,
    as_json: bool,
    of_space: Any,
    on_workers: dict[str, Any],
    sync: str,
    loggers: tuple[str, ...],
    **options: Any,
) -> None:
    """Evolve a model on a text and measure the winner.

    With no option: GPT-2 (2 layers, d = 128) on the running Python's standard library, 50
    generations of 32, on the CPU or the first GPU."""
    if options["task"] and options["space"] is None and recipe is None:
        options["space"] = "nsm"
    config = make_config(recipe, of_space, **options)
    from clso.cli.live import live_view
    from clso.evaluation.workers import Workers
    from clso.loggers import load_loggers, logged
    from clso.run import evolve as run

    kinds = load_loggers(loggers)
    workers = Workers() if recipe is None else Workers.from_toml(recipe)
    workers = workers.with_options(**on_workers)
    with (
        new_folder(out, _folder_name(config)) as folder,
        only_json(as_json),
        live_view(config, quiet=as_json) as view,
        logged(view, kinds, folder, config) as listener,
        graceful_stop(folder) as stop,
    ):
        result = run(config, folder, listener=listener, stop=stop, workers=workers, sync=sync)
    _show(folder, result, as_json)


def _show(folder: Path, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo(json.dumps(result))
        return
    from clso.cli.view import next_steps, summary

    group: Any = click.get_current_context().find_root().command
    summary(folder, result, next_steps=next_steps(folder, result, group.commands))


def _folder_name(config: Any) -> str:
    library = config.options.get("library")
    parts = [Path(config.space).stem, *([str(library)] if library else []), f"s{config.seed}"]
    return "-".join(parts).replace("/", "-")


@click.command(short_help="Continue an interrupted run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--gens", type=click.IntRange(min=1), help="Generations in all; a finished run may have more."
)
@log_option
@worker_options
@click.option(
    "--trust",
    is_flag=True,
    help="Run the code and join the cluster that the folder names, though no run of yours has recorded them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
def resume(
    run: Path,
    gens: int | None,
    as_json: bool,
    on_workers: dict[str, Any],
    sync: str,
    trust: bool,
    loggers: tuple[str, ...],
) -> None:
    """Continue the run in folder RUN; it ends as it would have without the interruption. With
    --gens a finished run is searched further.

    It goes on with the workers that it had, or with others. With --sync, a folder that is not there
    is fetched first. A folder that came from others runs none of its own code without --trust."""
    from clso.cli.live import live_view
    from clso.loggers import load_loggers, logged
    from clso.run import resume as continue_run
    from clso.run.context import workers_to_resume
    from clso.run.folder import RunFolder
    from clso.run.mirror import fetch

    kinds = load_loggers(loggers)
    if sync:
        fetch(sync, run)
    folder = RunFolder.open(run)
    config = folder.config
    goes_on = not folder.finished or (gens or 0) > config.gens
    config = config.with_options(gens=gens)
    workers = workers_to_resume(folder, trust=trust, **on_workers) if goes_on else None
    with (
        only_json(as_json),
        live_view(config, quiet=as_json) as view,
        logged(view, kinds, run, config) as listener,
        graceful_stop(run) as stop,
    ):
        result = continue_run(
            run, listener=listener, stop=stop, workers=workers, sync=sync, trust=trust, gens=gens
        )
    _show(run, result, as_json)


@contextmanager
def graceful_stop(folder: Path) -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C lets the generation finish; the second stops at once. Yields "was it
    pressed?".

    Raises `Stopped`, which says how the run in `folder` goes on."""
    pressed = False

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        echo("\nstopping once a generation is whole; Ctrl-C again stops at once", err=True)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    except KeyboardInterrupt:
        if (folder / "checkpoint.json").exists():
            raise Stopped(
                "stopped; all but the last generation is saved",
                remedy=f"Go on with: clso resume {shlex.quote(str(folder))}",
            ) from None
        raise Stopped("stopped before a generation was saved") from None
    finally:
        signal.signal(signal.SIGINT, before)
