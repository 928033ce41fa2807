"""PG-19 (Rae et al. 2019, arXiv:1911.05507): books before 1919, as a byte-level language model's
text.

The folder holds `train/`, `validation/` and `test/` with one `ID.txt` a book, and `metadata.csv`
without a header: id, short title, year, and a link. The published figure is a word-level
perplexity; ours is per byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from clso.errors import ConfigError, DataError
from clso.tasks import files
from clso.tasks.base import Examples, Task

__all__ = ["PG19"]

_FOLDERS = {"train": "train", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class _BookOptions(files.FileOptions):
    block: int = 1024
    """Bytes of a block, the length of a sequence."""
    max_books: int = 0
    """Books of each split, in the order of their names; 0: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("block")
        if self.max_books < 0:
            raise ConfigError("max_books is at least 0", got=self.max_books)


class PG19(Task):
    """Every byte from the one before it; books are cut into blocks of `block` bytes."""

    name = "pg19"
    Options: ClassVar[type] = _BookOptions
    lengths = ("block",)
    metrics = ("perplexity", "accuracy")
    options: _BookOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return files.BYTES

    @property
    def n_positions(self) -> int:
        return self.options.block

    def _load(self) -> dict[str, Examples]:
        folder = files.the_folder(
            self.options, "PG-19's folder, with train, validation, test and metadata.csv"
        )
        known = _ids(folder / "metadata.csv")
        seen: set[bytes] = set()
        parts = {
            name: self._books(folder / _FOLDERS[name], known, seen)
            for name in ("test", "valid", "train")
        }
        return files.without_duplicates(parts)

    def _books(self, folder: Path, known: set[str], seen: set[bytes]) -> Examples:
        """The blocks of a split's books that are not in `seen`, which grows by theirs: a book is in
        one split only."""
        paths = sorted(folder.glob("*.txt"))[: self.options.max_books or None]
        if not paths:
            raise DataError("a split of PG-19 holds books as ID.txt", got=str(folder))
        tokens, targets = [], []
        for path in paths:
            if path.stem not in known:
                raise DataError("a book of PG-19 is listed in metadata.csv", got=str(path))
            data = files.read_bytes(path)
            digest = hashlib.sha256(b" ".join(data.split())).digest()
            if digest in seen:
                continue
            seen.add(digest)
            book = files.byte_tokens(data)
            for start in range(0, len(book) - 1, self.options.block):
                block = book[start : start + self.options.block + 1]
                tokens.append(block[:-1])
                targets.append(block[1:])
        return Examples(files.pad_arrays(tokens), files.pad_arrays(targets).astype(np.uint16))


def _ids(path: Path) -> set[str]:
    rows = [row for _, row in files.csv_rows(files.read_text(path), str(path))]
    if any(len(row) < 3 for row in rows):
        raise DataError("a row of metadata.csv is an id, a title, a year and a link", got=str(path))
    return {row[0] for row in rows}
