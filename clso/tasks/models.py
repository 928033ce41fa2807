"""Sequence models by name: building one for a task, and keeping a trained one on disk.

A family is a class of the plugin group `clso.models`: an `nn.Module` with `Config`, a frozen
dataclass of vocab_size, d_model, n_layers, n_heads, n_positions, n_classes and the family's own
fields. It is made as `Family(Config(...))` and has `config`, `init_weights(generator)` and
`forward(tokens, mask)` -> logits (B, n_classes), or (B, T, vocab_size) if n_classes is 0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from clso import plugins
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import write_tensors
from clso.errors import ClsoError, ConfigError, RunFolderError
from clso.tasks.base import Task

__all__ = ["build_model", "load_model", "model_options", "n_parameters", "save_model"]

_CONFIG, _WEIGHTS = "sequence.json", "model.safetensors"
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
    model = _make(name, {**sizes, **of_task})
    model.init_weights(torch.Generator().manual_seed(seed))  # type: ignore[operator]
    return model


def model_options(name: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` texts as fields of a family's `Config`. Raises `ConfigError`."""
    from clso.space.options import parse_options

    for pair in pairs:
        if pair.partition("=")[0].strip() in _OF_THE_TASK:
            raise ConfigError(
                "the task decides the vocabulary, the positions and the classes", got=pair
            )
    return parse_options(_family(name).Config, pairs, of="this model")


def n_parameters(model: nn.Module) -> int:
    """Trainable numbers, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def save_model(name: str, model: nn.Module, folder: Path) -> None:
    """Write the weights (safetensors) and what to build them into (JSON); the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    config = asdict(model.config)  # type: ignore[call-overload]
    (folder / _CONFIG).write_text(
        json.dumps({"model": plugins.absolute(name), "config": config}, indent=2) + "\n"
    )
    write_tensors(
        {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}, folder / _WEIGHTS
    )


def load_model(folder: Path, *, device: str = "cpu") -> nn.Module:
    """What `save_model` wrote. Raises `RunFolderError` if it is missing or damaged,
    `PluginError` without the family."""
    try:
        described = parse_json(read_regular(folder / _CONFIG))
        model = _make(described["model"], described["config"])
        model.load_state_dict(load_file(folder / _WEIGHTS))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        SafetensorError,
        ConfigError,
    ) as error:
        raise RunFolderError(
            f"{folder} holds a sequence model ({_CONFIG} and {_WEIGHTS})",
            problem=f"it cannot be read ({type(error).__name__}: {error})",
        ) from error
    return model.to(device).eval()


def _family(name: str) -> Any:
    return plugins.load("models", name).subclass_of(nn.Module)


def _make(name: str, values: Mapping[str, Any]) -> nn.Module:
    family = _family(name)
    known = [f.name for f in fields(family.Config)]
    if unknown := [key for key in values if key not in known]:
        raise ConfigError(
            f"model {name} has no such field", got=unknown, remedy=f"Known: {', '.join(known)}."
        )
    try:
        with torch.random.fork_rng(devices=[]):  # a constructor's own draws are nobody's business
            model: nn.Module = family(family.Config(**values))
    except ClsoError:
        raise
    except Exception as error:
        raise ConfigError(
            f"model {name} can be built with these sizes", got=f"{dict(values)}: {error}"
        ) from error
    return model
