"""Splits are disjoint by document, complete, near their shares, and independent of names and
order."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clso.data.sources import Source, TextFile
from clso.data.splits import (
    MAX_SLICES,
    MIN_SLICE_TOKENS,
    choose_fitness,
    fitness_share,
    split_source,
)

ROLES = ("train", "valid", "test")


def folder_of(*texts: str) -> Source:
    files = tuple(TextFile(f"{i:03}", text.encode()) for i, text in enumerate(texts))
    return Source("folder", files, "")


def digests(source: Source) -> dict[str, list[bytes]]:
    return {
        role: [document.digest for document in docs] for role, docs in split_source(source).items()
    }


def assert_disjoint(source: Source) -> None:
    found = [digest for role in ROLES for digest in digests(source)[role]]
    assert len(found) == len(set(found))


_lines = st.lists(st.text(alphabet="ab \n", max_size=30), min_size=1, max_size=60)


@given(_lines, st.sampled_from(["file", "folder", "splits"]))
def test_splits_are_disjoint_by_document(texts: list[str], layout: str) -> None:
    if layout == "folder":
        assert_disjoint(folder_of(*texts))
    elif layout == "file":
        assert_disjoint(Source("file", (TextFile("f", "\n\n".join(texts).encode()),), ""))
    else:
        files = [TextFile(str(i), text.encode(), ROLES[i % 3]) for i, text in enumerate(texts)]
        assert_disjoint(Source("splits", tuple(files), ""))


@given(st.lists(st.integers(50, 150), min_size=60, max_size=200))
def test_folder_shares_are_near_and_complete(sizes: list[int]) -> None:
    texts = [f"{i} " + "x" * size for i, size in enumerate(sizes)]
    splits = split_source(folder_of(*texts))
    n_bytes = {role: sum(map(len, splits[role])) for role in ROLES}
    total = sum(map(len, texts))
    assert sum(n_bytes.values()) == total
    for role in ("valid", "test"):
        assert 0.025 * total <= n_bytes[role] <= 0.056 * total
    for role in ROLES:  # the order of the source is kept
        places = [texts.index(document.text) for document in splits[role]]
        assert places == sorted(places)


def test_folder_split_depends_on_content_only(text: Callable[[int, int], str]) -> None:
    texts = [text(50, i) for i in range(80)]
    forward, backward = digests(folder_of(*texts)), digests(folder_of(*reversed(texts)))
    assert {r: set(d) for r, d in forward.items()} == {r: set(d) for r, d in backward.items()}


@pytest.mark.parametrize("n_documents", [1, 2, 5])
def test_few_documents_are_cut_contiguously(
    text: Callable[[int, int], str], n_documents: int
) -> None:
    texts = [text(5000, i) for i in range(n_documents)]
    splits = split_source(folder_of(*texts))
    pieces = [document.text for role in ROLES for document in splits[role]]
    assert "".join(pieces) == "".join(texts)
    assert all(piece.endswith("\n") for piece in pieces)  # at line boundaries
    total = sum(len(piece) for piece in pieces)
    for role in ("valid", "test"):
        assert 0.03 * total < sum(len(document.text) for document in splits[role]) < 0.07 * total


def test_given_splits_keep_their_roles_and_held_out_text_leaves_train() -> None:
    blocks = [f"{i} " + "x" * 1000 + "\n\n" for i in range(30)]
    parts = {
        "train": blocks[:25],
        "valid": [*blocks[24:27], blocks[3]],
        "test": [*blocks[27:], blocks[3]],
    }
    files = tuple(TextFile(role, "".join(parts[role]).encode(), role) for role in ROLES)
    splits = split_source(Source("splits", files, ""))
    names = {role: [int(document.text.split()[0]) for document in splits[role]] for role in ROLES}
    assert names["test"] == [27, 28, 29, 3]
    assert names["valid"] == [24, 25, 26]
    assert names["train"] == [i for i in range(24) if i != 3]


@given(st.integers(0, 2**32), st.integers(100, 600), st.integers(1, 400))
def test_fitness_is_near_its_share_in_few_groups_spread_over_train(
    seed: int, n: int, largest: int
) -> None:
    rng = random.Random(seed)
    sizes = [rng.randint(1, largest) for _ in range(n)]
    chosen = choose_fitness(sizes, 0.1)
    total, middle, got, early = sum(sizes), 0, 0, 0
    for size, flag in zip(sizes, chosen, strict=True):
        middle += size
        got += size * flag
        early += size * flag * (middle <= total / 2)
    assert abs(got - 0.1 * total) <= largest
    n_groups = sum(
        flag and not before for flag, before in zip(chosen, [False, *chosen], strict=False)
    )
    assert 1 <= n_groups <= MAX_SLICES
    if got >= MAX_SLICES * 1.5 * MIN_SLICE_TOKENS:
        assert n_groups == MAX_SLICES
        assert abs(early - got / 2) <= 2 * largest


@given(st.lists(st.integers(0, 10_000), max_size=50), st.floats(0, 0.1))
def test_fitness_never_takes_more_than_asked(sizes: list[int], share: float) -> None:
    chosen = choose_fitness(sizes, share)
    assert len(chosen) == len(sizes)
    assert (
        sum(size for size, flag in zip(sizes, chosen, strict=True) if flag)
        <= share * sum(sizes) + 1e-6
    )


def test_fitness_of_a_large_text_is_capped() -> None:
    sizes = [4_000] * 25_000
    chosen = choose_fitness(sizes, fitness_share(sum(sizes)))
    assert 496_000 <= sum(chosen) * 4_000 <= 500_000


@pytest.mark.parametrize("n_words", [2_000, 40_000])
def test_one_long_document_still_yields_fitness_text(
    text: Callable[[int, int], str], n_words: int
) -> None:
    source = Source("file", (TextFile("f", text(n_words, 1).encode()),), "")
    train = split_source(source)["train"]
    sizes = [len(document) for document in train]
    got = sum(s for s, flag in zip(sizes, choose_fitness(sizes, 0.1), strict=True) if flag)
    assert 0.05 * sum(sizes) <= got <= 0.15 * sum(sizes)
    assert all(document.text.endswith("\n") for document in train)
