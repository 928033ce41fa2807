"""Modules built from their settings, kept in a folder, and read back: what every kind of model
shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import write_tensors
from clso.errors import ClsoError, RunFolderError

__all__ = ["WEIGHTS", "build_module", "n_parameters", "read_module", "reading", "write_module"]

WEIGHTS = "model.safetensors"
_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)
_MAX_CAUSE = 400  # characters: torch lists every tensor that does not fit

M = TypeVar("M", bound=nn.Module)


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
    """Write the weights (safetensors), and to `name` what to build them into (JSON); the folder is
    made."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in model.state_dict().items()
    }
    write_tensors(tensors, folder / WEIGHTS)
    (folder / name).write_text(json.dumps(described, indent=2) + "\n")


def read_module(folder: Path, name: str, build: Callable[[Any], M], *, device: str) -> M:
    """What `write_module` wrote; `build` makes a module of what `name` holds. Raises what a damaged
    file makes of it: `reading` is for that."""
    model = build(parse_json(read_regular(folder / name)))
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(device).eval()


@contextmanager
def reading(
    folder: Path,
    what: str,
    *,
    remedy: str = "Name a folder that a finished run wrote.",
    refusals: tuple[type[ClsoError], ...] = (),
) -> Iterator[None]:
    """While the body reads `what` from `folder`, whatever a damaged file makes of it is a
    `RunFolderError`, and so are CLSO's own `refusals`."""
    foreseen = _DAMAGE + refusals
    try:
        yield
    except foreseen as error:
        cause = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunFolderError(
            f"{folder} holds {what}",
            problem=f"it cannot be read ({type(error).__name__}: {cause[:_MAX_CAUSE]})",
            remedy=remedy,
        ) from error
