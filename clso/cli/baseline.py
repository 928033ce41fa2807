"""`clso baseline NAME`: one sub-command a plugin, its options read off the plugin's `Settings`."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click

from clso.cli.new_folder import new_folder
from clso.cli.options import config_options, make_config, objective_option, space_options
from clso.cli.output import echo, only_json

__all__ = ["baseline"]


class _Values(click.ParamType[typing.Any]):
    """Comma-separated numbers or words, as a tuple."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.name = "words" if kind is str else "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no comma-separated list of numbers", param, ctx)


class _Baselines(click.Group):
    """Finds the baselines through entry points, and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from clso import plugins

        return list(plugins.available("baselines"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        from clso import plugins

        with only_json(True):  # what a plugin prints when it is imported is no result
            plugin = plugins.load("baselines", cmd_name)
        return _command(cmd_name, plugin.value)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The names only: a line of help would need every plugin's import, torch included.
        with formatter.section("Baselines"):
            formatter.write_text(", ".join(self.list_commands(ctx)))


@click.group(cls=_Baselines, short_help="Run what CLSO is compared with.")
def baseline() -> None:
    """Run a baseline on the same text, device and meter. `clso baseline NAME --help` lists its
    options."""


def _command(name: str, plugin: Any) -> click.Command:
    settings = fields(plugin.Settings)
    hints = typing.get_type_hints(plugin.Settings)

    @click.command(name, help=plugin.help or plugin.__doc__)
    @config_options
    @click.option(
        "--space",
        help="Search space: whose sizes a baseline has, or that it draws from (default gpt2).",
    )
    @objective_option
    @space_options
    def run(
        recipe: Path | None, out: Path | None, as_json: bool, of_space: Any, **options: Any
    ) -> None:
        from clso.baseline import run_baseline
        from clso.cli.view import baseline_summary

        given = {f.name: options.pop(f.name) for f in settings}
        config = make_config(recipe, of_space, **options)
        progress = (lambda _: None) if as_json else (lambda text: echo(f"  {text}", err=True))
        with new_folder(out, f"{name}-s{config.seed}") as folder, only_json(as_json):
            result = run_baseline(name, given, config, folder, progress=progress)
        echo(json.dumps(result)) if as_json else baseline_summary(folder, name, result)

    for f in reversed(settings):
        run = _option(f, hints[f.name])(run)
    return run


def _option(field: Field[Any], hint: Any) -> Any:
    default = field.default if field.default is not MISSING else None
    flag = "--" + field.name.replace("_", "-")
    text = f"{field.metadata.get('help', '')} (default {_shown(default)})".strip()
    if hint is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", field.name, default=default, help=text)
    kind = _Values(typing.get_args(hint)[0]) if typing.get_origin(hint) is tuple else hint
    if isinstance(hint, types.UnionType):
        kind = next(t for t in typing.get_args(hint) if t is not type(None))
    return click.option(flag, field.name, type=kind, default=default, help=text)


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) or "none" if isinstance(default, tuple) else str(default)
