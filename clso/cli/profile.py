"""`clso profile`: what sequence models cost by length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from clso.cli.names import Names
from clso.cli.new_folder import claimed, require_writable
from clso.cli.output import echo, only_json, plain
from clso.errors import ClsoError, ConfigError, RunFolderError, Stopped

if TYPE_CHECKING:
    from clso.profiling.run import Profile

__all__ = ["profile"]


class _NothingMeasured(ClsoError):
    """No cell could be measured; why not is written."""

    exit_code = 1


class _Lengths(click.ParamType[Any]):
    """Comma-separated token counts, as a tuple."""

    name = "lengths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no comma-separated list of whole numbers", param, ctx)


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Measure parameters, FLOPs, time, memory and energy of models by length.")
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--lengths",
    type=_Lengths(),
    default="1024,2048,4096",
    show_default=True,
    help="Tokens of a sequence.",
)
@click.option("--batch", type=int, default=1, show_default=True, help="Sequences of a batch.")
@click.option("--d-model", type=int, default=64, show_default=True, help="Width.")
@click.option("--n-layers", type=int, default=2, show_default=True)
@click.option("--n-heads", type=int, default=4, show_default=True)
@click.option(
    "--vocab",
    "vocab_size",
    type=int,
    default=256,
    show_default=True,
    help="Size of the vocabulary.",
)
@click.option(
    "--classes", "n_classes", type=int, default=0, show_default=True, help="0: a language model."
)
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True
)
@click.option(
    "--equal-parameters",
    type=int,
    metavar="N",
    help="Search each d_model for N parameters within 5 %.",
)
@click.option(
    "--repeats", type=int, default=5, show_default=True, help="Least repetitions of a timing."
)
@click.option(
    "--seconds",
    "min_time_s",
    type=float,
    default=1.0,
    show_default=True,
    help="Least seconds of a timing.",
)
@click.option(
    "--max-seconds",
    "max_time_s",
    type=float,
    default=60.0,
    show_default=True,
    help="What takes longer is skipped.",
)
@click.option(
    "--memory-budget-gb",
    type=click.FloatRange(min=0, min_open=True),
    help="CPU: what a cell may take before it counts as out of memory (default: 80 % of what is free).",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--energy", default="auto", show_default=True, help="auto, nvml, nvml-sampled, rapl or null."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and tokens.")
@click.option(
    "--mix",
    default="",
    metavar="MIX",
    help="Documents of these lengths instead: choice:N,N,..., uniform:LOW-HIGH, lognormal:MU,SIGMA,MAX or text:PATH.",
)
@click.option("--docs", type=int, default=8, show_default=True, help="Documents of a mix.")
@click.option(
    "--micro",
    type=int,
    default=1,
    show_default=True,
    help="Micro-batches that they are divided into.",
)
@click.option(
    "--pad-to", type=int, default=0, help="Slots of a padded document (default: the mix's longest)."
)
@click.option(
    "--layout",
    "layouts",
    type=Names(),
    default="padded,sorted,packed",
    show_default=True,
    help="Layouts of a mix.",
)
@click.option("--step", is_flag=True, help="Measure whole training steps, with fused AdamW.")
@click.option(
    "--preset",
    "preset_name",
    metavar="NAME",
    help="Sizes by name: vsla-1b. Options on the line win.",
)
@click.option("--claims", is_flag=True, help="Hold the published claims against the measurement.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Measure nothing: read a --out folder.",
)
@click.option("--csv", "csv_file", type=_FILE, help="Also write the rows here.")
@click.option("--plot", type=_FILE, help="Also draw time and memory here (PNG).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also write a new folder with everything."
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON, and nothing else.")
def profile(
    models: tuple[str, ...],
    claims: bool,
    source: Path | None,
    csv_file: Path | None,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
    memory_budget_gb: float | None,
    preset_name: str | None,
    **options: Any,
) -> None:
    """Measure MODELs (installed names, or FILE.py:CLASS) side by side, at every length.

    FLOPs are counted and held against the model's own formula; times are of a warmed, synchronised
    forward and backward pass; running out of memory is a row's status. Ctrl-C keeps what was
    measured, and --out is written cell by cell."""
    for file in (csv_file, plot):
        if file is not None:
            if not file.parent.is_dir():
                raise ConfigError("a file is written into a folder that exists", got=str(file))
            require_writable(file)
    if out is not None and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunFolderError(
            "a profile is written into a new folder", got=str(out), remedy="Give another --out."
        )
    if preset_name is not None:
        from clso.profiling.presets import preset

        given = click.get_current_context().get_parameter_source
        sizes = {
            k: v
            for k, v in preset(preset_name).items()
            if k == "tied_head" or given(k) != ParameterSource.COMMANDLINE
        }
        models = models or sizes["models"]
        options |= {k: v for k, v in sizes.items() if k != "models"}
    if (source is None) == (not models):
        raise ConfigError(
            "models are named, or a profile is read with --from",
            problem="both were given" if models else "neither was given",
        )
    if source is not None:
        from clso.profiling.folder import read_profile

        found = read_profile(source)
    else:
        from clso.profiling import ProfileSettings

        budget = None
        if memory_budget_gb is not None:
            if not memory_budget_gb * 1e9 < 2**63:  # which a number that is none is not, either
                raise ConfigError("a memory budget is a number of GB", got=memory_budget_gb)
            budget = int(memory_budget_gb * 1e9)
        settings = ProfileSettings(models=models, memory_budget_bytes=budget, **options)
        from clso.profiling.folder import write_rows
        from clso.profiling.run import run_profile

        def keep(so_far: Profile) -> None:
            if out is not None:
                write_rows(out, so_far, so_far.to_json())

        with claimed(out), only_json(as_json), _progress(quiet=as_json) as progress:
            found = run_profile(settings, progress, keep)
    _show(found, claims, csv_file, plot, out, as_json)
    if source is None and found.interrupted:
        raise Stopped("stopped", remedy=f"{len(found.rows)} cells were measured, and are above.")
    if not any(row.status == "ok" for row in found.rows):
        raise _NothingMeasured(
            "at least one cell can be measured",
            problem=f"none could ({found.rows[0].reason})" if found.rows else "there is none",
        )


def _show(
    found: Profile,
    claims: bool,
    csv_file: Path | None,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from clso.cli.console import console
    from clso.profiling.table import rows_table, scaling_table, to_csv

    document, text = found.to_json(), None
    if claims:
        from clso.profiling.claims import judge
        from clso.profiling.claims_text import claims_markdown

        judgements = judge(found.rows, equal_parameters=found.settings.equal_parameters is not None)
        document["claims"] = [asdict(judgement) for judgement in judgements]
        text = claims_markdown(found, judgements)
    picture = None
    if plot is not None or out is not None:
        from clso.profiling.picture import draw

        picture = draw(found)
    if csv_file is not None:
        csv_file.write_text(to_csv(found.rows), encoding="utf-8")
    if plot is not None and picture is not None:
        plot.write_bytes(picture)
    if out is not None:
        from clso.profiling.folder import write_profile

        write_profile(out, found, document, picture, text)
    if as_json:
        echo(json.dumps(document, allow_nan=False))
        return
    table = rows_table(found)
    out_console = console()
    if not out_console.is_terminal:  # a pipe or a file has no width to fit
        widest = out_console.measure(table, options=out_console.options.update(width=400)).maximum
        out_console.width = max(out_console.width, widest)
    out_console.print(table)
    for row in found.rows:
        if row.reason:
            out_console.print(f"{row.model} at {row.length:,}: {row.status}: {row.reason}")
    notes: dict[str, dict[str, None]] = {}
    for row in found.rows:
        for key, why in row.notes.items():
            notes.setdefault(why, {})[key] = None
    for why, keys in notes.items():
        how = "incomplete" if why.startswith("without ") else "not measured"
        out_console.print(f"{', '.join(keys)} {how}: {why}", style="dim")
    out_console.print(scaling_table(found.scaling))
    if text is not None:
        echo(text)
    if out is not None:
        echo(f"profile: {out}")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """On stderr: a bar on a terminal, a line a cell elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from clso.cli.console import console

    err_console = console(stderr=True)
    if quiet:
        yield lambda done, total, text: None
        return
    if not err_console.is_terminal:
        yield lambda done, total, text: echo(f"  {done}/{total} {text}", err=True)
        return
    bar = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*bar, console=err_console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda done, total, text: progress.update(
            task, completed=done, total=total, description=plain(text)
        )
