"""What a grown model has to offer to be mixed with counted memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from clso.grown.codes import CodeFamily, Codes
from clso.models.gpt2 import LanguageModel
from clso.search_spaces.gpt2.sourced import Source
from clso.space import Genome

__all__ = ["GrownPart"]


class GrownPart(Source, Protocol):
    """Turns genomes into models, grown from one split of a corpus. Its genes come first in a mixture's
    genome; its costs have `n_bytes`, too."""

    def codes(self, family: CodeFamily) -> Codes:
        """Bigram codes of the split."""

    def token_vectors(self) -> Tensor:
        """Vectors (V, k) of tokens, by which they are sorted into classes."""

    def target_probabilities(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        """What each genome's model gives the targets of blocks (N, T + 1): (P, N T) float64."""

    def model(self, genome: Genome) -> LanguageModel:
        """One genome as a float32 module."""

    def final_model(self, genome: Genome) -> LanguageModel:
        """The same, grown on statistics and fitness text together."""
