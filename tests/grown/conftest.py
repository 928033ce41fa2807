"""The example's counts and tables, and blocks of another text."""

from __future__ import annotations

import pytest
from torch import Tensor

from clso.grown.counted_memory import CountedMemory
from clso.grown.ngrams import NGramCounts, count_ngrams
from clso.grown.skips import count_skip

from .example import CLASSES, CONTEXTS, VOCAB, some_text


@pytest.fixture(scope="session")
def text() -> Tensor:
    return some_text(3000, 0)


@pytest.fixture(scope="session")
def counts(text: Tensor) -> NGramCounts:
    return count_ngrams(text, VOCAB, 5)


@pytest.fixture(scope="session")
def memory(text: Tensor, counts: NGramCounts) -> CountedMemory:
    skips = tuple(count_skip(text, VOCAB, context, classes=CLASSES) for context in CONTEXTS)
    return CountedMemory.of(counts, order=counts.order, skips=skips, classes=CLASSES)


@pytest.fixture(scope="session")
def blocks() -> Tensor:
    return some_text(6 * 25, 1).view(6, 25)
