"""PG-19 and SCROLLS in their published formats, as tiny made-up files."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clso.errors import DataError
from clso.tasks.base import load_task


def books(folder: Path) -> None:
    rows = []
    for number, split in enumerate(("train", "train", "validation", "test"), 10):
        (folder / split).mkdir(exist_ok=True)
        (folder / split / f"{number}.txt").write_text(
            f"Book {number}: " + " ".join(str(i * i) for i in range(number, 5 * number))
        )
        rows.append(
            f'{number},"A Title, with a comma",1900,http://www.gutenberg.org/ebooks/{number}'
        )
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")


def test_pg19(tmp_path: Path) -> None:
    books(tmp_path)
    task = load_task("pg19", {"folder": str(tmp_path), "block": 32})
    assert task.metrics[0] == "perplexity"
    train = task.split("train")
    text = (tmp_path / "train" / "10.txt").read_bytes()
    first, second = (np.array([1 + b for b in text[i : i + 33]]) for i in (0, 32))
    assert np.array_equal(train.tokens[0], first[:-1])
    assert np.array_equal(train.targets[0], first[1:])
    assert np.array_equal(train.tokens[1], second[:-1])  # every byte but the first is a target once
    lengths = [len(p.read_bytes()) for p in (tmp_path / "test").iterdir()]
    test = task.split("test")
    assert np.count_nonzero(test.targets) == test.n_tokens == lengths[0] - 1
    fewer = load_task("pg19", {"folder": str(tmp_path), "block": 32, "max_books": 1})
    assert len(fewer.split("train")) < len(train)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("metadata.csv", None, "metadata.csv cannot be read .No such file"),
        ("metadata.csv", "10,only two\n", "a row of metadata.csv is"),
        ("metadata.csv", "11,A,1900,x\n", "listed in metadata.csv"),
        ("test/13.txt", None, r"books as ID\.txt"),
        ("test/13.txt", "", "is not empty"),
    ],
)
def test_damaged_books(tmp_path: Path, path: str, text: str | None, message: str) -> None:
    books(tmp_path)
    (tmp_path / path).unlink() if text is None else (tmp_path / path).write_text(text)
    with pytest.raises(DataError, match=message):
        load_task("pg19", {"folder": str(tmp_path)}).split("train")


def test_a_book_of_test_with_other_ends_of_lines_leaves_train(tmp_path: Path) -> None:
    books(tmp_path)
    test = (tmp_path / "test" / "13.txt").read_text()
    (tmp_path / "train" / "11.txt").write_bytes(("\r\n" + test.replace(" ", "\r\n")).encode())
    found = load_task("pg19", {"folder": str(tmp_path), "block": 32})
    only = load_task("pg19", {"folder": str(tmp_path), "block": 32, "max_books": 1})
    assert len(found.split("train")) == len(only.split("train"))


def row(number: int, document: int, answer: str) -> dict[str, object]:
    text = f"What about {number}?\n\nDocument {document}.\n\nIts second part\u2028goes on."
    return {"id": f"q{number}", "pid": f"q{number}_{answer}", "input": text, "output": answer}


def qasper(folder: Path) -> None:
    parts = {
        "train": [row(i, i // 2, f"answer {i}") for i in range(20)] + [row(98, 55, "leaks")],
        "validation": [row(99, 55, "Yes"), row(99, 55, "It is so"), row(98, 56, "No")],
        "test": [{**row(50, 70, ""), "output": None}],
    }
    folder.mkdir(exist_ok=True)
    for name, rows in parts.items():
        lines = [json.dumps(r, ensure_ascii=False) for r in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("packed", [False, True])
def test_scrolls(tmp_path: Path, packed: bool) -> None:
    where = tmp_path / "qasper"
    qasper(where)
    if packed:
        with zipfile.ZipFile(tmp_path / "qasper.zip", "w") as archive:
            for path in sorted(where.iterdir()):
                archive.write(path, f"qasper/{path.name}")
        where = tmp_path / "qasper.zip"
    task = load_task("scrolls", {"folder": str(where), "max_input": 25, "max_output": 6})
    splits = {name: task.split(name) for name in ("train", "valid", "test")}
    # the question about a document of test is left out
    assert len(splits["train"]) + len(splits["valid"]) == 20
    assert len(splits["valid"]) == 2  # both of one document

    tokens, targets = splits["test"].tokens[1], splits["test"].targets[1]
    prompt = row(99, 55, "")["input"].encode()[:25]  # type: ignore[attr-defined]
    assert tokens[:26].tolist() == [*(1 + b for b in prompt), 257]
    assert tokens[26:32].tolist() == [1 + b for b in b"It is "]
    assert targets.tolist() == [0] * 25 + [1 + b for b in b"It is "] + [258]
    assert splits["test"].tokens[0].tolist()[26:] == [1 + b for b in b"Yes"] + [0] * 3

    questions = task.questions("test")  # type: ignore[attr-defined]
    assert [q.references for q in questions] == [("Yes", "It is so"), ("No",)]
    assert questions[0].prompt.tolist() == tokens[:26].tolist()
    assert task.answer_text(tokens[26:]) == "It is "  # type: ignore[attr-defined]


QUESTIONS = {
    "qasper": "What does {k} say?\n\n",
    "quality": "What does {k} say?\n\n (A) one{k}\n (B) two\n (C) {k}\n (D) four\n\n\n",
    "no question": "",
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_no_document_is_in_two_splits(tmp_path: Path, question: str, end: str) -> None:
    def lines(articles: range) -> str:
        made = []
        for a in articles:
            for k in range(4):
                text = (
                    f"{question.format(k=f'{a}-{k}')}Article {a}.\n\n" + f"Word{a} and more. " * 9
                )
                row = {
                    "id": f"{a}_{k}",
                    "input": text.replace("\n", end if k % 2 else "\n"),
                    "output": f"yes {k}",
                }
                made.append(json.dumps(row) + "\n")
        return "".join(made)

    (tmp_path / "train.jsonl").write_text(lines(range(12)))
    (tmp_path / "validation.jsonl").write_text(lines(range(10, 14)))  # two of train's
    task = load_task("scrolls", {"folder": str(tmp_path)})
    found = {
        name: {
            int(number)
            for r in rows.tokens
            for number in re.findall(
                rb"Article (\d+)", bytes(int(t) - 1 for t in r if 0 < t <= 256)
            )[:1]
        }
        for name, rows in ((name, task.split(name)) for name in ("train", "valid", "test"))
    }
    assert found["train"] | found["valid"] == set(range(10))
    assert not found["train"] & found["valid"]
    assert found["test"] == set(range(10, 14))


def test_an_archive_that_unpacks_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qasper.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train", "validation"):
            archive.writestr(f"qasper/{name}.jsonl", bytes(8 << 20))
    with pytest.raises(DataError, match="at most 100 times its size"):
        load_task("scrolls", {"folder": str(path)}).split("train")


def test_a_pipe_is_no_data_set(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "qasper.zip")
    os.mkfifo(tmp_path / "train.jsonl")
    for folder in (tmp_path / "qasper.zip", tmp_path):
        with pytest.raises(DataError, match="regular file, no pipe"):
            load_task("scrolls", {"folder": str(folder)}).split("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"train\.jsonl cannot be read .No such file"),
        ("[" * 100_000, "is a JSON object"),
        ("{", r"line 1 is none .*: a line of SCROLLS is a JSON object"),
        ("[]", "has id, input and output"),
        ('{"id": "a", "input": "b", "output": null}', "has id, input and output"),
        (b"\xff\n", "is UTF-8"),
    ],
)
def test_damaged_scrolls(tmp_path: Path, text: str | bytes | None, message: str) -> None:
    qasper(tmp_path)
    path = tmp_path / "train.jsonl"
    path.unlink() if text is None else path.write_bytes(
        text.encode() if isinstance(text, str) else text
    )
    with pytest.raises(DataError, match=message):
        load_task("scrolls", {"folder": str(tmp_path)}).split("train")


def test_damaged_archives(tmp_path: Path) -> None:
    path = tmp_path / "qasper.zip"
    with pytest.raises(DataError, match=r"the archive .* cannot be read .*No such file"):
        load_task("scrolls", {"folder": str(path)}).split("train")
    path.write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"cannot be read.*Download it again"):
        load_task("scrolls", {"folder": str(path)}).split("train")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("qasper/test.jsonl", "")
    with pytest.raises(DataError, match=r"holds 0: the archive holds one train\.jsonl"):
        load_task("scrolls", {"folder": str(path)}).split("train")
