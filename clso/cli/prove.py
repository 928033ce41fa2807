"""`clso prove`: the energy proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from clso.cli.output import echo, only_json
from clso.disk.recipes import find_recipe
from clso.errors import Stopped

__all__ = ["prove"]


@click.command(short_help="Measure CLSO against AdamW: the energy proof.")
@click.option(
    "--recipe",
    type=find_recipe,
    metavar="NAME|FILE",
    help="A name from `clso list recipes`, or a TOML file: a run's settings and a table [prove] (default: those of both).",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Paired seeds (default 8).")
@click.option("--window-s", type=float, help="Least seconds of a window (default 60).")
@click.option(
    "--steps-grid",
    help="Lengths of AdamW's schedules, comma-separated (default 250,500,1000,2000).",
)
@click.option(
    "--quick",
    is_flag=True,
    help="A version of minutes; verdict and report say that it is no proof.",
)
@click.option("--data", help="python-stdlib (default), text:PATH, wikitext-103 or wikitext-2.")
@click.option("--tokenizer", help="bpe:N (default bpe:4096), gpt2 or bytes.")
@click.option("--device", help="auto (default), cpu, cuda or cuda:N.")
@click.option("--energy", help="Energy source: auto (default), nvml, nvml-sampled, rapl or null.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The proof's folder (default: a new one in runs/local). An interrupted one goes on at its next window.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Go on with the interrupted proof in DIR, by the settings in it; other options are refused.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the verdict as JSON, and nothing else."
)
def prove(
    recipe: Path | None,
    seeds: int | None,
    window_s: float | None,
    steps_grid: str | None,
    quick: bool,
    out: Path | None,
    resume: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run CLSO and AdamW under one meter, window by window, and write verdict, report and pictures.

    Against AdamW at the reference protocol and at the best that a sweep finds, with n-grams, random
    search and random crystals as controls. If energy cannot be measured, losses and times are
    compared and no energy claim is made. After an interruption, repeat the same command with the same
    --out, or give its folder to --resume."""
    from clso.cli.new_folder import new_folder
    from clso.cli.options import make_config
    from clso.prove.config import ProveConfig

    if resume is not None:
        given = (recipe, out, seeds, window_s, steps_grid, *options.values())
        if quick or any(value is not None for value in given):
            raise click.UsageError("--resume takes the settings of the proof, and no others.")
        recipe, out = resume / "config.toml", resume
    config = make_config(recipe, **options)
    settings = ProveConfig() if recipe is None else ProveConfig.from_toml(recipe)
    if quick:
        settings = settings.shortened()
    settings = settings.with_options(
        seeds=seeds, window_s=window_s, steps_grid=_numbers(steps_grid)
    )
    from clso.prove import prove as run
    from clso.prove.report import headline_table

    progress = (lambda _: None) if as_json else (lambda text: echo(text, err=True))
    with new_folder(out, "proof") as folder, only_json(as_json):
        try:
            verdict = run(config, settings, folder, progress=progress)
        except KeyboardInterrupt:
            raise Stopped(
                "stopped",
                remedy=f"The same command with --out {folder} goes on at the next window.",
            ) from None
    if as_json:
        echo(json.dumps(verdict))
        return
    echo(headline_table(verdict))
    echo(f"criteria met against the strongest AdamW: {', '.join(verdict['criteria']) or 'none'}")
    for line in verdict["deviations"]:
        echo(f"not by the protocol: {line}")
    echo(f"report: {folder / 'report.md'}")


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no comma-separated list of numbers", param_hint="'--steps-grid'"
        ) from None
