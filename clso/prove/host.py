"""A text in host memory, without its `test`: what measured runs read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from clso.data import SPLITS, Corpus
from clso.data.corpus import Tokens
from clso.errors import DataError

__all__ = ["HostCorpus"]


@dataclass(frozen=True)
class HostCorpus(Corpus):
    """A corpus whose tokens lie in host memory. It has no `test`: no run inside a window can read
    it."""

    arrays: dict[str, Tokens] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, corpus: Corpus) -> HostCorpus:
        arrays = {split: np.array(corpus.tokens(split)) for split in SPLITS if split != "test"}
        return cls(**{f.name: getattr(corpus, f.name) for f in fields(corpus)}, arrays=arrays)

    def tokens(self, split: str) -> Tokens:
        if split not in self.arrays:
            raise DataError(f"a measured run reads {', '.join(self.arrays)}", got=split)
        return self.arrays[split]
