"""Documents: the pieces of text that splits never divide between them.

Each file of a folder is a document. Inside one file, WikiText's level-1 headings (` = Title = `)
start documents if there are any; otherwise documents are runs of paragraphs of at least
`MIN_RUN_BYTES`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from clso.data.sources import TextFile

__all__ = [
    "MIN_RUN_BYTES",
    "Document",
    "divide",
    "split_file",
    "split_into_pieces",
    "unique",
]

MIN_RUN_BYTES = 1_000

_CHUNK = 1 << 20
_SPACE = b" \t\n\r\f\v"
_HEADING = re.compile(rb"^ = [^=\s](?:[^\n]*[^=\s])? = *\r?$", re.MULTILINE)
_BLANK_LINES = re.compile(rb"\n(?:[ \t\r]*\n)+")


@dataclass(frozen=True)
class Document:
    """A span of valid UTF-8.

    `digest` is the SHA-256 of its text without surrounding white space, whatever its ends of lines.
    """

    data: memoryview
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        # The stripped text is found and hashed without a copy, for documents may be large.
        start = 0
        end = len(self.data)
        while start < end and self.data[start] in _SPACE:
            start += 1
        while start < end and self.data[end - 1] in _SPACE:
            end -= 1
        object.__setattr__(self, "digest", _digest(self.data[start:end]))

    def __len__(self) -> int:
        return len(self.data)

    @property
    def text(self) -> str:
        return str(self.data, "utf-8")


def _digest(text: memoryview) -> bytes:
    digest = hashlib.sha256()
    held_back = b""  # a carriage return at a chunk's end may be half of an end of line
    for start in range(0, len(text), _CHUNK):
        chunk = held_back + bytes(text[start : start + _CHUNK])
        held_back = b"\r" if chunk.endswith(b"\r") else b""
        digest.update(_with_line_feeds(chunk.removesuffix(b"\r")))
    return digest.digest()


def _with_line_feeds(data: bytes) -> bytes:
    """The text with "\\n" for every end of a line."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def split_file(file: TextFile) -> list[Document]:
    """The documents inside one file; their concatenation is the file, byte for byte."""
    data = file.data
    starts = [match.start() for match in _HEADING.finditer(data)]
    if starts:
        # White space before the first heading belongs to it; anything else there is a document of
        # its own.
        if not data[: starts[0]].strip():
            starts[0] = 0
    else:
        # GPT-2's pre-tokenizer, which byte-level BPE shares, divides "\n\nFoo" before the last line
        # end and "\n\n Foo" before the space: cut there, the tokens are those of the text encoded
        # whole. Only lines of spaces may make a difference, for a document should end with its
        # line.
        ends = [match.end() for match in _BLANK_LINES.finditer(data)]
        before = [data[end - 2 : end] == b"\n\n" and data[end : end + 1] != b" " for end in ends]
        starts = _run_starts(
            [end - is_before for end, is_before in zip(ends, before, strict=True)], len(data)
        )
    if not starts or starts[0] != 0:
        starts.insert(0, 0)
    view = memoryview(data)
    ends = [*starts[1:], len(data)]
    return [Document(view[start:end]) for start, end in zip(starts, ends, strict=True)]


def _run_starts(paragraphs: Iterable[int], n_bytes: int) -> list[int]:
    starts = [0]
    for start in paragraphs:
        if start - starts[-1] >= MIN_RUN_BYTES and n_bytes - start > 1:
            starts.append(start)
    return starts


def unique(documents: Iterable[Document], seen: set[bytes]) -> list[Document]:
    """The documents that hold text and whose digest is not in `seen`, which grows by theirs."""
    kept = []
    empty = hashlib.sha256(b"").digest()
    for document in documents:
        if document.digest != empty and document.digest not in seen:
            seen.add(document.digest)
            kept.append(document)
    return kept


def divide(
    documents: list[Document], position: float, tolerance: float
) -> tuple[list[Document], list[Document]]:
    """Cut a sequence of documents in two near byte `position`.

    The cut falls between documents if such a place lies within `tolerance` bytes, else inside
    the document
    there: at a line's start, else between words, else between characters.
    """
    boundaries = [0]
    for document in documents:
        boundaries.append(boundaries[-1] + len(document))
    nearest = min(range(len(boundaries)), key=lambda i: abs(boundaries[i] - position))
    inside = 0 < nearest < len(documents)
    if len(documents) == 0 or (inside and abs(boundaries[nearest] - position) <= tolerance):
        return documents[:nearest], documents[nearest:]
    index = max(i for i in range(len(documents)) if boundaries[i] <= position)
    offset = int(position - boundaries[index])
    data = documents[index].data
    cut = _snap(data, offset, int(tolerance))
    halves = [Document(part) for part in (data[:cut], data[cut:])]
    return [*documents[:index], halves[0]], [halves[1], *documents[index + 1 :]]


def split_into_pieces(document: Document, piece_bytes: int) -> list[Document]:
    """Contiguous pieces of about `piece_bytes`, cut as `divide` cuts."""
    n_pieces = max(1, -(-len(document) // max(1, piece_bytes)))
    cuts = [
        _snap(document.data, len(document) * i // n_pieces, piece_bytes // 2)
        for i in range(1, n_pieces)
    ]
    edges = [0, *cuts, len(document)]
    return [Document(document.data[a:b]) for a, b in pairwise(edges) if b > a]


def _snap(data: memoryview, offset: int, tolerance: int) -> int:
    """The line start nearest to `offset` within `tolerance` bytes, else a word's end, else a
    character's."""
    low = max(0, offset - tolerance)
    window = bytes(data[low : offset + tolerance])
    for pattern in (rb"\n(?=[^\n])", rb"[^\s](?=\s)"):
        ends = [low + match.end() for match in re.finditer(pattern, window)]
        if ends:
            return min(ends, key=lambda end: abs(end - offset))
    while 0 < offset < len(data) and data[offset] & 0xC0 == 0x80:
        offset -= 1
    return offset
