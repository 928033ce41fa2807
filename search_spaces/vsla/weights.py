"""Weights of `gpt2`'s libraries with a pattern for every head, and what that costs.

`flops`, `n_bytes` and `n_params` are `gpt2`'s (`clso.search_spaces.gpt2.costs`), with each head's scores and averages as its
pattern executes them on a full document; unigrams that a perplexity is read from are stored, too. `kv_bytes`: keys and
values of one document that must be kept to predict its next token, at its fullest, of the heads that add
anything. Contexts that follow the text count as large as they can get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.grown.counted import bigram_counts
from clso.models.attention_contexts import token_signals
from clso.models.attention_patterns import Adaptive, Full, Pattern
from clso.models.packed_population import PackedPopulation
from clso.models.packed_text import PackedText, packed_text
from clso.models.vsla import VSLA, VSLAConfig
from clso.search_spaces.gpt2.costs import FLOAT_BYTES
from clso.search_spaces.gpt2.genes import GAIN_VALUES, alleles_of
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.grown_costs import HEAD_GAINS
from clso.search_spaces.gpt2.random import RandomWeights
from clso.search_spaces.vsla.genes import (
    POLICIES,
    Head,
    Label,
    pattern_genes,
    pattern_of,
    sizes_of,
)
from clso.space import Gene, Genome
from clso.space.language import LanguageModelSpace

__all__ = ["COST_NAMES", "PatternedWeights"]

COST_NAMES = ("flops", "n_bytes", "n_params", "kv_bytes")
_NEVER = 1e9  # above every signal: documents of one segment have none
_SIGNAL_TOKENS = 1 << 16  # of the statistics text, for thresholds


class PatternedWeights:
    """A library's genes and weights, then pattern genes for every head that can add something.

    A head that adds nothing is full: it is nowhere counted, and what is full but for it exports as GPT-2.
    """

    def __init__(
        self, space: LanguageModelSpace, inner: GrownWeights | RandomWeights, kinds: Sequence[str]
    ) -> None:
        self.space, self.config, self.kinds = space, space.config, kinds
        self._inner = inner
        self._n_heads = self.config.n_heads
        self.n_own = len(self._inner.genes)
        self._switches = self._switches_of(inner)
        self._reaches: Mapping[Head, Sequence[int]] = (
            inner.costs.reaches if isinstance(inner, GrownWeights) else {}
        )
        most = {head: max(reaches) for head, reaches in self._reaches.items()}
        n = self.config.n_positions
        self._pattern_genes = pattern_genes(self._switches, kinds, most, n)
        # the numbers that a gain picks from lie on a scale
        own = (replace(g, ordered=g.ordered or g.name in GAIN_VALUES) for g in inner.genes)
        self.genes: tuple[Gene, ...] = (*own, *self._pattern_genes)

    def prepare(self) -> None:
        self._inner.prepare()
        if "adaptive" in self.kinds:
            _ = self._thresholds

    def seeds(self) -> list[Genome]:
        """The library's, with all that every head needs."""
        needed = (0,) * len(self._pattern_genes)
        return [(*seed, *needed) for seed in self._inner.seeds()]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """The library's, and how much a pattern sees."""
        n = self.config.n_positions
        return [*self._inner.descriptors(), *(sizes_of(gene, n) for gene in self._pattern_genes)]

    def patterns(self, genome: Genome) -> list[list[Pattern]]:
        """By layer and head."""
        own, picked = genome[: self.n_own], genome[self.n_own :]
        labels = [g.choices[a] for g, a in zip(self._pattern_genes, picked, strict=True)]
        thresholds = self._thresholds if POLICIES.keys() & set(labels) else {}
        n, live = self.config.n_positions, self._live_heads(own)
        reaches = self._reaches_of(own)
        found = {
            head: pattern_of(label, reaches.get(head, n), n, thresholds)
            for head, label in zip(self._switches, labels, strict=True)
            if head in live
        }
        return [
            [found.get((layer, place), Full()) for place in range(self._n_heads)]
            for layer in range(self.config.n_layers)
        ]

    def losses(self, genomes: Sequence[Genome], text: PackedText) -> Tensor:
        """Mean loss of each genome: (P,) float64."""
        weights = self._inner.population([g[: self.n_own] for g in genomes])
        return PackedPopulation(
            weights, [self.patterns(g) for g in genomes], self._unigrams
        ).losses(text)

    @torch.no_grad()
    def model(self, genome: Genome, inner: Any = None) -> VSLA:
        """One genome as a float32 module on the CPU, with weights of `inner` or this library."""
        gpt2 = (inner or self._inner).population([genome[: self.n_own]]).single(0)
        heads = self.patterns(genome)
        patterns = tuple("+".join(p.label for p in layer) for layer in heads)
        sizes = {name: getattr(self.config, name) for name in self.config.__dataclass_fields__}
        with torch.device("meta"):
            model = VSLA(VSLAConfig(**sizes, patterns=patterns))
        state = gpt2.state_dict()
        if "unigram_log_p" in model.state_dict():
            state["unigram_log_p"] = self._unigrams.cpu()
        model.load_state_dict(state, assign=True)
        return model.eval()

    def final_model(self, genome: Genome) -> VSLA:
        """`model`, with weights from the whole training text."""
        return self.model(genome, self._inner.on_all_text(genome[: self.n_own]))

    def costs(self, genome: Genome) -> dict[str, float]:
        own, n, d_head = (
            genome[: self.n_own],
            self.config.n_positions,
            self.config.d_model // self._n_heads,
        )
        heads = self.patterns(genome)
        if isinstance(self._inner, GrownWeights):
            found = self._inner.costs(
                own, lambda layer, head: heads[layer][head].flops(n, 1) / (4 * n)
            )
        else:
            found = self._inner.costs(
                own, [sum(p.flops(n, d_head) for p in layer) / n for layer in heads]
            )
        kept = sum(heads[layer][head].kept(n) for layer, head in self._live_heads(own))
        reads_unigrams = any(
            isinstance(p, Adaptive) and p.policy.signal == "perplexity" for p in chain(*heads)
        )
        unigrams = self.config.vocab_size if reads_unigrams else 0
        return {
            **found,
            "n_bytes": found["n_bytes"] + FLOAT_BYTES * unigrams,
            "n_params": found["n_params"] + unigrams,
            "kv_bytes": float(2 * FLOAT_BYTES * d_head * kept),
        }

    def _live_heads(self, own: Genome) -> set[Head]:
        """Layer and place of the heads that add anything."""
        if isinstance(self._inner, GrownWeights):
            return self._inner.costs.live_heads(own)
        return set(product(self._inner.live_layers(own), range(self._n_heads)))

    def _switches_of(self, inner: GrownWeights | RandomWeights) -> Mapping[Head, tuple[Label, ...]]:
        """The heads that can add something, with what switches each of them off."""
        if isinstance(inner, GrownWeights):
            return {head: ((gain, "0"),) for head, gain in sorted(HEAD_GAINS.items())}
        places = product(range(self.config.n_layers), range(self._n_heads))
        return dict.fromkeys(places, ())

    def _reaches_of(self, own: Genome) -> Mapping[Head, int]:
        """How many tokens the heads that look at places need."""
        if not self._reaches:
            return {}
        context = alleles_of(own)["context"]
        return {head: by_context[context] for head, by_context in self._reaches.items()}

    @cached_property
    def _unigrams(self) -> Tensor:
        """Log p (V,) in nats over the statistics text, one count added to each token."""
        device = torch.device(self.space.context.device)
        counts = bigram_counts(self.space.corpus, "statistics", device).row_sums().double() + 1
        return (counts / counts.sum()).log().float()

    @cached_property
    def _thresholds(self) -> dict[tuple[str, float], float]:
        """Of each policy, in its signal's unit."""
        corpus = self.space.corpus
        lengths = corpus.document_lengths("statistics")
        text = packed_text(
            corpus.tokens("statistics"), lengths, self.config.n_positions, _SIGNAL_TOKENS
        )
        documents = torch.tensor_split(text.tokens, text.offsets[1:-1])
        signals = {
            signal: [v for d in documents for v in token_signals(signal, d, self._unigrams.cpu())]
            for signal in ("entropy", "perplexity")
        }
        found = {
            (signal, at): at
            if signal == "diversity"
            else float(np.quantile(signals[signal] or [_NEVER], at))
            for signal, at in POLICIES.values()
        }
        return {
            policy: float(f"{threshold:g}") for policy, threshold in found.items()
        }  # as a pattern's name states it
