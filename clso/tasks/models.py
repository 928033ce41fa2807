"""Sequence models by name: building one for a task, and keeping a trained one on disk.

A family is a class of the plugin group `clso.models`: an `nn.Module` with `Config`, a frozen
dataclass of vocab_size, d_model, n_layers, n_heads, n_positions, n_classes and the family's own
fields. It is made as `Family(Config(...))` and has `config`, `init_weights(generator)` and
`forward(tokens, mask)` -> logits (B, n_classes), or (B, T, vocab_size) if n_classes is 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import nn

from clso import plugins
from clso.disk.damage import reading
from clso.errors import ClsoError, ConfigError
from clso.models.modules import WEIGHTS, build_module, read_module, write_module
from clso.tasks.base import Task

__all__ = ["build_model", "load_model", "model_options", "save_model"]

_CONFIG = "sequence.json"
_OF_THE_TASK = ("vocab_size", "n_positions", "n_classes")


def build_model(name: str, task: Task, sizes: Mapping[str, Any], *, seed: int = 0) -> nn.Module:
    """A model of the family `name` for `task`, with weights drawn on the CPU from `seed`: the same
    on every device.

    Args:
        sizes: fields of the family's `Config`, such as d_model.

    Raises:
        PluginError: an unknown family.
        ConfigError: an unknown field, or sizes that do not go together.
    """
    of_task = {
        "vocab_size": len(task.vocab),
        "n_positions": task.n_positions,
        "n_classes": task.n_classes,
    }
    return _make(name, {**sizes, **of_task}, seed=seed)


def model_options(name: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` texts as fields of a family's `Config`. Raises `ConfigError`."""
    from clso.space.options import parse_options

    for pair in pairs:
        if pair.partition("=")[0].strip() in _OF_THE_TASK:
            raise ConfigError(
                "the task decides the vocabulary, the positions and the classes", got=pair
            )
    return parse_options(_family(name).Config, pairs, of="this model")


def save_model(name: str, model: nn.Module, folder: Path) -> None:
    """Write the weights (safetensors) and what to build them into (JSON); the folder is made."""
    config = asdict(model.config)  # type: ignore[call-overload]
    write_module(model, {"model": plugins.absolute(name), "config": config}, folder, _CONFIG)


def load_model(folder: Path, *, device: str = "cpu") -> nn.Module:
    """What `save_model` wrote. Raises `RunFolderError` if it is missing or damaged,
    `PluginError` without the family."""
    with reading(folder, f"a sequence model ({_CONFIG} and {WEIGHTS})", refusals=(ConfigError,)):
        return read_module(folder, _CONFIG, lambda d: _make(d["model"], d["config"]), device=device)


def _family(name: str) -> Any:
    return plugins.load("models", name).subclass_of(nn.Module)


def _make(name: str, values: Mapping[str, Any], *, seed: int | None = None) -> nn.Module:
    family = _family(name)
    known = [f.name for f in fields(family.Config)]
    if unknown := [key for key in values if key not in known]:
        raise ConfigError(
            f"model {name} has no such field", got=unknown, remedy=f"Known: {', '.join(known)}."
        )
    try:
        model: nn.Module = build_module(family, family.Config(**values), seed=seed)
    except ClsoError:
        raise
    except Exception as error:
        raise ConfigError(
            f"model {name} can be built with these sizes",
            problem=f"its constructor raised {type(error).__name__}: {error}",
            got=dict(values),
        ) from error
    return model
