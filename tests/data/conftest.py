from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

_WORDS = [
    "the",
    "a",
    "crystal",
    "grows",
    "in",
    "slot",
    "and",
    "no",
    "gradient",
    "moves",
    "it",
    "énergie",
]


def make_text(n_words: int, seed: int) -> str:
    """Lines of ten words; equal seeds give equal text."""
    rng = random.Random(seed)
    words = [
        rng.choice(_WORDS) + (str(rng.randrange(1000)) if rng.random() < 0.3 else "")
        for _ in range(n_words)
    ]
    return "".join(" ".join(words[i : i + 10]) + "\n" for i in range(0, n_words, 10))


@pytest.fixture
def text() -> Callable[[int, int], str]:
    return make_text


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty token cache that no other test sees."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CLSO_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 40 documents, some nested, one twice."""
    root = tmp_path / "texts"
    (root / "nested").mkdir(parents=True)
    for i in range(40):
        name = f"nested/{i:02}.txt" if i % 3 == 0 else f"{i:02}.txt"
        (root / name).write_text(make_text(400, i), encoding="utf-8")
    (root / "again.txt").write_text(make_text(400, 7), encoding="utf-8")
    (root / "picture.png").write_bytes(b"\x89PNG\0\0")
    return root


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(make_text(300, i) for i in range(40)), encoding="utf-8")
    return path
