"""Memory in a grown GPT-2's MLPs: hidden units that fire on one pair of tokens and add a correction to the code.

A unit reads the current token's name and the previous token's, which layer 0's first head has brought, so it may stand in any
layer before the copy head's: with many units, that head moves to a later layer. Of all units one at most fires at a token,
and what it gets there is known but for LayerNorm's division. So a population looks its pairs up, adds what the unit
would, and pays the same for any number of units; `single` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.grown.names import AT_PAIR, PairDetectors
from clso.grown.ngrams import find_keys
from clso.grown.trigrams import PairTargets
from clso.models.gpt2 import GPT2
from clso.search_spaces.gpt2.grown_costs import free_units
from clso.search_spaces.gpt2.mlp import PopulationWithUnits
from clso.search_spaces.gpt2.template import Template

__all__ = ["Chosen", "Neurons", "PopulationWithNeurons"]

_SINK = 2  # units of a layer's MLP that clear position 0; the others are free
_FIRST, _COPY = "h.0", "h.1"  # layers by their names in a population


class Neurons:
    """Units of N pairs, those with the largest expected gain first, for every code family.

    `names` (V, D) are the tokens' names, `corrections` (E, N, K) what a unit adds to its pair's code."""

    def __init__(
        self,
        targets: PairTargets,
        units: PairDetectors,
        names: Tensor,
        corrections: Tensor,
        template: Template,
    ) -> None:
        self.detectors, self.corrections, self.template = units, corrections, template
        self._targets, self._names = targets, names
        self._vocab_size = len(names)
        # Sorted keys (N,) and their pairs, to look up.
        self._keys, self._order = torch.sort(self._key(targets.previous, targets.current))

    def __len__(self) -> int:
        return len(self._keys)

    def _key(self, previous: Tensor, current: Tensor) -> Tensor:
        return previous * self._vocab_size + current

    def find(self, tokens: Tensor) -> Tensor:
        """Which pair each of the tokens (B, T) ends: (B * T,), -1 for none, as at position 0."""
        place = find_keys(self._keys, self._key(tokens[:, :-1], tokens[:, 1:]))
        pair = torch.where(place >= 0, self._order[place.clamp(min=0)], -1)
        return F.pad(pair, (1, 0), value=-1).flatten()

    def rows(self, pairs: slice) -> tuple[Tensor, Tensor]:
        """Input weights (n, d) and biases (n,) of units."""
        units, targets = self.detectors, self._targets
        of_current = units.of_current[pairs, None]
        return self.template.pair_units(
            (units.slope[pairs, None] * of_current) * self._names[targets.current[pairs]],
            (units.slope[pairs, None] * (1 - of_current)) * self._names[targets.previous[pairs]],
        ), AT_PAIR - units.slope[pairs]


@dataclass(frozen=True)
class Chosen:
    """What P candidates have of the `units`: the first `used` (P,), as they are for the code `family` (P,), on a stream that
    holds codes times `temperature` (P,)."""

    units: Neurons
    used: Tensor
    family: Tensor
    temperature: Tensor

    def correction(self, x: Tensor, fired: Tensor) -> Tensor:
        """What the units add to the stream x (P, N, d), which layer 0's MLP reads, if each token ends the pair `fired`
        (N,), -1 for none."""
        units, pair = self.units, fired.clamp(min=0)[None]  # (1, N)
        fires = (fired >= 0) & (fired < self.used[:, None])  # (P, N)
        # LayerNorm leaves a name at more than its size in a vector that has become smaller (P, N).
        score = units.template.norm / x.norm(dim=2)
        at_unit = AT_PAIR + units.detectors.slope[pair] * (score - 1)
        strength = F.gelu(at_unit, approximate="tanh") / AT_PAIR * self.temperature[:, None]
        added = units.corrections[self.family[:, None], pair]  # (P, N, K)
        return units.template.in_code(added * (strength * fires)[:, :, None])


@dataclass(frozen=True)
class PopulationWithNeurons(PopulationWithUnits):
    """A population whose candidates have `neurons`."""

    neurons: Chosen | None = None
    fired: Tensor | None = None
    """While a text is read: which pair each token ends (N,), -1 for none."""

    def hidden(self, tokens: Tensor) -> Tensor:
        if self.neurons is None or self.fired is not None:
            return super().hidden(tokens)
        return replace(self, fired=self.neurons.units.find(tokens)).hidden(tokens)

    def _mlp(self, x: Tensor, layer: str) -> Tensor:
        out = super()._mlp(x, layer)
        if layer == _FIRST and self.neurons is not None and self.fired is not None:
            out = out + self.neurons.correction(x, self.fired)
        return out

    def single(self, candidate: int) -> GPT2:
        model, chosen = super().single(candidate), self.neurons
        if chosen is None or not (n := int(chosen.used[candidate])):
            return model
        state = model.state_dict()  # which shares the model's memory
        free = free_units(self.config)
        last = -(-n // free)  # the copy head's layer
        if last > 1:
            _swap_layers(state, _COPY, f"h.{last}")
            _swap_units(state, _FIRST, f"h.{last - 1}")
        corrections = chosen.units.corrections[chosen.family[candidate], :n]
        added = corrections * (chosen.temperature[candidate] / AT_PAIR)
        out = chosen.units.template.in_code(added[None])[0]  # (n, d)
        norm = state[f"{_FIRST}.ln_2.weight"]
        for i in range(last):
            pairs = slice(i * free, min(n, (i + 1) * free))
            units = slice(_SINK, _SINK + pairs.stop - pairs.start)
            weight, bias = chosen.units.rows(pairs)
            # Turned where they come from: the module keeps them so, and a GPU turns faster.
            state[f"h.{i}.mlp.fc.weight"].T[:, units] = weight.T.contiguous().cpu()
            state[f"h.{i}.mlp.fc.bias"][units] = bias.cpu()
            state[f"h.{i}.mlp.proj.weight"][:, units] = out[pairs].T.cpu()
            state[f"h.{i}.ln_2.weight"].copy_(norm)
        return model


def _swap_layers(state: dict[str, Tensor], one: str, other: str) -> None:
    for name in [name for name in state if name.startswith(f"{one}.")]:
        _swap(state[name], state[other + name.removeprefix(one)])


def _swap_units(state: dict[str, Tensor], one: str, other: str) -> None:
    """The units of position 0."""
    for name, at in (
        ("fc.weight", (slice(_SINK),)),
        ("fc.bias", (slice(_SINK),)),
        ("proj.weight", (slice(None), slice(_SINK))),
    ):
        _swap(state[f"{one}.mlp.{name}"][at], state[f"{other}.mlp.{name}"][at])


def _swap(one: Tensor, other: Tensor) -> None:
    kept = one.clone()
    one.copy_(other)
    other.copy_(kept)
