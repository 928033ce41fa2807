"""What test holds is found in train whatever file, place, paragraph or end of line it stands in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import pytest

from clso.data.documents import MIN_RUN_BYTES
from clso.data.sources import Source, TextFile
from clso.data.splits import split_source

Text = Callable[[int, int], str]


def paragraphs(text: Text, n: int, seed: int) -> str:
    return "\n".join(text(60, seed * 1000 + i) for i in range(n))


def split(
    files: Mapping[str, str], layout: Literal["file", "folder", "splits"] = "splits"
) -> dict[str, str]:
    """The text of each split; a file's split is the first part of its name."""
    made = tuple(
        TextFile(name, data.encode(), name.partition("/")[0]) for name, data in files.items()
    )
    return {
        role: "".join(document.text for document in documents)
        for role, documents in split_source(Source(layout, made, "")).items()
    }


def shared(test: str, train: str) -> int:
    """Characters of test's lines that train has, too."""
    held = set(train.replace("\r", "\n").split("\n"))
    return sum(
        len(line)
        for line in test.replace("\r", "\n").split("\n")
        if len(line) > 20 and line in held
    )


ENDS = pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])


@ENDS
def test_a_file_of_train_that_is_tests_only_file_goes(text: Text, end: str) -> None:
    a, b, valid, test = (paragraphs(text, n, seed) for seed, n in enumerate((40, 40, 20, 20)))
    copy = test.replace("\n", end)
    found = split({"train/a": a, "train/t": copy, "train/b": b, "valid": valid, "test": test})
    assert found["test"] == test
    assert found["train"] == a + b


@ENDS
@pytest.mark.parametrize("blank_lines", [True, False])
def test_a_copy_in_the_middle_of_a_file_goes(text: Text, end: str, blank_lines: bool) -> None:
    before, after, valid, test = (
        paragraphs(text, n, seed) for seed, n in enumerate((40, 40, 20, 20))
    )
    if not blank_lines:
        before, after, valid, test = (
            part.replace("\n\n", "\n") for part in (before, after, valid, test)
        )
    train = before + "\nA line of its own.\n\n" + test.replace("\n", end) + "\n" + after
    found = split({"train": train, "valid": valid, "test": test})
    assert found["test"] == test
    # A document at either end of the copy may begin or end with less of it than counts.
    assert shared(test, found["train"]) < 2 * MIN_RUN_BYTES < len(test) / 2
    assert shared(before + after, found["train"]) == shared(before + after, before + after)


def test_a_text_that_repeats_itself_is_not_tested_on_its_copy(text: Text) -> None:
    once = paragraphs(text, 200, 1)
    found = split(
        {"file": once + "\nAnd again, from another place in its runs:\n\n" + once}, "file"
    )
    for role in ("valid", "test"):
        assert shared(found[role], found["train"]) < 2 * MIN_RUN_BYTES < len(found[role]) / 2
    assert shared(found["test"], found["valid"]) < 2 * MIN_RUN_BYTES


def test_a_quotation_takes_nothing_away(text: Text) -> None:
    licence = text(12, 9)
    train, valid, test = (licence + "\n" + paragraphs(text, 20, seed) for seed in range(3))
    found = split({"train": train, "valid": valid, "test": test})
    assert found["train"] == train


def test_copies_in_a_folder_differ_in_their_ends_of_lines(text: Text) -> None:
    files = {f"{i:03}": text(200, i) for i in range(60)}
    files |= {f"copy{i:03}": data.replace("\n", "\r\n") for i, data in enumerate([*files.values()])}
    found = split(files, "folder")
    for role in ("valid", "test"):
        assert found[role]
        assert shared(found[role], found["train"]) == 0


def test_what_is_taken_out_is_told(text: Text) -> None:
    train, valid, test = (paragraphs(text, n, seed) for seed, n in enumerate((40, 20, 20)))
    parts = {"train": train + "\n" + test, "valid": valid, "test": test}
    said: list[str] = []
    made = tuple(TextFile(role, data.encode(), role) for role, data in parts.items())
    split_source(Source("splits", made, ""), said.append)
    assert len(said) == 1
    assert said[0].startswith("train: ")
    said.clear()
    split_source(
        Source("splits", tuple(file for file in made if file.role != "test"), ""), said.append
    )
    assert not said
