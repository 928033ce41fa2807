"""Splits disjoint by document: train / valid / test, and the fitness text cut from train.

* Duplicates go first: of documents that are equal but for their ends of lines one stays, in test
  before valid before train. Then passages that test holds leave valid and train, and those of valid
  leave train (`clso.data.overlap`), whatever documents they are in.
* Given train/valid/test files keep their roles.
* A folder: documents in the order of their SHA-256 fill test, then valid (5 % of the bytes each);
  the rest is train.
* One file, or a folder with too few or too large documents for that: 90/5/5 contiguously, at
  document boundaries if one is near, else at line boundaries.
* Fitness: about 10 % of train's tokens, at most 500,000, as up to eight groups of neighbouring
  documents, one from the middle of each eighth of train. If train's documents are too large for
  that, they are first cut at line boundaries.

Every split keeps the order of the source.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from clso.data.documents import Document, divide, split_file, split_into_pieces, unique
from clso.data.overlap import passage_digests, without_shared_text
from clso.data.sources import Progress, Source

__all__ = ["SPLITTER_VERSION", "choose_fitness", "fitness_share", "split_source"]

SPLITTER_VERSION = 2  # raise it when any rule above changes: cached token files are keyed by it

HELD_OUT_SHARE = 0.05
FITNESS_SHARE = 0.10
MAX_FITNESS_TOKENS = 500_000
MAX_SLICES = 8
MIN_SLICE_TOKENS = 1_024  # a slice should span several blocks of 128

Splits = dict[str, list[Document]]


def split_source(source: Source, progress: Progress = lambda _: None) -> Splits:
    """Documents of "train", "valid" and "test". A split may be empty if there is too little text.

    `progress` receives a line if text that one split shares with another was taken out.
    """
    if source.layout == "splits":
        splits = {role: _documents_of_role(source, role) for role in ("train", "valid", "test")}
    elif source.layout == "file":
        splits = _contiguous(unique(split_file(source.files[0]), set()))
    else:
        documents = unique((Document(memoryview(file.data)) for file in source.files), set())
        splits = _by_hash(documents) or _contiguous(documents)
    splits = _without_duplicates(given := splits)
    if not source.whole_files:
        splits = _without_shared_text(splits)
    for role, others in (("train", "valid or test"), ("valid", "test")):
        if (n_bytes := _n_bytes(given[role]) - _n_bytes(splits[role])) > 0:
            progress(f"{role}: {n_bytes:,} bytes taken out that {others} holds, or that repeat")
    return _without_duplicates({**splits, "train": _fine_enough(splits["train"])})


def fitness_share(n_train_tokens: int) -> float:
    """The share of train's tokens that fitness aims at: 10 %, less if that is over 500,000
    tokens."""
    return min(FITNESS_SHARE, MAX_FITNESS_TOKENS / max(1, n_train_tokens))


def choose_fitness(sizes: Sequence[int], share: float) -> list[bool]:
    """Which of train's documents are fitness text.

    Args:
        sizes: tokens of each document, in order.
        share: largest share of their sum to take; met to within a document if documents are
        small.

    Returns:
        One flag a document. The flagged ones form up to `MAX_SLICES` groups of neighbours, spread
        evenly.
    """
    starts = [0, *accumulate(sizes)]
    total = starts[-1]
    n_slices = max(1, min(MAX_SLICES, int(share * total / MIN_SLICE_TOKENS)))
    chosen = [False] * len(sizes)
    taken = 0
    for k in range(n_slices):
        # What earlier slices left over, because the next document did not fit, is made up for here.
        quota = share * total * (k + 1) / n_slices - taken
        first = bisect_left(starts, total * (k + 0.5) / n_slices - quota / 2)
        in_slice = 0
        for i in range(first, min(len(sizes), bisect_left(starts, total * (k + 1) / n_slices))):
            if in_slice + sizes[i] <= quota:
                chosen[i] = True
                in_slice += sizes[i]
            elif in_slice:
                break
        taken += in_slice
    return chosen


def _documents_of_role(source: Source, role: str) -> list[Document]:
    files = [file for file in source.files if file.role == role]
    return (
        split_file(files[0])
        if len(files) == 1
        else [Document(memoryview(file.data)) for file in files]
    )


def _without_duplicates(splits: Splits) -> Splits:
    seen: set[bytes] = set()
    kept = {role: unique(splits[role], seen) for role in ("test", "valid", "train")}
    return {role: kept[role] for role in ("train", "valid", "test")}


def _n_bytes(documents: list[Document]) -> int:
    return sum(map(len, documents))


def _without_shared_text(splits: Splits) -> Splits:
    held: set[bytes] = set()
    kept: Splits = {}
    for role in ("test", "valid", "train"):
        kept[role] = without_shared_text(splits[role], held) if held else splits[role]
        if role != "train":
            held.update(digest for document in kept[role] for digest in passage_digests(document))
    return {role: kept[role] for role in ("train", "valid", "test")}


def _by_hash(documents: list[Document]) -> Splits | None:
    """Split by content hash, or None if a held-out split would get less than half its share."""
    target = HELD_OUT_SHARE * sum(map(len, documents))
    taken = {"test": 0, "valid": 0}
    role_of: dict[bytes, str] = {}
    for document in sorted(documents, key=lambda document: document.digest):
        for role, n_bytes in taken.items():
            if n_bytes < 0.9 * target and n_bytes + len(document) <= 1.1 * target:
                role_of[document.digest] = role
                taken[role] += len(document)
                break
    if min(taken.values()) < target / 2:
        return None
    splits: Splits = {"train": [], "valid": [], "test": []}
    for document in documents:
        splits[role_of.get(document.digest, "train")].append(document)
    return splits


def _contiguous(documents: list[Document]) -> Splits:
    n_bytes = sum(map(len, documents))
    tolerance = 0.4 * HELD_OUT_SHARE * n_bytes
    train, held_out = divide(documents, (1 - 2 * HELD_OUT_SHARE) * n_bytes, tolerance)
    valid, test = divide(held_out, sum(map(len, held_out)) / 2, tolerance)
    return {"train": train, "valid": valid, "test": test}


def _fine_enough(train: list[Document]) -> list[Document]:
    """Train with documents small enough to cut fitness from; unchanged if they are so already.

    Bytes stand in for tokens here: the documents must not depend on the tokenizer that is trained
    on them."""
    sizes = [len(document) for document in train]
    target = fitness_share(sum(sizes)) * sum(sizes)
    got = sum(
        size
        for size, chosen in zip(
            sizes, choose_fitness(sizes, fitness_share(sum(sizes))), strict=True
        )
        if chosen
    )
    if 0.5 * target <= got <= 1.5 * target:
        return train
    piece_bytes = int(target / (4 * max(1, min(MAX_SLICES, target / MIN_SLICE_TOKENS))))
    return [
        piece
        for document in train
        for piece in (
            split_into_pieces(document, piece_bytes) if len(document) > piece_bytes else [document]
        )
    ]
