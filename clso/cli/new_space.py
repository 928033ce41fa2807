"""`clso new-space`: the start of a search space of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from clso.cli.output import echo

__all__ = ["new_space"]


@click.command("new-space", short_help="Start a search space of your own.")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The project's folder (default: NAME)."
)
def new_space(name: str, out: Path | None) -> None:
    """Write a project folder with the search space NAME, its entry point, and tests that pass."""
    from clso.cli.scaffold import new_space as write

    folder = out or Path(name)
    for path in write(name, folder):
        echo(f"  {path}")
    echo(f"{folder / 'README.md'} says how to run it")
