"""A run's settings -> its plugins, and the search space that they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clso import plugins
from clso.config import SPACE_SETTINGS, RunConfig
from clso.conversion import random_state
from clso.errors import ConfigError, PluginError
from clso.space.base import SearchSpace
from clso.space.context import SpaceContext
from clso.space.options import LanguageModelOptions, make_options, parse_options

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = [
    "all_options",
    "build_space",
    "load_plugins",
    "model_sizes",
    "options_type",
    "with_option_texts",
]


def build_space(
    plugin: plugins.Plugin,
    config: RunConfig,
    device: str,
    cache_dir: Path | None = None,
    *,
    corpus: Corpus | None = None,
) -> SearchSpace:
    """The search space of a config. Unless given, the corpus is loaded when the space first asks
    for it."""

    def load_corpus() -> Corpus:
        from clso.data import load_corpus

        return corpus or load_corpus(config.data, config.tokenizer, cache_dir)

    kind = plugin.subclass_of(SearchSpace)
    options, task_options = _options_by_owner(config)
    context = SpaceContext(
        load_corpus=load_corpus,
        device=device,
        seed=config.seed,
        fitness_tokens=config.fitness_tokens,
        options=options,
        task=config.task,
        task_options=task_options,
    )
    with plugin.as_plugin_error("be built"):
        space = kind.from_context(context)
    if not isinstance(space, SearchSpace):
        raise PluginError(
            f"from_context of {plugin.name!r} returns a search space", got=repr(space)
        )
    return space


def load_plugins(config: RunConfig) -> tuple[plugins.Plugin, plugins.Plugin | None]:
    """The config's space and surrogate (None for "none"). Raises `PluginError`."""
    surrogate = None if config.surrogate == "none" else plugins.load("surrogates", config.surrogate)
    if surrogate is not None:
        if not callable(surrogate.value):
            raise PluginError(
                "a surrogate is make(random_state) -> estimator", got=repr(surrogate.value)
            )
        with surrogate.as_plugin_error("make an estimator"):
            estimator = surrogate.value(random_state(config.seed))
        if not all(callable(getattr(estimator, method, None)) for method in ("fit", "predict")):
            raise PluginError("a surrogate's estimator has fit and predict", got=repr(estimator))
    space = plugins.load("search_spaces", config.space)
    kind = space.subclass_of(SearchSpace)
    if config.task and not kind.takes_tasks:
        raise ConfigError(
            f"space {config.space!r} is searched on a text",
            got=config.task,
            remedy="Use --space nsm.",
        )
    all_options(config)
    return space, surrogate


def options_type(config: RunConfig) -> type:
    """What a config's options are options of: its space and, if it has one, its task, whose fields
    come first. Raises `PluginError`."""
    space, task = _space_options_type(config), _task_options_type(config)
    if task is None:
        return space
    merged = {f.name: (f.name, f.type, field(default=f.default)) for f in fields(task)}
    for f in fields(space):
        merged.setdefault(f.name, (f.name, f.type, field(default=f.default)))
    return make_dataclass("Options", merged.values(), frozen=True)


def all_options(config: RunConfig) -> dict[str, Any]:
    """The options of a config's space and task by name, those that it does not set with their
    defaults. Raises `ConfigError` for an unknown name, a wrong type, or a value that the space or
    task refuses."""
    make_options(options_type(config), config.options, of=_owner(config))  # every name is known
    of_space, of_task = _options_by_owner(config)
    found = asdict(make_options(_space_options_type(config), of_space))
    task = _task_options_type(config)
    return found if task is None else found | asdict(make_options(task, of_task))


def model_sizes(config: RunConfig) -> dict[str, Any]:
    """n_layers, d_model, n_heads and n_positions of a config's space, for what it is compared
    with; the reference protocol's if the space has none."""
    known = LanguageModelOptions().sizes
    return {name: value for name, value in (known | all_options(config)).items() if name in known}


def with_option_texts(
    config: RunConfig, pairs: Iterable[str], moved: Mapping[str, str]
) -> RunConfig:
    """The config with options set from `KEY=VALUE` texts.

    `moved` are likewise values of `SPACE_SETTINGS` by name, set before: one that asks for the
    default is passed over if the space has no such option. Raises `ConfigError`."""
    kind = options_type(config)
    known = {f.name for f in fields(kind)}
    kept = [
        f"{name}={text}"
        for name, text in moved.items()
        if name in known or text != str(SPACE_SETTINGS.get(name))
    ]
    return config.with_options(options=parse_options(kind, [*kept, *pairs], of=_owner(config)))


def _owner(config: RunConfig) -> str:
    return "this task" if config.task else "this search space"


def _space_options_type(config: RunConfig) -> type:
    return plugins.load_options("search_spaces", config.space)


def _task_options_type(config: RunConfig) -> type | None:
    return plugins.load_options("tasks", config.task) if config.task else None


def _options_by_owner(config: RunConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a config sets of its space's options, and of its task's; a name of both is the task's."""
    task = _task_options_type(config)
    of_task = set() if task is None else {f.name for f in fields(task)}
    return (
        {k: v for k, v in config.options.items() if k not in of_task},
        {k: v for k, v in config.options.items() if k in of_task},
    )
