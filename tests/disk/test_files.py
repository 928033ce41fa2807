"""Files appear whole or not at all, with the user's mode; damage is seen, and nothing but a regular
file is waited for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch

from clso.disk.files import FileCheck, atomic_file, check_file, read_regular, write_bytes
from clso.disk.tensors import load_checked, write_checked, write_tensors


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_file(path) as temporary:
            temporary.write_bytes(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["t"]
    assert path.read_bytes() == b"old"


def test_writers_at_once_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "t"

    def write(byte: bytes) -> None:
        for _ in range(20):
            with atomic_file(path, durable=False) as temporary:
                temporary.write_bytes(byte * 10_000)

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


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_regular(path)
        assert check_file(path) is None


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_mode_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "a", b"x")
        write_tensors({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert [p.stat().st_mode & 0o777 for p in tmp_path.iterdir()] == [mode, mode]


def test_every_flipped_bit_of_a_checked_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "counts.safetensors"
    tensors = {"keys": torch.arange(3), "count": torch.tensor([1, 2, 3], dtype=torch.int32)}
    write_checked(tensors, path)
    found = load_checked(path)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    whole = path.read_bytes()
    for i in range(8 * len(whole)):
        data = bytearray(whole)
        data[i // 8] ^= 1 << i % 8
        path.write_bytes(data)
        try:
            found = load_checked(path)
        except ValueError:
            continue
        # A bit of the header's padding, or of another key of its metadata.
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_tensors_without_a_checksum_are_not_those_that_were_written(tmp_path: Path) -> None:
    write_tensors({"keys": torch.arange(3)}, tmp_path / "t")
    with pytest.raises(ValueError, match="other bytes"):
        load_checked(tmp_path / "t")
