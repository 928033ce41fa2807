"""Text that one split shares with another, found whatever the documents and files that it is cut
into.

Equal documents are not enough: a file that is a document of its own here is cut into runs of
paragraphs there, a copy inside a longer file begins elsewhere in its runs, and another system's
ends of lines make other bytes. So passages are compared: paragraphs with their white space evened
out, or the lines of long ones (of a text without blank lines, say)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clso.data.documents import MIN_RUN_BYTES, Document

__all__ = ["passage_digests", "without_shared_text"]

MIN_PASSAGE_BYTES = 40  # shorter ones ("    return None") tell nothing
MAX_PARAGRAPH_BYTES = 2_000  # what is longer is compared by its lines

_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_LINE = re.compile(_LINE_END)
_BLANK_LINES = re.compile(_LINE_END + rb"(?:[ \t]*" + _LINE_END + rb")+")


@dataclass(frozen=True)
class _Passage:
    """A document's bytes from `start` to `end`; the digest is None if they are too few to tell
    anything."""

    start: int
    end: int
    digest: bytes | None


def passage_digests(document: Document) -> Iterator[bytes]:
    """The digests of a document's passages that are long enough to tell."""
    return (passage.digest for passage in _passages(document) if passage.digest is not None)


def without_shared_text(documents: Iterable[Document], held: set[bytes]) -> list[Document]:
    """The documents without what other splits hold, whose passages' digests are in `held`.

    A stretch of such passages goes if it is as long as a document is at least (`MIN_RUN_BYTES`), or
    all of its document; a quotation stays. A document that loses a stretch becomes those around it.
    """
    kept: list[Document] = []
    for document in documents:
        edges = [0]
        for start, end in _stretches(document, held):
            edges += [start, end]
        edges.append(len(document))
        if len(edges) == 2:
            kept.append(document)
        else:
            pairs = zip(edges[::2], edges[1::2], strict=True)
            kept += [Document(document.data[start:end]) for start, end in pairs if end > start]
    return kept


def _stretches(document: Document, held: set[bytes]) -> list[tuple[int, int]]:
    """Where a document repeats other splits, from byte to byte."""
    found: list[tuple[int, int]] = []
    start = end = (
        0  # of the stretch so far; passages too short to tell belong to it if more of it follows
    )
    others = 0  # passages that are the document's own
    for passage in _passages(document):
        if passage.digest in held:
            start = start if end > start else passage.start
            end = passage.end
        elif passage.digest is not None:
            others += 1
            found.append((start, end))
            start = end = passage.end
    found.append((start, end))
    if not others and end > start:
        return [(0, len(document))]
    return [(start, end) for start, end in found if end - start >= MIN_RUN_BYTES]


def _passages(document: Document) -> Iterator[_Passage]:
    """All of a document, passage by passage."""
    data = bytes(document.data)
    for start, end in _spans(_BLANK_LINES, data, 0, len(data)):
        if end - start <= MAX_PARAGRAPH_BYTES:
            yield _passage(data, start, end)
        else:
            for line_start, line_end in _spans(_LINE, data, start, end):
                yield _passage(data, line_start, line_end)


def _spans(
    separator: re.Pattern[bytes], data: bytes, start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Parts that cover data[start:end], each with the separator after it."""
    for match in separator.finditer(data, start, end):
        yield start, match.end()
        start = match.end()
    if start < end:
        yield start, end


def _passage(data: bytes, start: int, end: int) -> _Passage:
    words = b" ".join(data[start:end].split())
    told = len(words) >= MIN_PASSAGE_BYTES
    return _Passage(start, end, hashlib.blake2b(words, digest_size=16).digest() if told else None)
