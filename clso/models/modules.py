"""Modules built from their settings, kept in a folder, and read back: what every kind of model
shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from clso import plugins
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import load_tensors, write_tensors
from clso.errors import PluginError

__all__ = [
    "WEIGHTS",
    "build_module",
    "load_family",
    "n_parameters",
    "read_module",
    "write_module",
]

WEIGHTS = "model.safetensors"

M = TypeVar("M", bound=nn.Module)


def load_family(name: str) -> plugins.Plugin:
    """A family of models by its name, or FILE.py:CLASS. Raises `PluginError` unless it is an
    `nn.Module` with a dataclass `Config`."""
    plugin = plugins.load("models", name)
    kind = plugin.value
    if not (
        isinstance(kind, type)
        and issubclass(kind, nn.Module)
        and is_dataclass(getattr(kind, "Config", None))
    ):
        raise PluginError(
            f"{name!r} is a torch.nn.Module class with a dataclass Config", got=repr(kind)
        )
    return plugin


def build_module(family: Callable[[Any], M], config: Any, *, seed: int | None = None) -> M:
    """`family(config)` on the CPU, which leaves the global random stream as it was.

    With a `seed` its weights follow from that alone: what the constructor draws, and then
    `init_weights(generator)` if it has one. Without, weights are to be filled in."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        model = family(config)
    initialise = getattr(model, "init_weights", None)
    if seed is not None and initialise is not None:
        initialise(torch.Generator().manual_seed(seed))
    return model


def n_parameters(model: nn.Module) -> int:
    """Trainable numbers, shared ones once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def write_module(model: nn.Module, described: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write the weights (safetensors, tied ones once), and to `name` what to build them into (JSON);
    the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tied = _tied(model)
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in model.state_dict().items()
        if key not in tied
    }
    write_tensors(tensors, folder / WEIGHTS)
    (folder / name).write_text(json.dumps(described, indent=2) + "\n")


def read_module(folder: Path, name: str, build: Callable[[Any], M], *, device: str) -> M:
    """What `write_module` wrote; `build` makes a module of what `name` holds. Raises what a damaged
    file makes of it: `clso.disk.damage.reading` is for that."""
    model = build(parse_json(read_regular(folder / name)))
    tensors = load_tensors(folder / WEIGHTS)
    for key, of in _tied(model).items():
        tensors.setdefault(key, tensors[of])
    model.load_state_dict(tensors)
    return model.to(device).eval()


def _tied(model: nn.Module) -> dict[str, str]:
    """Names of weights that are another's, and that one's name."""
    first: dict[int, str] = {}
    names = {
        key: first.setdefault(id(value), key)
        for key, value in model.named_parameters(remove_duplicate=False)
    }
    return {key: of for key, of in names.items() if key != of}
