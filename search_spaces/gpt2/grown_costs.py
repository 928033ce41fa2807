"""What a grown GPT-2 costs: its non-zero weights, in the coordinates of its `Layout`, without parts
that nobody reads.

Gains of 0 switch the context head or the copy head off. Without the copy head nobody reads previous
tokens' names (the previous-token head), unless neurons do, or rarity, which it reads if it has a salience. Without it and an
MLP nobody reads position 0's swelling. A token's own name stays: the head reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch

from clso.crystals import make_crystal
from clso.grown.features import FEATURE_FAMILIES
from clso.grown.layout import Layout
from clso.grown.patterns import N_POSITION_DIMS, PositionPattern
from clso.models.gpt2 import GPT2Config
from clso.search_spaces.gpt2.costs import FLOAT_BYTES
from clso.search_spaces.gpt2.genes import GAIN_VALUES, MLPS, NEURON_SHARES, alleles_of
from clso.search_spaces.gpt2.heads import previous_token
from clso.space import Genome

__all__ = ["HEAD_GAINS", "GrownCosts", "free_units", "n_neurons"]


HEAD_GAINS = {(0, 0): "copy.gain", (0, 1): "context.gain", (1, 0): "copy.gain"}
"""Layer and place of the heads that add anything -> the gain that switches the head off, but for neurons."""
_LEAK = 1e-6  # share of a head's attention without which a loss is the same to six digits
KeysSeen = Callable[[int, int], float]
"""A layer and the place of a head in it -> keys that a query meets on average."""


class GrownCosts:
    """Costs of grown genomes by name, in the sense of `clso.search_spaces.gpt2.costs`."""

    def __init__(
        self,
        config: GPT2Config,
        layout: Layout,
        patterns: Sequence[PositionPattern],
        n_found: Callable[[], int] = lambda: 0,
    ) -> None:
        """`n_found` says how many pairs there are for neurons."""
        self._n_found = n_found
        self.config, self.layout = config, layout
        # For each pattern: the weights of its query, and the dimensions of position codes that it
        # looks at.
        self._queries = [
            (_n_weights(q), int(q.any(dim=1).sum()))
            for q in (pattern.query() for pattern in patterns)
        ]
        previous = previous_token(config.n_positions)
        self._previous = _n_weights(previous.query())
        context = [pattern.reach(_LEAK) for pattern in patterns]
        self.reaches = {(0, 0): [previous.reach(_LEAK)] * len(context), (0, 1): context}
        """Layer and place of the heads that look at places, whatever stands there -> how many of the
        latest tokens hold all but `_LEAK` of their attention, by the allele of `context`."""

    def live_heads(self, genome: Genome) -> set[tuple[int, int]]:
        """Layer and place of the heads that add anything."""
        alleles = alleles_of(genome)
        live = {head for head, gain in HEAD_GAINS.items() if _is_on(gain, alleles)}
        if self._n_neurons_of(alleles):
            live |= {(0, 0)}
        return live

    def _n_neurons_of(self, alleles: Mapping[str, int]) -> int:
        wanted = n_neurons(NEURON_SHARES[alleles["neurons"]], self.config)
        return min(wanted, self._n_found()) if wanted else 0

    def __call__(self, genome: Genome, keys: KeysSeen | None = None) -> dict[str, float]:
        """`keys` says how many keys a query of a layer's head meets on average; by default every
        position is one."""
        layout, v, d = self.layout, self.config.vocab_size, self.config.d_model
        code, names, match, position = layout.code, layout.identity, layout.match, N_POSITION_DIMS
        alleles = alleles_of(genome)
        context = _is_on("context.gain", alleles)
        copy = _is_on("copy.gain", alleles)
        neurons = self._n_neurons_of(alleles)
        rarity = copy and _is_on("copy.salience", alleles)
        family, n_units = MLPS[alleles["mlp"]]
        swelling = copy or n_units > 0
        projection = min(names, match)
        carried = min(code, d // self.config.n_heads)
        seen = keys or (lambda layer, head: self.config.n_positions)
        # Weights that multiply a token's vector; products of scores and averages with the keys
        # seen; biases.
        weights = biases = 0
        products = 0.0
        if context:
            query, width = self._queries[alleles["context"]]
            reads = code if carried == code else code * carried
            weights += query + width + reads + carried * code
            products += seen(0, 1) * (width + carried)
        if copy or neurons:
            # layer 0 fetches the previous token's name,
            weights += self._previous + position + projection + match
            products += seen(0, 0) * (position + match)
        if copy:
            # a later layer looks for it and brings the name found there
            weights += projection + match + 1 + rarity + 2 * names
            products += seen(1, 0) * (match + 1 + names)
            biases += 1
        if swelling:
            weights += 2 * (2 + 2) + (
                _unit_weights(family, n_units, code) + code * n_units if n_units else 0
            )
            biases += 2 * 2 + n_units
        # A neuron reads two names and position 0's mark, and writes to the code.
        weights += neurons * (names + match + 1 + code)
        biases += neurons
        layers = -(-neurons // free_units(self.config))  # that have neurons
        head = v * (code + names + 1)
        wte, wpe = (
            v * (code + names + 1 + rarity),
            position * self.config.n_positions + 2 * (swelling or neurons > 0),
        )
        mlps = max(layers, 1) + 1 if swelling else layers
        norms = d * ((context or copy or neurons > 0) + copy + mlps + 2)
        n_params = weights + biases + norms + wte + wpe + head
        flops = 2 * (weights + head + products)
        return {
            "flops": float(flops),
            "n_bytes": float(FLOAT_BYTES * n_params),
            "n_params": float(n_params),
        }


def free_units(config: GPT2Config) -> int:
    """Units of a layer's MLP beside the two that clear position 0."""
    return config.d_mlp - 2


def n_neurons(share: float, config: GPT2Config) -> int:
    """Neurons of a genome with this share of those that a model has room for, in all layers but the copy head's last."""
    return round(share * (config.n_layers - 1) * free_units(config))


def _is_on(gain: str, alleles: Mapping[str, int]) -> bool:
    return GAIN_VALUES[gain][alleles[gain]] != 0


@cache
def _unit_weights(family: str, n_units: int, code: int) -> int:
    """Weights of hidden units that read `code` dimensions."""
    crystal, params = FEATURE_FAMILIES[family]
    return _n_weights(make_crystal(crystal, (n_units, code), 0, params).to_dense())


def _n_weights(matrix: torch.Tensor) -> int:
    return int(torch.count_nonzero(matrix))
