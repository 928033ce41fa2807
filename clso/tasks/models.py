"""Sequence models by name: building one for a task, and keeping a trained one on disk.

A family is a class of the plugin group `clso.models`: an `nn.Module` with `Config`, a frozen
dataclass of vocab_size, d_model, n_layers, n_heads, n_positions, n_classes and the family's own
fields. It is made as `Family(Config(...))` and has `config`, `init_weights(generator)` and
`forward(tokens, mask)` -> logits (B, n_classes), or (B, T, vocab_size) if n_classes is 0. If that
asks the device nothing and does the same at each call, a family may say `capturable = True`: its
training steps are then replayed as CUDA graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clso import plugins
from clso.disk.damage import reading
from clso.errors import ClsoError, ConfigError
from clso.models.modules import (
    WEIGHTS,
    build_module,
    load_family,
    n_parameters,
    read_module,
    write_module,
)
from clso.tasks.base import Task

__all__ = ["TOLERANCE", "build_model", "equal_widths", "load_model", "model_options", "save_model"]

TOLERANCE = 0.05
"""How far apart, as a share, parameters that count as equal may lie."""

_CONFIG = "sequence.json"
_WIDEST = 1 << 13
_OF_THE_TASK = ("vocab_size", "n_positions", "n_classes", "separator")


def build_model(name: str, task: Task, sizes: Mapping[str, Any], *, seed: int = 0) -> nn.Module:
    """A model of the family `name` for `task`, with weights drawn on the CPU from `seed`: the same
    on every device.

    Args:
        sizes: fields of the family's `Config`, such as d_model.

    Raises:
        PluginError: an unknown family.
        ConfigError: an unknown field, or sizes that do not go together.
    """
    return _make(name, {**sizes, **_sizes_of(task, name)}, seed=seed)


def _sizes_of(task: Task, name: str) -> dict[str, int]:
    """What the task decides; the separator for families that remember by sentences."""
    found = {
        "vocab_size": len(task.vocab),
        "n_positions": task.n_positions,
        "n_classes": task.n_classes,
    }
    if any(f.name == "separator" for f in fields(_family(name).Config)):
        found["separator"] = task.separator
    return found


def equal_widths(
    names: Sequence[str],
    task: Task,
    sizes: Mapping[str, Any],
    n_wanted: int,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, int]:
    """Each model's d_model, so that their parameters lie within `TOLERANCE` of each other, as near
    to `n_wanted` as may be; `options` by model go before the `sizes` of all. Raises `ConfigError` if
    no widths do, or only some that have less than half of it or more than twice as much."""
    if n_wanted < 1:
        raise ConfigError("parameters that models have in common are at least 1", got=n_wanted)
    counts = {
        name: _parameters_by_width(name, task, {**sizes, **(options or {}).get(name, {})}, n_wanted)
        for name in names
    }
    best: tuple[float, dict[str, int]] | None = None
    for least in sorted({n for found in counts.values() for n in found}):
        # of each model the one that is nearest, among those that count as equal to the smallest
        alike = {
            name: [n for n in found if least <= n <= (1 + TOLERANCE) * least]
            for name, found in counts.items()
        }
        if not all(alike.values()):
            continue
        near = {name: min(found, key=lambda n: _off(n, n_wanted)) for name, found in alike.items()}
        off = max(_off(n, n_wanted) for n in near.values())
        if best is None or off < best[0]:
            best = off, {name: counts[name][n] for name, n in near.items()}
    if best is None:
        raise ConfigError(
            f"the models' parameters come within {100 * TOLERANCE:.0f} % of each other",
            got=n_wanted,
            remedy="Ask for more.",
        )
    if best[0] > math.log(2):
        raise ConfigError(
            "the least parameters that the models have in common are within twice those asked for",
            got=n_wanted,
            remedy="Ask for more.",
        )
    return best[1]


def _off(n: int, n_wanted: int) -> float:
    return abs(math.log(n / n_wanted))


def _parameters_by_width(
    name: str, task: Task, sizes: Mapping[str, Any], n_wanted: int
) -> dict[int, int]:
    """d_model by parameters, from half of what is wanted to twice as many."""
    family, of_task = _family(name), _sizes_of(task, name)
    step = 2 * sizes["n_heads"]

    def count(d_model: int) -> int:
        with torch.device("meta"):
            model: nn.Module = family(family.Config(**sizes, **of_task, d_model=d_model))
        return n_parameters(model)

    least, most = count(step), count(max(step, _WIDEST // step * step))
    if n_wanted > most:
        raise ConfigError(
            f"the parameters of {name} grow with d_model, from {least:,} to {most:,}",
            got=n_wanted,
            remedy="Ask for fewer.",
        )
    found: dict[int, int] = {}
    for d_model in range(step, _WIDEST + 1, step):
        found.setdefault(count(d_model), d_model)
        if max(found) >= 2 * n_wanted:
            break
    return {n: d for n, d in found.items() if n > n_wanted / 2}


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
    return load_family(name).value


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
