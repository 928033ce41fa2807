"""A counted memory and its mixture on disk: `memory.safetensors` with every table and a checksum, `memory.json` with what
they mean."""

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
from clso.grown.discounts import NGramTable, UnigramTable
from clso.grown.experts import Recipe
from clso.grown.own_past import Voters
from clso.grown.skips import SkipTable

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
_KIND = "counted-memory"


def holds_memory(folder: Path) -> bool:
    """Whether there is a memory in `folder`, whole or not."""
    return any((folder / name).exists() for name in MEMORY_FILES)


def save_memory(
    folder: Path, memory: CountedMemory, recipe: Recipe, weights: Sequence[Tensor]
) -> None:
    """Write both files into the folder, which is there."""
    tensors = {
        "count": memory.count,
        "unigram.raw": memory.unigram.raw,
        "unigram.continued": memory.unigram.continued,
    }
    for k, table in enumerate(memory.tables, 2):
        tensors |= {f"order.{k}.{name}": value for name, value in vars(table).items()}
    for i, skip in enumerate(memory.skips):
        names = ("keys", "share", "count_class")
        tensors |= {f"skip.{i}.{name}": getattr(skip, name) for name in names}
        tensors |= {f"skip.{i}.inner.{j}": keys for j, keys in enumerate(skip.inner)}
    tensors |= {f"weights.{i}": w for i, w in enumerate(weights)}
    on_cpu = {name: value.cpu().contiguous() for name, value in tensors.items()}
    write_checked(on_cpu, folder / MEMORY_TENSORS)
    header = {
        "kind": _KIND,
        "vocab_size": memory.vocab_size,
        "order": memory.order,
        "skips": [list(s.lags) for s in memory.skips],
        "recipe": asdict(recipe),
        "stages": [stage.name for stage in recipe.stages],
        "n_bytes": memory.n_bytes,
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
        weights = [tensors[f"weights.{i}"] for i in range(len(recipe.stages))]
    return memory, recipe, weights


def _memory(header: dict[str, Any], tensors: dict[str, Tensor]) -> CountedMemory:
    tables = tuple(
        NGramTable(
            **{name: tensors[f"order.{k}.{name}"] for name in NGramTable.__dataclass_fields__}
        )
        for k in range(2, header["order"] + 1)
    )
    skips = tuple(
        SkipTable(
            tuple(lags),
            tuple(tensors[f"skip.{i}.inner.{j}"] for j in range(len(lags) - 1)),
            **{name: tensors[f"skip.{i}.{name}"] for name in ("keys", "share", "count_class")},
        )
        for i, lags in enumerate(header["skips"])
    )
    unigram = UnigramTable(tensors["unigram.raw"], tensors["unigram.continued"])
    if len(unigram.raw) != header["vocab_size"]:
        raise ValueError("unigrams of another vocabulary")
    return CountedMemory(header["vocab_size"], tensors["count"], unigram, tables, skips)


def _recipe(fields: dict[str, Any]) -> Recipe:
    voters = {name: tuple(Voters(**v) for v in fields[name]) for name in ("shares", "matches")}
    return Recipe(**{**fields, **voters})
