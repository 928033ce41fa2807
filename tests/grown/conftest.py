"""The example's counts and tables, and blocks of another text."""

from __future__ import annotations

import pytest
from torch import Tensor

from clso.grown.counted_memory import CountedMemory, as_text
from clso.grown.ngrams import NGramCounts, count_ngrams

from .example import CLASSES, CONTEXTS, VOCAB, some_text


@pytest.fixture(scope="session")
def text() -> Tensor:
    return some_text(3000, 0)


@pytest.fixture(scope="session")
def counts(text: Tensor) -> NGramCounts:
    return count_ngrams(text, VOCAB, 5)


@pytest.fixture(scope="session")
def memory(text: Tensor) -> CountedMemory:
    return CountedMemory(as_text(text, VOCAB), VOCAB, 5, contexts=CONTEXTS, classes=CLASSES)


@pytest.fixture(scope="session")
def blocks() -> Tensor:
    return some_text(6 * 25, 1).view(6, 25)
