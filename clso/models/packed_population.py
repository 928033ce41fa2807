"""A population over documents: `clso.models.population` with each candidate's own attention patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from clso.models.attention import attend_heads
from clso.models.attention_adaptive import Evidence
from clso.models.attention_patterns import Pattern
from clso.models.documents import Documents
from clso.models.head_loss import population_head_loss
from clso.models.packed_text import PackedText
from clso.models.population import PopulationGPT2

__all__ = ["PackedPopulation"]


@dataclass(frozen=True)
class PackedPopulation:
    """P candidates: `weights`, and for each of them its patterns by layer and head.

    `unigram_log_p` (V,) in nats is what the perplexity of a segment is read from.
    """

    weights: PopulationGPT2
    patterns: Sequence[Sequence[Sequence[Pattern]]]
    unigram_log_p: Tensor | None = None

    @torch.no_grad()
    def losses(self, text: PackedText) -> Tensor:
        """Mean loss of each candidate in nats per token: (P,) float64."""
        total = torch.zeros(len(self.weights), dtype=torch.float64, device=text.device)
        for part in text.batches():
            documents = Documents(
                part.offsets, part.n_targets, text.device, self.weights.config.n_positions
            )
            hidden = self._hidden(documents, documents.arrange(part.tokens))
            total += population_head_loss(
                hidden, self.weights.heads, documents.arrange(part.targets)
            )
        return total / text.n_targets

    def _hidden(self, documents: Documents, tokens: Tensor) -> Tensor:
        """Final hidden states (P, N, d_model) of tokens in the documents' order."""
        p, heads = len(self.weights), self.weights.config.n_heads
        evidence = Evidence(tokens, self.unigram_log_p)
        x = self.weights.wte.rows(tokens)
        if (wpe := self.weights.params.get("wpe.weight")) is not None:
            x = x + wpe[:, documents.positions]

        def attend(layer: int, qkv: Tensor) -> Tensor:
            # Every head of every candidate is a head of one wide attention: (N, P * heads, d_head).
            q, k, v = qkv.view(p, len(tokens), 3, heads, -1).permute(2, 1, 0, 3, 4).flatten(2, 3)
            patterns = list(chain.from_iterable(candidate[layer] for candidate in self.patterns))
            out = attend_heads(patterns, q, k, v, documents, evidence)
            return out.unflatten(1, (p, heads)).transpose(0, 1).flatten(2)  # type: ignore[no-untyped-call, no-any-return]

        return self.weights.layers(x, attend)
