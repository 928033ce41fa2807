"""Texts as packed token files: sources, documents, splits disjoint by document, tokenizers,
cache."""

from __future__ import annotations

from clso.data.corpus import SPLITS, Corpus, load_corpus, load_text_tokens

__all__ = ["SPLITS", "Corpus", "load_corpus", "load_text_tokens"]
