"""A counted memory and its mixture on disk: `memory.json` with how the text is counted and mixed, `memory.safetensors` with
the text, the weights and a checksum of itself and of `memory.json`, so that neither is read beside another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clso.config import checked
from clso.disk.damage import reading
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import load_checked, write_checked
from clso.errors import ClsoError
from clso.grown.counted_memory import CountedMemory
from clso.grown.log_bilinear import LogBilinear
from clso.grown.own_past import Voters
from clso.grown.pruning import Pruning
from clso.grown.recipes import Recipe
from clso.grown.skips import SkipContext

__all__ = [
    "MEMORY_FILES",
    "MEMORY_JSON",
    "MEMORY_TENSORS",
    "holds_memory",
    "load_memory",
    "save_memory",
]

MEMORY_JSON, MEMORY_TENSORS = "memory.json", "memory.safetensors"
MEMORY_FILES = (MEMORY_JSON, MEMORY_TENSORS)
_KIND = "counted-text"
_BILINEAR = "bilinear."
_OF_MEMORY = ("text", "classes")
_JSON_DIGEST = "memory.json"  # the tensor (32,) uint8 of its SHA-256


def holds_memory(folder: Path) -> bool:
    """Whether there is a memory in `folder`, whole or not."""
    return any((folder / name).exists() for name in MEMORY_FILES)


def save_memory(
    folder: Path, memory: CountedMemory, recipe: Recipe, weights: Sequence[Tensor]
) -> None:
    """Write both files into the folder, which is there."""
    tensors = {"text": memory.text}
    tensors |= {} if memory.classes is None else {"classes": memory.classes}
    tensors |= (
        {}
        if memory.bilinear is None
        else {f"{_BILINEAR}{k}": v for k, v in vars(memory.bilinear).items()}
    )
    tensors |= {f"weights.{i}": w for i, w in enumerate(weights)}
    header = {
        "kind": _KIND,
        "vocab_size": memory.vocab_size,
        "order": memory.order,
        "pruning": asdict(memory.pruning),
        "contexts": [asdict(context) for context in memory.contexts],
        "recipe": asdict(recipe),
        "stages": [stage.name for stage in recipe.stages],
    }
    text = (json.dumps(header, indent=2) + "\n").encode()
    tensors[_JSON_DIGEST] = _digest(text)
    on_cpu = {name: value.cpu().contiguous() for name, value in tensors.items()}
    write_checked(on_cpu, folder / MEMORY_TENSORS)
    (folder / MEMORY_JSON).write_bytes(text)


def load_memory(folder: Path) -> tuple[CountedMemory, Recipe, list[Tensor]]:
    """What `save_memory` wrote. Raises `RunFolderError` if it is missing, damaged, or of another kind."""
    what = f"a counted memory ({MEMORY_JSON} and {MEMORY_TENSORS})"
    remedy = "Name a folder that `clso export` or a finished run wrote."
    with reading(folder, what, remedy=remedy, refusals=(ClsoError,)):
        text = read_regular(folder / MEMORY_JSON)
        header = parse_json(text)
        if header["kind"] != _KIND:
            raise ValueError(f"kind {header['kind']!r}")
        tensors = load_checked(folder / MEMORY_TENSORS)
        if _JSON_DIGEST not in tensors:
            raise ValueError("an earlier version wrote it, without a checksum of both files")
        if not torch.equal(tensors.pop(_JSON_DIGEST), _digest(text)):
            raise ValueError(f"{MEMORY_JSON} is not what was written with {MEMORY_TENSORS}")
        memory = _memory(header, tensors)
        recipe = _recipe(header["recipe"])
        recipe.require(memory)
        weights = [tensors.pop(f"weights.{i}") for i in range(len(recipe.stages))]
        if not all(w.is_floating_point() for w in weights):
            raise ValueError("weights are floating-point numbers")
        if left := [k for k in tensors if k not in _OF_MEMORY and not k.startswith(_BILINEAR)]:
            raise ValueError(f"a memory has no tensors {', '.join(sorted(left))}")
    return memory, recipe, [w.double() for w in weights]


def _digest(text: bytes) -> Tensor:
    return torch.tensor(list(hashlib.sha256(text).digest()), dtype=torch.uint8)


def _whole(values: list[Any]) -> tuple[int, ...]:
    if not all(type(value) is int for value in values):
        raise ValueError(f"sizes and lags are whole numbers, got {values}")
    return tuple(values)


def _memory(header: dict[str, Any], tensors: dict[str, Tensor]) -> CountedMemory:
    v, text, classes = header["vocab_size"], tensors["text"], tensors.get("classes")
    contexts = tuple(
        SkipContext(_whole(c["lags"]), _whole(c["classed"])) for c in header["contexts"]
    )
    pruning = Pruning(**checked(Pruning, header["pruning"]))
    parts = {k.removeprefix(_BILINEAR): t for k, t in tensors.items() if k.startswith(_BILINEAR)}
    bilinear = LogBilinear(**parts) if parts else None
    v, order = _whole([v, header["order"]])
    memory = CountedMemory(text, v, order, pruning, contexts, classes, bilinear)
    if bilinear is not None:
        bilinear.require(v)
    is_text = text.ndim == 1 and text.dtype in (torch.uint16, torch.int32)
    if not is_text or int(text.int().max()) >= v or int(text.int().min()) < 0:
        raise ValueError("a text of another vocabulary")
    if classes is not None and (classes.shape != (v,) or classes.dtype != torch.uint8):
        raise ValueError("classes of another vocabulary")
    if any(c.classed for c in contexts) and classes is None:
        raise ValueError("contexts without the classes of their tokens")
    return memory


def _recipe(fields: dict[str, Any]) -> Recipe:
    voters = {
        name: tuple(Voters(**checked(Voters, v)) for v in fields[name])
        for name in ("shares", "matches")
    }
    others = {name: value for name, value in fields.items() if name not in voters}
    return Recipe(**{**checked(Recipe, others), **voters})
