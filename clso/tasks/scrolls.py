"""SCROLLS (Shaham et al. 2022, arXiv:2201.03533): an answer or a summary after a long input.

One data set is `NAME.zip`, or its folder, with `train.jsonl`, `validation.jsonl` and `test.jsonl`;
a line is an object with the strings id, pid, input and output. The published test has no outputs,
so test here is `validation.jsonl`, and valid is a share of train, cut by document. Bytes are
tokens."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clso.data.reading import open_regular
from clso.errors import DataError
from clso.tasks import files
from clso.tasks.base import Examples, Task, Tokens

__all__ = ["Question", "Scrolls"]

_FILES = {"train": "train.jsonl", "test": "validation.jsonl"}
_FIELDS = ("id", "input", "output")
_MAX_RATIO = 100  # prose packs to a third or a quarter
_SMALL = 1 << 20


@dataclass(frozen=True)
class _ScrollsOptions(files.FileOptions):
    max_input: int = 4096
    """Bytes of an input that are read; the rest is cut off."""
    max_output: int = 512
    """Bytes of an output; the rest is cut off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("max_input")
        self.positive("max_output")


@dataclass(frozen=True)
class Question:
    """What a model is prompted with (T,), and every answer that counts."""

    prompt: Tokens
    references: tuple[str, ...]


class Scrolls(Task):
    """The output's bytes after the input's first `max_input`, a separator between them and an end
    mark after them."""

    name = "scrolls"
    Options: ClassVar[type] = _ScrollsOptions
    metrics = ("perplexity", "f1", "rouge", "exact_match")
    SEPARATOR: ClassVar[int] = len(files.BYTES)
    END: ClassVar[int] = len(files.BYTES) + 1
    options: _ScrollsOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return (*files.BYTES, "<sep>", "<end>")

    @property
    def n_positions(self) -> int:
        return self.options.max_input + 1 + self.options.max_output

    @property
    def n_answer_tokens(self) -> int:
        return self.options.max_output

    def questions(self, split: str) -> list[Question]:
        """The distinct questions of "train" (valid included) or "test", with all their answers."""
        found: dict[str, tuple[Tokens, list[str]]] = {}
        for row in self._rows(_FILES[split]):
            found.setdefault(row["id"], (self._prompt(row), []))[1].append(row["output"])
        return [Question(prompt, tuple(answers)) for prompt, answers in found.values()]

    def answer_text(self, tokens: Tokens) -> str:
        """Generated tokens, up to the end mark, as text."""
        return bytes(int(t) - 1 for t in tokens if 0 < t <= 256).decode("utf-8", "replace")

    def _load(self) -> dict[str, Examples]:
        parts, groups = {}, {}
        for split, name in _FILES.items():
            rows = list(self._rows(name))
            pairs = [self._pair(row) for row in rows]
            tokens, targets = (files.pad_arrays(part) for part in zip(*pairs, strict=True))
            parts[split] = Examples(tokens, targets)
            groups[split] = [_document(row["input"]) for row in rows]
        seen = set(groups["test"])
        fresh = np.array([i for i, key in enumerate(groups["train"]) if key not in seen], np.int64)
        train = parts["train"][fresh]
        splits = files.carve(
            train, self.options.valid_share, self.seed, [groups["train"][i] for i in fresh]
        )
        return files.without_duplicates({**splits, "test": parts["test"]})

    def _prompt(self, row: dict[str, Any]) -> Tokens:
        question = files.byte_tokens(row["input"].encode()[: self.options.max_input])
        return np.append(question, np.uint16(self.SEPARATOR))

    def _pair(self, row: dict[str, Any]) -> tuple[Tokens, Tokens]:
        prompt, answer = (
            self._prompt(row),
            files.byte_tokens(row["output"].encode()[: self.options.max_output]),
        )
        whole = np.concatenate([prompt, answer, np.array([self.END], np.uint16)])
        targets = whole[1:].copy()
        targets[: len(prompt) - 1] = 0
        return whole[:-1], targets

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        where, text = self._file(name)
        # strings may hold other ends of lines
        for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # too deeply nested
                raise DataError(
                    "a line of SCROLLS is a JSON object",
                    problem=f"{where}, line {number} is none ({error})",
                ) from error
            if not isinstance(row, dict) or any(
                not isinstance(row.get(f), str) or not row[f] for f in _FIELDS
            ):
                raise DataError(
                    "a line of SCROLLS has id, input and output",
                    problem=f"{where}, line {number} lacks one of them",
                )
            yield row

    def _file(self, name: str) -> tuple[str, str]:
        """Where a file of the data set is, and its text; out of a zip nothing is unpacked to
        disk."""
        path = Path(self.options.folder)
        if path.suffix != ".zip":
            folder = files.the_folder(
                self.options, "a data set of SCROLLS: its folder, or its .zip"
            )
            return str(folder / name), files.read_text(folder / name)
        try:
            with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
                inside = [
                    info
                    for info in archive.infolist()
                    if info.filename.rsplit("/", 1)[-1] == name and "__MACOSX" not in info.filename
                ]
                if len(inside) != 1:
                    raise DataError(
                        f"the archive holds one {name}", problem=f"{path} holds {len(inside)}"
                    )
                where = f"{path}/{inside[0].filename}"
                # No more than the stated size is ever unpacked.
                if inside[0].file_size > _MAX_RATIO * inside[0].compress_size + _SMALL:
                    rule = f"text in an archive unpacks to at most {_MAX_RATIO} times its size"
                    raise DataError(rule, problem=f"{where} has {inside[0].file_size:,} bytes")
                return where, files.text_of(archive.read(inside[0]), where)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"the archive {path} cannot be read ({error})", remedy="Download it again."
            ) from error


# QuALITY's question has four options, after a blank line of its own: " (A) ...".
_OPTIONS = re.compile(r"(?:[ \t]*\([A-Z]\)[^\n]*\n)+[ \t]*\n")


def _document(text: str) -> bytes:
    """What tells documents apart: the input without the question, and whatever its ends of lines
    and white space.

    A question ends at the first blank line; options of answers after it are part of it.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    question, blank, document = text.partition("\n\n")
    document = document.lstrip("\n")
    if options := _OPTIONS.match(document):
        document = document[options.end() :]
    return hashlib.sha256(" ".join((document if blank else question).split()).encode()).digest()
