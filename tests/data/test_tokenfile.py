"""Token files round-trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clso.data.tokenfile import map_tokens, write_tokens
from clso.data.tokenizers import token_dtype
from clso.disk.files import check_file


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
