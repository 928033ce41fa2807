"""Text that one split shares with another, found whatever the documents and files that it is cut into.

Equal documents are not enough: a file that is a document of its own here is cut into runs of paragraphs there, a copy
inside a longer file begins elsewhere in its runs, and another system's ends of lines make other bytes. So passages are
compared: paragraphs with their white space evened out, or the lines of a text without blank lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from clso.data.documents import BLANK_LINES, MIN_RUN_BYTES, Document, split_into_pieces, split_text, with_line_feeds

__all__ = ["passages", "without_shared_text"]

MIN_PASSAGE_BYTES = 40  # shorter ones ("    return None") tell nothing
MAX_PARAGRAPH_BYTES = 2_000  # what is longer is compared by its lines
MAX_SHARED = 0.5  # of a piece's passages, by their bytes

_Passage = tuple[bytes, int]  # digest, bytes


def passages(document: Document) -> Iterator[_Passage]:
    """The passages of a document that are long enough to tell: a digest and the number of bytes of each."""
    for paragraph in BLANK_LINES.split(with_line_feeds(bytes(document.data))):
        whole = len(paragraph) <= MAX_PARAGRAPH_BYTES
        for passage in (paragraph,) if whole else paragraph.split(b"\n"):
            words = b" ".join(passage.split())
            if len(words) >= MIN_PASSAGE_BYTES:
                yield hashlib.blake2b(words, digest_size=16).digest(), len(words)


def without_shared_text(documents: Iterable[Document], held: set[bytes]) -> list[Document]:
    """The documents without what other splits hold.

    A document that shares nothing stays whole. From any other the pieces (runs of paragraphs) go of which at least half
    is in `held`, the digests of the other splits' passages; a quotation or a licence alone takes nothing away.
    """
    kept: list[Document] = []
    for document in documents:
        if not _shared(document, held):
            kept.append(document)
            continue
        pieces = [piece for run in split_text(bytes(document.data)) for piece in _fine(run)]
        fresh = [piece for piece in pieces if _shared(piece, held) < MAX_SHARED]
        kept += [document] if len(fresh) == len(pieces) else fresh
    return kept


def _shared(document: Document, held: set[bytes]) -> float:
    """The share of a document's passages that is in `held`, by bytes."""
    n_shared = n_bytes = 0
    for digest, size in passages(document):
        n_bytes += size
        n_shared += size if digest in held else 0
    return n_shared / n_bytes if n_bytes else 0.0


def _fine(run: Document) -> list[Document]:
    """A run of paragraphs, cut at lines if it is a long one."""
    return split_into_pieces(run, MIN_RUN_BYTES) if len(run) > 4 * MIN_RUN_BYTES else [run]
