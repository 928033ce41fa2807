"""Token files round-trip, appear whole or not at all, and damage is seen."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clso.data.tokenfile import FileCheck, atomic_file, check_file, map_tokens, write_tokens
from clso.data.tokenizers import token_dtype


@given(st.lists(st.lists(st.integers(0, 70_000), max_size=20), min_size=1, max_size=5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]) -> None:
    ids = sum(batches, [0])
    dtype = token_dtype(max(ids) + 1)
    path = tmp_path_factory.mktemp("tokens") / "t.bin"
    check = write_tokens(path, (np.array(batch, dtype) for batch in [[0], *batches]), dtype)
    tokens = map_tokens(path, dtype)
    assert tokens.tolist() == ids
    assert tokens.dtype == dtype
    assert check_file(path) == check
    assert check.n_bytes == len(ids) * dtype.itemsize


def test_map_is_read_only(tmp_path: Path) -> None:
    write_tokens(tmp_path / "t.bin", [np.arange(4, dtype=np.uint16)], np.dtype("<u2"))
    tokens = map_tokens(tmp_path / "t.bin", np.dtype("<u2"))
    assert isinstance(tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_file(path) as stream:
            stream.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["t"]
    assert path.read_bytes() == b"old"


def test_writers_at_once_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "t"

    def write(byte: bytes) -> None:
        for _ in range(20):
            with atomic_file(path) as stream:
                stream.write(byte * 10_000)

    threads = [threading.Thread(target=write, args=(bytes([65 + i]),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(path.read_bytes())) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_check_sees_damage(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"abc")
    check = check_file(path)
    assert isinstance(check, FileCheck)
    path.write_bytes(b"abd")
    assert check_file(path) != check
    path.unlink()
    assert check_file(path) is None
