"""A corpus for other processes: its tokens lie in shared memory, not in files, and it has no test
text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clso.data.corpus import SPLITS, Corpus, Tokens, fixed_tokenizer
from clso.data.tokenizers import BpeTokenizer, parse_tokenizer
from clso.errors import DataError

__all__ = ["CorpusParts", "SharedCorpus", "in_memory", "share"]


@dataclass(frozen=True)
class CorpusParts:
    """What a corpus is made of: `splits` maps each name to a handle of its tokens."""

    splits: dict[str, Any]
    vocab_size: int
    n_documents: dict[str, int]
    content_hash: str
    spec: dict[str, Any]
    tokenizer_json: str | None

    def corpus(self, get: Callable[[Any], Tokens]) -> SharedCorpus:
        """The corpus; `get` turns a handle into tokens (n,) when a split is first asked for."""
        if self.tokenizer_json is None:
            tokenizer: Any = fixed_tokenizer(parse_tokenizer(self.spec["tokenizer"]))
        else:
            tokenizer = BpeTokenizer(self.tokenizer_json)
        return SharedCorpus(
            self.vocab_size,
            self.n_documents,
            self.content_hash,
            self.spec,
            None,
            Path(),
            tokenizer,
            self.splits,
            get,
        )


@dataclass(frozen=True)
class SharedCorpus(Corpus):
    """A corpus whose tokens come through `get`."""

    handles: dict[str, Any]
    get: Callable[[Any], Tokens]

    def tokens(self, split: str) -> Tokens:
        """As `Corpus.tokens`. Raises `DataError` for "test", too: nothing that a worker does may
        depend on it."""
        if split == "test":
            raise DataError("a search reads no test text", got=split)
        if split not in self.handles:
            return super().tokens(split)  # which says what is wrong
        return self.get(self.handles[split])


def share(corpus: Corpus, put: Callable[[Tokens], Any]) -> CorpusParts:
    """Put every split but "test" once; `put` gives a handle."""
    return CorpusParts(
        {split: put(corpus.tokens(split)) for split in SPLITS if split != "test"},
        corpus.vocab_size,
        corpus.n_documents,
        corpus.content_hash,
        corpus.spec,
        None
        if corpus.tokenizer_path is None
        else corpus.tokenizer_path.read_text(encoding="utf-8"),
    )


def in_memory(corpus: Corpus) -> SharedCorpus:
    """The corpus with its tokens in host memory, but for "test"."""
    return share(corpus, np.array).corpus(lambda tokens: tokens)
