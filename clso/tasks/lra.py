"""The Long Range Arena's tasks over files (Tay et al. 2020, arXiv:2011.04006), in the formats in
which they are published.

Text: byte-level sentiment of IMDb reviews. Retrieval: whether one paper of the ACL Anthology
Network cites another. ListOps:
the Arena's own sequences. Image, the fourth, is in `clso.tasks.cifar`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from clso.errors import DataError
from clso.tasks import files, listops
from clso.tasks.base import Examples, Task, pad

__all__ = ["LRAListOps", "LRARetrieval", "LRAText"]

_LRA_SUFFIXES = {"train": "train", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class _TextOptions(files.FileOptions):
    max_length: int = 4096
    """Bytes of a text that are read; the rest is cut off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("max_length")


class LRAText(Task):
    """IMDb as unpacked (`train/pos/*.txt`, ...), or `*_train.tsv`, `*_val.tsv`, `*_test.tsv` with
    columns Source and Target.

    Reviews are cut after `max_length` bytes. The Arena validates on IMDb's test; here valid is a
    share of train, and test is read once."""

    name = "lra-text"
    Options: ClassVar[type] = _TextOptions
    n_classes = 2
    options: _TextOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return files.BYTES

    @property
    def n_positions(self) -> int:
        return self.options.max_length

    def _load(self) -> dict[str, Examples]:
        folder = files.the_folder(
            self.options, "aclImdb, with train/pos, train/neg, test/pos and test/neg"
        )
        if any(folder.glob("*_train.tsv")):
            parts = {name: self._examples(_source_target(folder, name)) for name in _LRA_SUFFIXES}
            return files.without_duplicates(parts, files.text_keys)
        train, test = (self._examples(_reviews(folder / name)) for name in ("train", "test"))
        parts = {**files.carve(train, self.options.valid_share, self.seed), "test": test}
        return files.without_duplicates(parts, files.text_keys)

    def _examples(self, rows: Iterator[tuple[str, bytes, str]]) -> Examples:
        tokens, labels = [], []
        for where, text, label in rows:
            if label not in ("0", "1") or not text:
                raise DataError(
                    "a review has a text and the label 0 or 1",
                    problem=f"{where} has the label {label!r}",
                )
            tokens.append(files.byte_tokens(text[: self.options.max_length]))
            labels.append(int(label))
        return Examples(files.pad_arrays(tokens), np.array(labels, np.int64))


def _reviews(folder: Path) -> Iterator[tuple[str, bytes, str]]:
    for label, name in (("0", "neg"), ("1", "pos")):
        paths = sorted((folder / name).glob("*.txt"))
        if not paths:
            raise DataError(
                "IMDb's folders hold reviews as .txt",
                got=str(folder / name),
                remedy="Unpack aclImdb again.",
            )
        for path in paths:
            yield str(path), files.read_bytes(path), label


def _source_target(folder: Path, split: str) -> Iterator[tuple[str, bytes, str]]:
    """Rows of the Arena's `*_SPLIT.tsv`: columns Source and Target with a header, by tabs or (for
    its text) by commas."""
    path = _only(folder, f"*_{_LRA_SUFFIXES[split]}.tsv")
    text = files.read_text(path)
    rows = files.csv_rows(text, str(path), "\t" if "\t" in text.partition("\n")[0] else ",")
    if (header := rows[0][1] if rows else []) != ["Source", "Target"]:
        raise DataError(
            "the Arena's files begin with the columns Source and Target",
            problem=f"{path} begins with {header}",
        )
    for line, row in rows[1:]:
        where = f"{path}, line {line}"
        if len(row) != 2:
            raise DataError(
                "a row has a source and a target", problem=f"{where} has {len(row)} columns"
            )
        yield where, row[0].encode(), row[1]


def _only(folder: Path, pattern: str) -> Path:
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        raise DataError(
            f"the folder holds one file {pattern}", problem=f"{folder} holds {len(paths)}"
        )
    return paths[0]


@dataclass(frozen=True)
class _RetrievalOptions(files.FileOptions):
    max_length: int = 4000
    """Bytes of each of the two texts that are read; the rest is cut off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("max_length")


class LRARetrieval(Task):
    """`*.train.tsv`, `*.eval.tsv`, `*.test.tsv`: label, two ids and two texts by tabs, no header,
    no quoting.

    One sequence holds both papers, `max_length` bytes of each, with a separator between them; the
    Arena encodes them apart."""

    name = "lra-retrieval"
    Options: ClassVar[type] = _RetrievalOptions
    n_classes = 2
    options: _RetrievalOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return (*files.BYTES, "<sep>")

    @property
    def n_positions(self) -> int:
        return 2 * self.options.max_length + 1

    def _load(self) -> dict[str, Examples]:
        folder = files.the_folder(
            self.options, "the folder with new_aan_pairs.train.tsv, .eval.tsv and .test.tsv"
        )
        suffixes = {"train": "train", "valid": "eval", "test": "test"}
        parts = {k: self._pairs(_only(folder, f"*.{v}.tsv")) for k, v in suffixes.items()}
        return files.without_duplicates(parts, files.text_keys)

    def _pairs(self, path: Path) -> Examples:
        separator = np.array([len(files.BYTES)], np.uint16)
        tokens, labels = [], []
        for number, line in enumerate(files.read_bytes(path).rstrip(b"\n").split(b"\n"), 1):
            columns = line.rstrip(b"\r").split(b"\t")
            if len(columns) != 5 or columns[0] not in (b"0", b"1", b"0.0", b"1.0"):
                raise DataError(
                    "a pair is a label (0 or 1), two ids and two texts, by tabs",
                    problem=f"{path}, line {number} has {len(columns)} columns, first {columns[0][:20]!r}",
                )
            labels.append(int(float(columns[0])))
            one, two = (files.byte_tokens(text[: self.options.max_length]) for text in columns[3:])
            tokens.append(np.concatenate([one, separator, two]))
        return Examples(files.pad_arrays(tokens), np.array(labels, np.int64))


class LRAListOps(Task):
    """`basic_train.tsv`, `basic_val.tsv`, `basic_test.tsv` of the Arena: the published sequences of
    ListOps.

    Every value is checked by our own evaluator.
    """

    name = "lra-listops"
    Options: ClassVar[type] = files.FileOptions
    n_classes = 10

    @property
    def vocab(self) -> tuple[str, ...]:
        return listops.TOKENS

    @property
    def n_positions(self) -> int:
        return 1999

    def _load(self) -> dict[str, Examples]:
        folder = files.the_folder(self.options, "the Arena's listops-1000, with basic_train.tsv")
        return files.without_duplicates(
            {name: self._examples(folder, name) for name in _LRA_SUFFIXES}
        )

    def _examples(self, folder: Path, split: str) -> Examples:
        ids = {token: i for i, token in enumerate(listops.TOKENS)}
        rows, labels = [], []
        for where, source, target in _source_target(folder, split):
            tokens = [t for t in source.decode().split() if t not in "()"]
            try:
                value = listops.evaluate(tokens)
            except DataError as error:
                raise DataError(
                    "a row is a ListOps expression and its value",
                    problem=f"{where} is damaged ({error})",
                ) from error
            if target.strip() != str(value):
                raise DataError(
                    f"the value of the expression is {value}", problem=f"{where} says {target[:20]}"
                )
            rows.append([ids[t] for t in tokens])
            labels.append(value)
        return Examples(pad(rows), np.array(labels, np.int64))
