"""A counted memory and its mixture on disk: `memory.safetensors` with the text, the weights and a checksum, `memory.json`
with how the text is counted and mixed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

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
    on_cpu = {name: value.cpu().contiguous() for name, value in tensors.items()}
    write_checked(on_cpu, folder / MEMORY_TENSORS)
    header = {
        "kind": _KIND,
        "vocab_size": memory.vocab_size,
        "order": memory.order,
        "pruning": asdict(memory.pruning),
        "contexts": [asdict(context) for context in memory.contexts],
        "recipe": asdict(recipe),
        "stages": [stage.name for stage in recipe.stages],
    }
    (folder / MEMORY_JSON).write_text(json.dumps(header, indent=2) + "\n")


def load_memory(folder: Path) -> tuple[CountedMemory, Recipe, list[Tensor]]:
    """What `save_memory` wrote. Raises `RunFolderError` if it is missing, damaged, or of another kind."""
    what = f"a counted memory ({MEMORY_JSON} and {MEMORY_TENSORS})"
    remedy = "Name a folder that `clso export` or a finished run wrote."
    with reading(folder, what, remedy=remedy, refusals=(ClsoError,)):
        header = parse_json(read_regular(folder / MEMORY_JSON))
        if header["kind"] != _KIND:
            raise ValueError(f"kind {header['kind']!r}")
        tensors = load_checked(folder / MEMORY_TENSORS)
        memory = _memory(header, tensors)
        recipe = _recipe(header["recipe"])
        recipe.require(memory)
        weights = [tensors[f"weights.{i}"].double() for i in range(len(recipe.stages))]
    return memory, recipe, weights


def _memory(header: dict[str, Any], tensors: dict[str, Tensor]) -> CountedMemory:
    v, text, classes = header["vocab_size"], tensors["text"], tensors.get("classes")
    contexts = tuple(SkipContext(tuple(c["lags"]), tuple(c["classed"])) for c in header["contexts"])
    how = header["pruning"]
    pruning = Pruning(**{**how, "cut": tuple(how["cut"]), "threshold": tuple(how["threshold"])})
    parts = {k.removeprefix(_BILINEAR): t for k, t in tensors.items() if k.startswith(_BILINEAR)}
    bilinear = LogBilinear(**parts) if parts else None
    memory = CountedMemory(text, v, header["order"], pruning, contexts, classes, bilinear)
    if bilinear is not None:
        bilinear.require(v)
    if text.ndim != 1 or int(text.int().max()) >= v or int(text.int().min()) < 0:
        raise ValueError("a text of another vocabulary")
    if any(c.classed for c in contexts) and (classes is None or len(classes) != v):
        raise ValueError("contexts without the classes of their tokens")
    return memory


def _recipe(fields: dict[str, Any]) -> Recipe:
    voters = {name: tuple(Voters(**v) for v in fields[name]) for name in ("shares", "matches")}
    return Recipe(**{**fields, **voters})
