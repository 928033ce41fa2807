"""The Long Range Arena's published formats, as tiny made-up files."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clso.errors import DataError
from clso.tasks.base import load_task


def imdb(folder: Path) -> None:
    for split, n in (("train", 20), ("test", 6)):
        for label in ("pos", "neg"):
            (folder / split / label).mkdir(parents=True)
            for i in range(n):
                (folder / split / label / f"{i}_{7 if label == 'pos' else 3}.txt").write_text(
                    f"{label} {split} é {i}"
                )
    # in test as well, as it happens in IMDb
    (folder / "train" / "pos" / "99_7.txt").write_text("pos test é 0")


def test_imdb(tmp_path: Path) -> None:
    imdb(tmp_path)
    task = load_task("lra-text", {"folder": str(tmp_path), "max_length": 15})
    assert [len(task.split(s)) for s in ("train", "valid", "test")] == [36, 4, 12]
    test = task.split("test")
    assert test.tokens.max() == 1 + max("é".encode())
    texts = [bytes(int(t) - 1 for t in row if t) for row in test.tokens]
    assert texts[0] == b"neg test \xc3\xa9 0"
    assert [t.startswith(b"pos") for t in texts] == test.targets.tolist()
    assert {len(t) for t in texts} == {13}
    again = load_task("lra-text", {"folder": str(tmp_path), "max_length": 15})
    assert again.describe() == task.describe()
    (tmp_path / "train" / "pos" / "0_7.txt").write_text("")
    with pytest.raises(DataError, match=r"is not empty; got .*0_7\.txt"):
        load_task("lra-text", {"folder": str(tmp_path)}).split("train")


def test_the_arenas_own_text_files(tmp_path: Path) -> None:
    for name, n in (("train", 5), ("val", 2), ("test", 2)):
        rows = [f'"{name}, ""no"" {i}\nsecond line",{i % 2}' for i in range(n)]
        (tmp_path / f"reviews_{name}.tsv").write_text("\n".join(["Source,Target", *rows]) + "\n")
    task = load_task("lra-text", {"folder": str(tmp_path)})
    assert task.split("valid").targets.tolist() == [0, 1]
    assert bytes(int(t) - 1 for t in task.split("test").tokens[1]) == b'test, "no" 1\nsecond line'
    (tmp_path / "reviews_val.tsv").write_text("Source,Target\nfine,7\n")
    with pytest.raises(
        DataError, match=r"reviews_val\.tsv, line 2 has the label '7': .*label 0 or 1"
    ):
        load_task("lra-text", {"folder": str(tmp_path)}).split("train")


def test_fields_of_any_length_are_read(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    for name in ("train", "val", "test"):
        rows = [f"{name} {i} {'x' * 200_000}\t{i}" for i in range(2)]
        (tmp_path / f"reviews_{name}.tsv").write_text("\n".join(["Source\tTarget", *rows]) + "\n")
    task = load_task("lra-text", {"folder": str(tmp_path), "max_length": 300_000})
    assert task.split("train").tokens.shape == (2, 200_000 + len("train 0 "))
    assert csv.field_size_limit() == before


def test_reviews_that_differ_in_white_space_are_in_one_split(tmp_path: Path) -> None:
    imdb(tmp_path)
    (tmp_path / "train" / "neg" / "98_3.txt").write_bytes(b"neg  test\r\n\xc3\xa9 0\r\n")
    found = load_task("lra-text", {"folder": str(tmp_path)})
    assert len(found.split("train")) + len(found.split("valid")) == 40


def retrieval(folder: Path) -> None:
    for name, n in (("train", 4), ("eval", 2), ("test", 2)):
        rows = [f'{i % 2}.0\tP{i}\tQ{i}\t{name} "{i}\tsecond text {i}' for i in range(n)]
        (folder / f"new_aan_pairs.{name}.tsv").write_text("\n".join(rows) + "\n")


def test_retrieval(tmp_path: Path) -> None:
    retrieval(tmp_path)
    task = load_task("lra-retrieval", {"folder": str(tmp_path), "max_length": 8})
    assert (task.n_positions, task.vocab[257]) == (17, "<sep>")
    train = task.split("train")
    assert train.targets.tolist() == [0, 1, 0, 1]
    row = train.tokens[2].tolist()
    assert row[8] == 257
    assert bytes(t - 1 for t in row[:8]) == b'train "2'
    assert bytes(t - 1 for t in row[9:17]) == b"second t"


def listops(folder: Path) -> None:
    for i, name in enumerate(("train", "val", "test")):
        rows = [f"( ( ( [MAX {i} ) {j} ) ] )\t{max(i, j)}" for j in range(9)]
        (folder / f"basic_{name}.tsv").write_text("\n".join(["Source\tTarget", *rows]) + "\n")


def test_listops(tmp_path: Path) -> None:
    listops(tmp_path)
    task = load_task("lra-listops", {"folder": str(tmp_path)})
    assert task.text(task.split("test").tokens[4]) == "[MAX 2 4 ]"
    assert task.split("test").targets.tolist() == [2, 2, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("( [MAX 2\t3", "every bracket closed"),
        ("( ( ( [MIN 8 ) 9 ) ] )\t1", "the value of the expression is 8"),
        ("1 2\t1", "is one value"),
        ("[MAX ]\t1", "expression holds digits"),
        ("7\tseven", "the value of the expression is 7"),
    ],
)
def test_every_row_of_listops_is_checked(tmp_path: Path, row: str, message: str) -> None:
    listops(tmp_path)
    rows = [
        f"( ( ( [SM {i % 10} ) {i // 10} ) ] )\t{(i % 10 + i // 10) % 10}" for i in range(10, 100)
    ]
    (tmp_path / "basic_train.tsv").write_text("\n".join(["Source\tTarget", *rows * 2, row]) + "\n")
    with pytest.raises(DataError, match=message) as caught:
        load_task("lra-listops", {"folder": str(tmp_path)}).split("train")
    assert "line 182" in str(caught.value)


def cifar(folder: Path, n: int = 4) -> None:
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        records = rng.integers(0, 256, (n, 3073), np.uint8)
        records[:, 0] = np.arange(n)
        records[0, 1:] = 255
        records[1, 1:] = 0
        records[1, 1 + 1024 : 1 + 2048] = 100  # green
        # red of the last pixel: no image twice
        records[:2, 1024] = len(list(folder.iterdir())) * 20
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def test_image(tmp_path: Path) -> None:
    cifar(tmp_path)
    task = load_task("lra-image", {"folder": str(tmp_path)})
    assert [len(task.split(s)) for s in ("train", "valid", "test")] == [18, 2, 4]
    test = task.split("test")
    assert test.tokens.shape == (4, 1024)
    assert test.targets.tolist() == [0, 1, 2, 3]
    assert set(test.tokens[0, :1023]) == {1 + 254}  # 0.9999 of 255, rounded down
    assert set(test.tokens[1, :1023]) == {1 + 58}  # 0.587 of 100
    assert test.tokens[2:].min() >= 1


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(
        DataError, match=r"read from its binary version.*pickles.*cifar-10-binary\.tar\.gz"
    ):
        load_task("lra-image", {"folder": str(tmp_path)}).split("test")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "make", "damaged", "text", "message"),
    [
        ("lra-text", imdb, "train/pos", None, r"hold reviews as \.txt"),
        (
            "lra-retrieval",
            retrieval,
            "new_aan_pairs.eval.tsv",
            None,
            r"holds 0: the folder holds one file \*\.eval\.tsv",
        ),
        (
            "lra-retrieval",
            retrieval,
            "new_aan_pairs.eval.tsv",
            "1.0\ta\tb\tc\n",
            "eval.tsv, line 1 has 4 columns",
        ),
        (
            "lra-retrieval",
            retrieval,
            "new_aan_pairs.eval.tsv",
            "x\ta\tb\tc\td\n",
            "a label .0 or 1., two ids",
        ),
        ("lra-retrieval", retrieval, "new_aan_pairs.eval.tsv", "", "is not empty"),
        (
            "lra-listops",
            listops,
            "basic_val.tsv",
            "a\tb\n",
            "begin with the columns Source and Target",
        ),
        (
            "lra-listops",
            listops,
            "basic_val.tsv",
            "Source\tTarget\n( [MAX 1\n",
            "a source and a target",
        ),
        (
            "lra-listops",
            listops,
            "basic_val.tsv",
            "Source\tTarget\n[AVG 1 ]\t1\n",
            "a ListOps expression and its value",
        ),
        (
            "lra-listops",
            listops,
            "basic_val.tsv",
            "Source\tTarget\n[MAX 1 2 ]\t1\n",
            "the value of the expression is 2",
        ),
        (
            "lra-listops",
            listops,
            "basic_val.tsv",
            "Source\tTarget\n[MAX 1 2\t1\n",
            "every bracket closed",
        ),
        (
            "lra-image",
            cifar,
            "data_batch_3.bin",
            None,
            "data_batch_3.bin cannot be read .No such file",
        ),
        ("lra-image", cifar, "test_batch.bin", "short", "records of 3073 bytes"),
        ("lra-image", cifar, "test_batch.bin", "\x7f" * 3073, "labels of CIFAR-10 are 0 to 9"),
    ],
)
def test_missing_and_damaged_files(
    tmp_path: Path,
    name: str,
    make: Callable[[Path], None],
    damaged: str,
    text: str | None,
    message: str,
) -> None:
    make(tmp_path)
    path = tmp_path / damaged
    if path.is_dir():
        path.rename(tmp_path / "elsewhere")
    elif text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_task(name, {"folder": str(tmp_path)}).split("train")


@pytest.mark.parametrize(
    "name", ["lra-text", "lra-retrieval", "lra-listops", "lra-image", "pg19", "scrolls"]
)
def test_nothing_is_downloaded(name: str, tmp_path: Path) -> None:
    for folder in ("", str(tmp_path / "no")):
        with pytest.raises(DataError, match=r"not downloaded for you.*Set the option folder=PATH"):
            load_task(name, {"folder": folder}).split("test")
