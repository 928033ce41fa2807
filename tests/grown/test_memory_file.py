"""A counted memory's files: what no memory says is refused, in one line, before anything is counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clso.disk.tensors import load_checked, write_checked
from clso.errors import RunFolderError
from clso.grown.memory_file import MEMORY_JSON, MEMORY_TENSORS, load_memory, save_memory
from clso.grown.pruning import Pruning
from clso.models.memory import MemoryModel

from .example import make_model

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> MemoryModel:
    return make_model()


@pytest.fixture(scope="module")
def written(model: MemoryModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    save_memory(folder, model.memory, model.recipe, model.weights)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "memory"))


def refused(folder: Path, because: str = "") -> None:
    with pytest.raises(RunFolderError, match="counted memory") as caught:
        load_memory(folder)
    assert because in str(caught.value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"order": 4', '"order": 3', 1),
        lambda text: text.replace("0.9", "0.8", 1),
        lambda text: text + " ",
    ],
    ids=["another order", "another decay", "another byte"],
)
def test_a_header_that_was_changed(folder: Path, edit: Callable[[str], str]) -> None:
    path = folder / MEMORY_JSON
    text = path.read_text()
    assert edit(text) != text
    path.write_text(edit(text))
    refused(folder, "not what was written with")


def test_a_header_beside_another_memory(folder: Path, model: MemoryModel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_memory(other, model.memory, model.recipe, [w / 2 for w in model.weights])
    assert (other / MEMORY_JSON).read_bytes() == (folder / MEMORY_JSON).read_bytes()
    save_memory(other, replace(model.memory, pruning=Pruning(0.9)), model.recipe, model.weights)
    shutil.copy(other / MEMORY_TENSORS, folder)
    refused(folder, "not what was written with")


IMPOSSIBLE: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
    (("vocab_size",), (0, -1, 22, 10**30, "23", 23.0, None, True)),
    (("order",), (0, -1, 20, 3, 10**30, "4", 4.0, None, True)),
    (("recipe", "order"), (0, 20, 5, "4", 4.5)),
    (("recipe", "n_skips"), (-1, 99, "2", 1.5)),
    (("recipe", "rule"), ("fine", None)),
    (("recipe", "grown"), ("no", 3, None)),
    (("recipe", "shares", 0, "kind"), ("match", "none", None)),
    (("recipe", "shares", 0, "decay"), (0, -1, 2, float("nan"), 1e300, "1", None)),
    (("recipe", "shares", 0, "rarity"), (-1, float("inf"), "1")),
    (("recipe", "matches", 0, "length"), (-1, 5, 10**30, 1.5, None)),
    (("pruning", "discount"), (0, -1, float("nan"), float("inf"), "1", None)),
    (("pruning", "cut"), ([], [0], [1.5], ["1"], [10**30], None)),
    (("pruning", "threshold"), ([], [-1.0], [float("nan")], ["0"], None)),
    (("pruning", "skip_cut"), (0, -1, 1.5, "1", None)),
    (("contexts", 0, "lags"), ([], [-1], [0, 2], [99_999, 0], [10**30], [1.5, 0], ["2"], None)),
    (("contexts", 2, "classed"), ([7], ["0"], [1.0], None)),
]


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in IMPOSSIBLE for value in values]
)
def test_a_header_that_no_memory_has(
    folder: Path, model: MemoryModel, path: tuple[Any, ...], value: Any
) -> None:
    """Written as a memory is, checksums included: rules hold, and not the checksum alone."""
    header = json.loads((folder / MEMORY_JSON).read_text())
    at = header
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    rewrite(folder, header=header)
    refused(folder)


def rewrite(folder: Path, *, header: Any = None, tensors: Tensors | None = None) -> None:
    """Write a folder's files anew, as `save_memory` does."""
    from clso.grown import memory_file

    if header is None:
        header = json.loads((folder / MEMORY_JSON).read_text())
    text = json.dumps(header).encode()
    found = tensors if tensors is not None else load_checked(folder / MEMORY_TENSORS)
    write_checked(
        {**found, memory_file._JSON_DIGEST: memory_file._digest(text)}, folder / MEMORY_TENSORS
    )
    (folder / MEMORY_JSON).write_bytes(text)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("text", lambda t: t.float()),
        ("text", lambda t: t.long() + (1 << 40)),
        ("text", lambda t: t.int() - 300),
        ("text", lambda t: t.int() + 23),
        ("text", lambda t: t[None]),
        ("text", lambda t: t[:4]),
        ("classes", lambda t: t.long()),
        ("classes", lambda t: t[:-1]),
        ("classes", lambda t: t[None]),
        ("weights.0", lambda t: t.long()),
        ("weights.0", lambda t: t.to(torch.complex64)),
        ("weights.99", lambda t: torch.ones(3)),
        ("more", lambda t: torch.ones(3)),
        ("bilinear.context", lambda t: torch.ones(3)),
    ],
    ids=[
        *(f"text {what}" for what in ("float", "huge", "negative", "beyond", "folded", "short")),
        *(f"classes {what}" for what in ("long", "short", "folded")),
        *("weights long", "weights complex", "more weights", "more", "a bilinear part"),
    ],
)
def test_tensors_that_no_memory_has(
    folder: Path, name: str, change: Callable[[Tensor | None], Tensor]
) -> None:
    tensors = load_checked(folder / MEMORY_TENSORS)
    tensors[name] = change(tensors.get(name)).contiguous()
    rewrite(folder, tensors=tensors)
    refused(folder)


def test_what_was_written_is_read(folder: Path, model: MemoryModel) -> None:
    rewrite(folder)
    memory, recipe, weights = load_memory(folder)
    assert recipe == model.recipe
    assert torch.equal(memory.text, model.memory.text)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.weights, strict=True))
