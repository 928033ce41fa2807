"""`clso evaluate`, `compare` and `report`: looking at finished runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from clso.cli.output import echo, only_json

__all__ = ["compare", "evaluate", "report"]

_RUN = click.argument("run", type=click.Path(path_type=Path))


@click.command(short_help="Measure a finished run's winner from disk.")
@_RUN
@click.option(
    "--data", help="Another text, cut with the run's own tokenizer (default: the run's text)."
)
@click.option(
    "--split",
    type=click.Choice(["test", "valid", "fitness", "statistics", "train"]),
    default="test",
    show_default=True,
)
@click.option("--device", default="auto", show_default=True)
@click.option("--blocks", type=int, help="Of a controller's problems (default: the run's own).")
@click.option(
    "--problems", type=click.Path(path_type=Path), help="JSON lines of problems for a controller."
)
@click.option(
    "--plans", type=click.Path(path_type=Path), help="File for a controller's plans, as JSON lines."
)
@click.option(
    "--without", help="Levels of a controller to switch off, comma-separated, such as S4,purple."
)
@click.option("--raise-again", is_flag=True, help="Let the controller practise anew without them.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def evaluate(
    run: Path, data: str | None, split: str, device: str, as_json: bool, **of_controller: Any
) -> None:
    """Load the winner of RUN from disk and measure it: a model's loss on a split, in nats per
    token; a controller's success and lengths of plans on problems."""
    with only_json(as_json):
        found, text = _measure(run, data, split, device, of_controller)
    echo(json.dumps(found) if as_json else text.format(**found))


def _measure(
    run: Path, data: str | None, split: str, device: str, of_controller: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """What was found, and the line that says it."""
    from clso.worlds.evaluate import evaluate_controller, holds_controller

    if any(v not in (None, False) for v in of_controller.values()) or holds_controller(run):
        from clso.errors import ConfigError
        from clso.worlds.controllers import Request

        if data is not None:
            raise ConfigError(
                "a controller is measured on problems", got=data, remedy="Leave --data out."
            )
        names = of_controller.pop("without") or ""
        levels = tuple(name.strip() for name in names.split(",") if name.strip())
        found = evaluate_controller(run, Request(split=split, without=levels, **of_controller))
        return found, (
            "success {success:.4f} on {n_problems:,} problems, "
            "{operations:,.0f} operations a decision"
        )
    from clso.run.finished import evaluate_run

    found = evaluate_run(
        run, data=data, split=split, device=device, progress=lambda line: echo(line, err=True)
    )
    return found, "{loss:.4f} nats per token on {n_tokens:,} tokens of {split}"


@click.command(short_help="Hold a run against baselines.")
@_RUN
@click.argument("baselines", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def compare(run: Path, baselines: tuple[Path, ...], as_json: bool) -> None:
    """Table and verdict of RUN against the BASELINE folders. If energy was not measured, none is
    claimed.

    Of spaces without a language model the folders are runs and baselines over one space; those that
    differ in their seed alone are one side, with an interval of its difference from the first."""
    from clso.cli.view import comparison_table, sides_table
    from clso.run.compare import compare_runs
    from clso.run.sides import compare_searches, holds_search

    if holds_search(run):
        found, show = compare_searches([run, *baselines]), sides_table
    else:
        found, show = compare_runs(run, list(baselines)), comparison_table
    echo(json.dumps(found)) if as_json else show(found)


@click.command(short_help="Show a run: table and pictures.")
@_RUN
@click.argument("baselines", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path), help="Also write everything as one HTML file."
)
def report(run: Path, baselines: tuple[Path, ...], html: Path | None) -> None:
    """Print the summary of RUN and draw its pictures into RUN/report. BASELINE folders join the
    joules picture. Of a probe's folder (`clso probe --out`) the page is written again."""
    from clso.probe.folder import holds_probe

    if holds_probe(run):
        return _report_probe(run, baselines, html)
    from clso.cli.view import summary
    from clso.report import draw_report
    from clso.run.folder import RunFolder

    result: dict[str, Any] = RunFolder.open(run).read_result()
    pictures = draw_report(run, list(baselines), html)
    summary(run, result)
    for picture in pictures:
        echo(f"  {picture}")


def _report_probe(folder: Path, baselines: tuple[Path, ...], html: Path | None) -> None:
    from clso.errors import ConfigError
    from clso.probe.folder import read_probe
    from clso.probe.page import write_page

    if baselines:
        raise ConfigError("a probe is reported by itself", got=[str(path) for path in baselines])
    page = html or folder / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(write_page(read_probe(folder), folder.resolve().name), encoding="utf-8")
    echo(f"report: {page}")
