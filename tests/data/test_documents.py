"""Documents cover their file exactly, and cuts fall at the coarsest boundary near."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clso.data.documents import (
    MIN_RUN_BYTES,
    Document,
    divide,
    split_file,
    split_into_pieces,
    unique,
)
from clso.data.sources import TextFile

_texts = st.lists(
    st.sampled_from(
        [" = Title = \n", " = = Part = = \n", "\n", " \n", "word é ", "line\n", "x" * 1200]
    )
).map("".join)


def docs(*texts: str) -> list[Document]:
    return [Document(memoryview(text.encode())) for text in texts]


def texts_of(documents: list[Document]) -> list[str]:
    return [document.text for document in documents]


def test_level_1_headings_start_documents() -> None:
    text = " \n = One = \n a = b \n = = Part = = \n x \n = Two ( film ) = \n y \n"
    assert texts_of(split_file(TextFile("f", text.encode()))) == [
        " \n = One = \n a = b \n = = Part = = \n x \n",
        " = Two ( film ) = \n y \n",
    ]


def test_paragraphs_are_gathered_into_runs() -> None:
    long = "y" * MIN_RUN_BYTES
    text = f"a\n\nb\n\n{long}\n \n\n{long}\n\n last\n"
    assert texts_of(split_file(TextFile("f", text.encode()))) == [
        f"a\n\nb\n\n{long}\n \n",
        f"\n{long}\n\n",
        " last\n",
    ]


@given(_texts)
def test_documents_concatenate_to_their_file(text: str) -> None:
    assert "".join(texts_of(split_file(TextFile("f", text.encode())))) == text


def test_unique_ignores_surrounding_space_and_drops_the_empty() -> None:
    seen: set[bytes] = set()
    assert texts_of(unique(docs("a\n", "\na", " \n", "b"), seen)) == ["a\n", "b"]
    assert unique(docs("b\n"), seen) == []


@pytest.mark.parametrize(
    ("texts", "position", "tolerance", "left"),
    [
        (["aaaa\n", "bbbb\n", "cc\n"], 9, 2, "aaaa\nbbbb\n"),  # between documents
        (["aaa\nbbb bb\nccc\n"], 9, 4, "aaa\nbbb bb\n"),  # at a line
        (["aa bb cc dd"], 6, 3, "aa bb"),  # between words
        (["ééééé"], 5, 2, "éé"),  # between characters
    ],
)
def test_divide_takes_the_coarsest_boundary(
    texts: list[str], position: int, tolerance: int, left: str
) -> None:
    first, second = divide(docs(*texts), position, tolerance)
    assert "".join(texts_of(first)) == left
    assert "".join(texts_of(first + second)) == "".join(texts)


@given(st.lists(_texts, max_size=5), st.floats(0, 1), st.floats(0, 0.5))
def test_divide_loses_nothing(texts: list[str], share: float, tolerance: float) -> None:
    documents = docs(*texts)
    n_bytes = sum(map(len, documents))
    first, second = divide(documents, share * n_bytes, tolerance * n_bytes)
    assert "".join(texts_of(first + second)) == "".join(texts)


@given(_texts, st.integers(0, 500))
def test_pieces_lose_nothing(text: str, piece_bytes: int) -> None:
    (document,) = docs(text)
    assert "".join(texts_of(split_into_pieces(document, piece_bytes))) == text
