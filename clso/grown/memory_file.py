"""A counted memory and its mixture on disk: `memory.safetensors` with all counts and a checksum, `memory.json` with what
they mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from clso.disk.damage import reading
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import load_checked, write_checked
from clso.errors import ClsoError
from clso.grown.counted_memory import CountedMemory, CountedOrder, CountedUnigrams
from clso.grown.experts import Recipe
from clso.grown.own_past import Voters
from clso.grown.packed import Children, SmallNumbers
from clso.grown.skips import CountedSkip, SkipContext

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
        **_flat("unigrams", memory.unigrams),
        **_flat("order", memory.orders),
        **_flat("skip", memory.counted_skips),
        **({} if memory.classes is None else {"classes": memory.classes}),
        **_flat("weights", tuple(weights)),
    }
    on_cpu = {name: value.cpu().contiguous() for name, value in tensors.items()}
    write_checked(on_cpu, folder / MEMORY_TENSORS)
    header = {
        "kind": _KIND,
        "vocab_size": memory.vocab_size,
        "order": memory.order,
        "skips": [asdict(s.context) for s in memory.counted_skips],
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
        weights = [tensors[f"weights.{i}"].double() for i in range(len(recipe.stages))]
    return memory, recipe, weights


def _flat(name: str, part: Any) -> dict[str, Tensor]:
    """The tensors of a dataclass or a tuple, by their path in it."""
    if isinstance(part, Tensor):
        return {name: part}
    inside: dict[str, Any] = {}
    if isinstance(part, tuple):
        inside = {str(i): value for i, value in enumerate(part)}
    elif is_dataclass(part):
        inside = {f.name: getattr(part, f.name) for f in fields(part)}
    return {k: v for key, value in inside.items() for k, v in _flat(f"{name}.{key}", value).items()}


def _memory(header: dict[str, Any], tensors: dict[str, Tensor]) -> CountedMemory:
    v, order = header["vocab_size"], header["order"]
    unigrams = CountedUnigrams(
        _numbers(tensors, "unigrams.count"),
        _numbers(tensors, "unigrams.continuation"),
        tensors["unigrams.discounts"],
    )
    orders = tuple(_order(tensors, f"order.{k}") for k in range(order - 1))
    skips = tuple(_skip(tensors, f"skip.{i}", context) for i, context in enumerate(header["skips"]))
    contexts = [v, *(len(o.children) for o in orders)]
    if len(unigrams.count) != v:
        raise ValueError("unigrams of another vocabulary")
    if any(len(o.children.size) != n for o, n in zip(orders, contexts, strict=False)):
        raise ValueError("orders that do not belong together")
    classes = tensors.get("classes")
    if any(s.context.classed for s in skips) and (classes is None or len(classes) != v):
        raise ValueError("contexts without the classes of their tokens")
    return CountedMemory(v, unigrams, orders, skips, classes)


def _numbers(tensors: dict[str, Tensor], name: str) -> SmallNumbers:
    return SmallNumbers(tensors[f"{name}.low"], tensors[f"{name}.large"])


def _children(tensors: dict[str, Tensor], name: str) -> Children:
    return Children(_numbers(tensors, f"{name}.size"), tensors[f"{name}.last"])


def _order(tensors: dict[str, Tensor], name: str) -> CountedOrder:
    continues = f"{name}.continuation.low" in tensors
    totals = [f"{name}.totals.{i}" for i in (0, 1)]
    return CountedOrder(
        _children(tensors, f"{name}.children"),
        _numbers(tensors, f"{name}.count"),
        _numbers(tensors, f"{name}.continuation") if continues else None,
        tensors[f"{name}.discounts"],
        tuple(_numbers(tensors, total) for total in totals if f"{total}.low" in tensors),
        tensors.get(f"{name}.count_class"),
    )


def _skip(tensors: dict[str, Tensor], name: str, written: dict[str, Any]) -> CountedSkip:
    context = SkipContext(tuple(written["lags"]), tuple(written["classed"]))
    return CountedSkip(
        context,
        tuple(_children(tensors, f"{name}.inner.{i}") for i in range(len(context.lags) - 1)),
        _children(tensors, f"{name}.children"),
        _numbers(tensors, f"{name}.count"),
        tensors[f"{name}.discount"],
    )


def _recipe(fields: dict[str, Any]) -> Recipe:
    voters = {name: tuple(Voters(**v) for v in fields[name]) for name in ("shares", "matches")}
    return Recipe(**{**fields, **voters})
