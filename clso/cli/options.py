"""Options that several commands share, and the `RunConfig` that they make."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clso.cli.output import only_json
from clso.disk.recipes import find_recipe

if TYPE_CHECKING:
    from clso.config import RunConfig

__all__ = [
    "config_options",
    "log_option",
    "make_config",
    "objective_option",
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


objective_option = click.option(
    "--objective",
    callback=lambda context, option, value: (
        None if value is None else tuple(name.strip() for name in value.split(","))
    ),
    help="By name, after commas: what the space measures (default: its first), then costs such as flops, or energy_j.",
)


def _known_loggers(
    context: click.Context, option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    """A misspelt name is found before torch is imported. Raises `PluginError`."""
    if names:
        from clso import plugins

        for name in names:
            plugins.require_known("loggers", name)
    return names


log_option = click.option(
    "--log",
    "loggers",
    multiple=True,
    callback=_known_loggers,
    metavar="NAME",
    help="Also log to tensorboard, mlflow, wandb, trackio, or FILE.py:CLASS. Repeatable.",
)


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
        "crystals": click.option(
            "--crystals",
            metavar="NAME|FILE.py:CLASS,...",
            help="Short for --option crystals=...: families of a random library.",
        ),
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
) -> RunConfig:
    """A `RunConfig` from a recipe and the options that were given; `of_space` are those of
    `space_options`. Without a recipe, or `gens`, a space's options may say how many there are."""
    from clso import plugins
    from clso.config import RunConfig

    base = RunConfig() if recipe is None else RunConfig.from_toml(recipe)
    config = base.with_options(**options)
    _require_known(config)
    if recipe is None and options.get("gens") is None:
        of_its_own = plugins.options_apart("search_spaces", config.space)
        config = config.with_options(gens=getattr(of_its_own, "gens", None))
    if not any(of_space):
        return config
    from clso.space.build import with_option_texts

    with only_json(True):  # what a plugin prints when it is imported is no result
        return with_option_texts(config, *of_space)


def _require_known(config: RunConfig) -> None:
    """A misspelt name is found here, before torch is imported. Raises `PluginError` and `ConfigError`."""
    from clso import plugins

    plugins.require_known("search_spaces", config.space)
    if config.task:
        plugins.require_known("tasks", config.task)
    if config.surrogate != "none":
        plugins.require_known("surrogates", config.surrogate)
    options = plugins.options_apart("search_spaces", config.space)
    offered = getattr(options, "objectives", ())
    if offered and not config.task:
        from clso.space.options import require_offered

        for name in config.objective:
            require_offered(name, offered, "objective", config.space)
        for limit in config.limits:
            require_offered(limit.partition("=")[0], offered, "limit", config.space)
