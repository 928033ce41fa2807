"""Which split a file's name says that it is: the spellings under which data sets are published."""

from __future__ import annotations

import re

__all__ = ["role_of"]

_WORDS = {
    "train": ("train", "training", "trn"),
    "valid": ("valid", "validation", "val", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words}
_COUNTERS = frozenset({"of", "part", "shard"})  # train-00000-of-00001, train.part1
_MAX_SUFFIX = 7  # letters of a file's type or language: "parquet", "en"

# In a program's folder train.py and test_model.py are no splits of a text.
_PROGRAM_SUFFIXES = """
    bat c cc cfg cpp cs cu cuh go h hpp html ini ipynb java js kt lua m php pl ps1 pxd py pyi pyx
    r rb rs scala sh swift toml ts yaml yml
"""
_PROGRAMS = frozenset(_PROGRAM_SUFFIXES.split())


def role_of(name: str) -> str | None:
    """The split that a relative POSIX path names: "train", "valid" or "test", else None.

    A folder that is called exactly so decides (`train/a.txt`), then the file's own name, in which
    the role is the first or the last word (`train-00000-of-00001.txt`, `wiki.train.tokens`,
    `corpus-train.txt`), then a folder's words.

    >>> role_of("Train/a.txt"), role_of("sub/dev_1.csv"), role_of("test_model.py"), role_of("retrain.txt")
    ('train', 'valid', None, None)
    """
    *folders, file = name.lower().split("/")
    exact = (_ROLES.get(folder) for folder in folders)
    own = None if file.rpartition(".")[2] in _PROGRAMS else _by_words(_stem(file))
    return next((role for role in (*exact, own, *map(_by_words, folders)) if role), None)


def _stem(file: str) -> str:
    """The name without what tells a type or a language: `wiki.train.raw` -> `wiki.train`."""
    parts = file.split(".")
    while (
        len(parts) > 1
        and parts[-1].isalnum()
        and len(parts[-1]) <= _MAX_SUFFIX
        and parts[-1] not in _ROLES
    ):
        parts.pop()
    return ".".join(parts)


def _by_words(stem: str) -> str | None:
    words = [word for word in re.findall(r"[^\W\d_]+", stem) if word not in _COUNTERS]
    return next((_ROLES[word] for word in (*words[:1], *words[-1:]) if word in _ROLES), None)
