"""Files that are no files, no text, or more than memory holds."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from clso.data.reading import decode, read_file
from clso.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_the_same_text(encoding: str) -> None:
    text = "où? \U0001f600\r\n" * 50
    found = decode(text.encode(encoding))
    assert found.data.decode() == text
    assert not found.refused


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-32-be"])
def test_big_endian_marks(encoding: str) -> None:
    assert decode("\ufefftext é".encode(encoding)).data.decode() == "text é"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"text" * 99 + b"\0", "NUL bytes"),
        ("text".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\xff\xfe" + "a\0b".encode("utf-16-le"), "NUL characters"),
        (b"\xff\xfea", "no valid UTF-16"),
        (b"\xff\xfe\x00\xd8a\0", "no valid UTF-16"),
        ("été ".encode("latin-1") * 99, "not UTF-8"),
    ],
)
def test_what_is_no_text_says_why(raw: bytes, reason: str) -> None:
    found = decode(raw)
    assert reason in found.refused
    assert found.data == b""


def test_replaced_places_are_counted() -> None:
    found = decode(b"word " * 1000 + b"\xff and \xfe")
    assert found.n_replaced == 2
    assert found.data.count("\ufffd".encode()) == 2


def test_neither_pipe_nor_device_nor_folder_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(DataError, match="regular file, no pipe") as caught:
            read_file(path)
        assert "\n" not in str(caught.value)


def test_a_gzip_bomb_is_refused_within_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(64):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match="at most"):
        read_file(path, limit=32 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert len(read_file(path, limit=64 << 20)) == 64 << 20


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DataError, match="at most"):
        read_file(path, limit=1 << 20)


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs a file that states a size of 0"
)
def test_a_stated_size_is_not_trusted() -> None:
    assert b"VmPeak" in read_file(Path("/proc/self/status"), limit=1 << 20)
    with pytest.raises(DataError, match="at most"):
        read_file(Path("/proc/self/status"), limit=100)
