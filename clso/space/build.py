"""A run's settings -> its plugins, and the search space that they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clso import plugins
from clso.config import RunConfig
from clso.conversion import random_state
from clso.errors import ConfigError, PluginError
from clso.space.base import SearchSpace
from clso.space.context import SpaceContext
from clso.space.options import make_options

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = ["build_space", "load_plugins", "options_type"]


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

    context = SpaceContext.of(config, device, load_corpus)
    kind = plugin.subclass_of(SearchSpace)
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
    make_options(
        options_type(config), config.options, of="this task" if config.task else "this search space"
    )
    return space, surrogate


def options_type(config: RunConfig) -> type:
    """What a config's options are options of: its task if it has one, else its space. Raises
    `PluginError`."""
    if config.task:
        return plugins.load("tasks", config.task).options
    space: type[SearchSpace] = plugins.load("search_spaces", config.space).subclass_of(SearchSpace)
    return space.Options
