"""Every data SPEC is read, and every bad one is one clear line."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import clso.data.sources as sources
from clso.data.sources import Source, read_source
from clso.errors import DataError


def read(spec: str) -> Source:
    return read_source(spec, lambda _: None)


def test_stdlib_is_sorted_bounded_and_without_tests() -> None:
    lines: list[str] = []
    source = read_source("python-stdlib", lines.append)
    names = [file.name for file in source.files]
    assert names == sorted(names)
    assert "os.py" in names
    assert not any(
        {"test", "tests", "idlelib", "lib2to3", "site-packages"} & set(n.split("/")) for n in names
    )
    assert 1_000_000 < sum(len(file.data) for file in source.files) <= sources.STDLIB_MAX_BYTES
    assert f"{len(names)} file(s)" in lines[-1]


def test_stdlib_takes_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STDLIB_MAX_BYTES", 50_000)
    source = read("python-stdlib")
    assert 0 < sum(len(file.data) for file in source.files) <= 50_000


def test_stdlib_without_sources_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(DataError, match="text:PATH"):
        read("python-stdlib")


def test_file_and_gzip_hold_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\r\ntwo\n"))
    plain, packed = read(f"text:{tmp_path}/a.txt"), read(f"text:{tmp_path}/a.txt.gz")
    assert plain.files[0].data == packed.files[0].data == b"one\r\ntwo\n"
    assert plain.layout == packed.layout == "file"


def test_few_bad_bytes_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"word " * 1000 + b"\xff")
    assert read(f"text:{tmp_path}/a.txt").files[0].data.endswith("\ufffd".encode())


def told(spec: str) -> list[str]:
    lines: list[str] = []
    read_source(spec, lines.append)
    return lines


def test_a_folder_says_what_it_passes_over_and_why(folder: Path) -> None:
    (folder / ".hidden").write_text("hidden")
    (folder / "latin1.txt").write_bytes("déjà vu là-bas".encode("latin-1"))
    (folder / "nul.txt").write_bytes(b"text\0text")
    (folder / "loop").symlink_to(folder)
    (folder / "broken.txt").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.txt")
    source = read(f"text:{folder}")
    names = [file.name for file in source.files]
    assert source.layout == "folder"
    assert names == sorted(names)
    assert len(names) == 41
    left_out = {name: reason for reason, found in source.left_out.items() for name in found}
    assert set(left_out) == {
        "picture.png",
        "latin1.txt",
        "nul.txt",
        "loop",
        "broken.txt",
        "pipe.txt",
    }
    assert left_out["latin1.txt"] == "not UTF-8"
    assert "NUL" in left_out["nul.txt"]
    assert "link to a folder" in left_out["loop"]
    assert "no regular file" in left_out["pipe.txt"] == left_out["broken.txt"]
    line = told(f"text:{folder}")[0]
    assert line.startswith("6 left out (")
    assert "latin1.txt: not UTF-8" in line
    assert "\n" not in line


def test_utf_16_with_its_mark_is_read(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / f"{encoding}.txt").write_text("déjà vu\n", encoding=encoding)
    source = read(f"text:{tmp_path}")
    assert {file.data.decode() for file in source.files} == {"déjà vu\n"}
    assert len(source.files) == 2
    assert not source.left_out


def test_replaced_bytes_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"word " * 1000 + b"\xff")
    for spec in (f"text:{tmp_path}", f"text:{tmp_path}/a.txt"):
        assert "a.txt: 1 undecodable places became U+FFFD" in told(spec)


def test_a_name_tells_a_terminal_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "\x1b[31mred\n.txt").write_bytes(b"\0")
    assert "?[31mred?.txt" in told(f"text:{tmp_path}")[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_inside_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "closed").mkdir(mode=0)
    assert "closed: cannot be read (Permission denied)" in told(f"text:{tmp_path}")[0]


def test_what_is_no_split_is_left_out_of_a_folder_of_splits(tmp_path: Path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt", "README.md", "notes.txt"):
        (tmp_path / name).write_text(name)
    assert any("README.md, notes.txt: no split's name" in line for line in told(f"text:{tmp_path}"))


@pytest.mark.parametrize(
    "names", [("test.txt", "b.txt"), ("train/a.txt", "train/b.txt"), ("dev.txt", "test.txt")]
)
def test_files_that_look_like_splits_are_not_pooled_without_a_word(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert sum("pooled and cut anew" in line for line in told(f"text:{tmp_path}")) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("train.txt.gz", "validation.md", "test"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("train/a.txt", "dev/b.txt", "test/c.txt"),
        ("Train.txt", "val.txt", "TEST.txt"),
        ("sub/train.txt", "sub/valid.txt", "sub/test.txt"),
        ("train-00000-of-00001.csv", "validation-00000-of-00001.csv", "test-00000-of-00001.csv"),
        ("corpus-training.txt", "corpus-eval.txt", "corpus-testing.txt"),
    ],
)
def test_split_files_are_found_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in (*names, "README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        data = name.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    source = read(f"text:{tmp_path}")
    assert source.layout == "splits"
    roles = {file.name: file.role for file in source.files}
    assert roles == dict(zip(names, ("train", "valid", "test"), strict=True))


def test_documents_named_test_do_not_make_a_split_folder(tmp_path: Path) -> None:
    for name in ("test.txt", "latest.txt", "retrain.txt"):
        (tmp_path / name).write_text("some text")
    assert read(f"text:{tmp_path}").layout == "folder"


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("wikitext103", "'wikitext-103'"),
        ("python-stdlb", "'python-stdlib'"),
        ("txt:PATH", "'text:PATH'"),
    ],
)
def test_unknown_data_suggests_the_nearest(spec: str, near: str) -> None:
    with pytest.raises(DataError, match=f"Did you mean {near}"):
        read(spec)


def test_a_bare_path_is_told_the_prefix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"Did you mean 'text:{tmp_path}'"):
        read(str(tmp_path))


def _nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("no.txt", _nothing, "no such file"),
        ("empty.txt", lambda path: path.touch(), "the text is empty"),
        ("blank.txt", lambda path: path.write_text(" \n\n"), "the text is empty"),
        ("nul.txt", lambda path: path.write_bytes(b"a\0b" * 100), "binary"),
        ("latin1.txt", lambda path: path.write_bytes("été ".encode("latin-1") * 100), "not UTF-8"),
        ("no.gz", lambda path: path.write_bytes(b"plain text"), "gzip"),
        ("cut.gz", lambda path: path.write_bytes(gzip.compress(b"text" * 99)[:-9]), "gzip"),
        (
            "bad.gz",
            lambda path: path.write_bytes(gzip.compress(os.urandom(99))[:20] + b"x" * 90),
            "gzip",
        ),
        ("pipe", lambda path: os.mkfifo(path), "regular file"),
        ("link", lambda path: path.symlink_to(path), "no such file"),
        ("a" * 300, _nothing, "no such file"),
        ("nul\0", _nothing, "no such file"),
        (
            "huge",
            lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
            "at most",
        ),
        ("void", lambda path: path.mkdir(), "void holds none: a folder of text"),
    ],
)
def test_bad_text_is_one_clear_line(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(DataError, match=message) as caught:
        read(f"text:{path}")
    assert "\n" not in str(caught.value)
    assert repr(str(path))[1:-1] in str(caught.value)


def test_a_folder_holds_no_more_than_one_text_may(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_TEXT_BYTES", 20_000)
    with pytest.raises(DataError, match="at most"):
        read(f"text:{folder}")


def test_text_without_a_path_does_not_read_the_working_folder() -> None:
    with pytest.raises(DataError, match="needs a path"):
        read("text:")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that cannot be read")
def test_unreadable_file() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read("text:/proc/self/mem")


@pytest.mark.parametrize("missing", ["valid", "test"])
def test_missing_split_file_is_named(tmp_path: Path, missing: str) -> None:
    for role in {"train", "valid", "test"} - {missing}:
        (tmp_path / f"{role}.txt").write_text("some text")
    with pytest.raises(DataError, match=f"has no {missing}"):
        read(f"text:{tmp_path}")


def test_empty_split_file_is_named(tmp_path: Path) -> None:
    for role, text in {"train": "a", "valid": "b", "test": " \n"}.items():
        (tmp_path / f"{role}.txt").write_text(text)
    with pytest.raises(DataError, match="the test text is empty"):
        read(f"text:{tmp_path}")


def test_a_split_that_is_no_text_says_why(tmp_path: Path) -> None:
    for role in ("train", "valid", "test"):
        (tmp_path / f"{role}.txt").write_text(
            "some text", encoding="utf-16-le" if role == "valid" else "utf-8"
        )
    with pytest.raises(
        DataError, match=r"valid text is empty.*valid\.txt: .*UTF-16 without a byte order mark"
    ):
        read(f"text:{tmp_path}")
