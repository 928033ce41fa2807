"""Names under which published splits are found, and names that only look like them."""

from __future__ import annotations

import pytest

from clso.data.roles import role_of


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train.txt", "train"),
        ("Training.TXT", "train"),
        ("train_1.txt", "train"),
        ("train-00000-of-00001.txt", "train"),
        ("train.part2.txt.gz", "train"),
        ("corpus-train.txt", "train"),
        ("europarl.train.en", "train"),
        ("train-clean-100.csv", "train"),
        ("wiki.valid.raw", "valid"),
        ("dev", "valid"),
        ("eval.jsonl", "valid"),
        ("validation_matched.tsv", "valid"),
        ("sub/deep/test.txt", "test"),
        ("testing.txt", "test"),
        ("valid/train_of_thought.txt", "valid"),  # a folder that is called so decides
        ("train/a.py", "train"),
        ("corpus-test/valid.txt", "valid"),  # before a folder that only sounds so
        ("corpus-test/a.txt", "test"),
        ("latest.txt", None),
        ("retrain.txt", None),
        ("how-to-train-your-dragon.txt", None),
        ("train.py", None),
        ("test_model.py", None),
        ("tests/data.txt", None),
        ("README.md", None),
    ],
)
def test_roles(name: str, role: str | None) -> None:
    assert role_of(name) == role
