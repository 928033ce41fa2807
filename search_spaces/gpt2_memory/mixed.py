"""Search spaces of grown models that are mixed in probability space with counted n-grams and with the block's own past.

Genes are those of the grown part (`part.py`), then the memory's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.device import sent
from clso.grown.classes import token_classes
from clso.grown.codes import CodeFamily
from clso.grown.counted_memory import CountedMemory, as_text
from clso.grown.counted_text import CountedText
from clso.grown.experts import Observed
from clso.grown.log_bilinear import LogBilinear, fit_maps, log_bilinear
from clso.grown.mixture import START_WEIGHT, fit_weights
from clso.grown.recipes import Recipe
from clso.grown.usual import skip_contexts
from clso.models.gpt2 import LanguageModel
from clso.models.memory import MemoryModel
from clso.models.mixing import unasked
from clso.search_spaces.gpt2.costs import COST_NAMES
from clso.search_spaces.gpt2_memory.costs import MemoryCosts
from clso.search_spaces.gpt2_memory.genes import (
    MAX_COUNTED,
    MEMORY_GENES,
    default_genome,
    memory_genes,
    pruning_of,
    recipe_of,
)
from clso.search_spaces.gpt2_memory.options import MemoryOptions
from clso.search_spaces.gpt2_memory.part import GrownPart
from clso.search_spaces.gpt2_memory.weights import Blocks, line_losses, lines
from clso.space import Gene, Genome
from clso.space.genome import in_parts
from clso.space.language import LanguageModelSpace, evenly

__all__ = ["MemorySpace"]

_FIT_TOKENS = 16384
"""Tokens of the fitness text that weights are fitted on during the search."""
_FINAL_FIT_TOKENS = 1 << 15
_BILINEAR_CODES = CodeFamily(rank=63, smoothing=0.7, discount=0.4, unseen_weight=0.003)
"""With the bias 64 columns, what matrix units like, and the hand-set genome's own at 128 dimensions."""
_HAND_SET_STEPS, _STEPS, _FINAL_STEPS = 20, 6, 20
"""Steps of EM: of the hand-set genome, of others from its weights on, and of the winner from its own on."""


class MemorySpace(LanguageModelSpace):
    """Search space of memory models."""

    Options = MemoryOptions
    options: MemoryOptions

    cost_names = COST_NAMES

    @property
    @abstractmethod
    def grown(self) -> GrownPart:
        """What is mixed in, of the statistics text; always the same object."""

    @cached_property
    def statistics(self) -> CountedText:
        """The statistics text's counts."""
        device, order = torch.device(self.context.device), MAX_COUNTED
        return CountedText(self.corpus, "statistics", order, device, classes=lambda: self._classes)

    @cached_property
    def _classes(self) -> Tensor:
        """The tokens' classes, by the grown part's vectors."""
        vectors = self.grown.token_vectors().to(self.context.device)
        return token_classes(vectors, self.statistics.counts.levels[0].count)

    @cached_property
    def bilinear(self) -> LogBilinear | None:
        """The log-bilinear expert, fitted on blocks of the fitness text that no weights are fitted on."""
        wanted = self.options.bilinear_tokens // self.config.n_positions
        if not wanted:
            return None
        start = log_bilinear(self.grown.codes(_BILINEAR_CODES))
        blocks = self.blocks("fitness")
        every = np.arange(len(blocks))
        final = evenly(min(len(blocks), _FINAL_FIT_TOKENS // self.config.n_positions), len(blocks))
        free = np.setdiff1d(every, final)
        places = free if len(free) >= wanted else every
        chosen = places[evenly(min(wanted, len(places)), len(places))]
        return fit_maps(start, blocks[torch.from_numpy(chosen)])

    def _recipe(self, alleles: Genome) -> Recipe:
        """The experts of the memory's alleles."""
        recipe = recipe_of(alleles, self.statistics.order)
        return replace(recipe, bilinear=self.bilinear is not None)

    @cached_property
    def n_grown(self) -> int:
        """Genes of the grown part, which come first."""
        return len(self.grown.genes)

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        grown = (
            replace(gene, when=(*gene.when, ("memory.grown", ("on",)))) for gene in self.grown.genes
        )
        return (*grown, *memory_genes())

    def seeds(self) -> list[Genome]:
        return [(*seed, *default_genome()) for seed in self.grown.seeds()]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Numbers tell the surrogate their rank and its square; other genes are one-hot only."""
        ranks = [np.arange(len(v)) / max(1, len(v) - 1) for v in MEMORY_GENES.values()]
        return [*self.grown.descriptors(), *(np.stack([r, r**2], axis=1) for r in ranks)]

    def prepare(self) -> None:
        """Count, grow what the hand-set genome needs, and fit its weights."""
        self.grown.prepare()
        self._weights([default_genome()])

    @cached_property
    def _costs(self) -> MemoryCosts:
        return MemoryCosts(self.statistics, self.bilinear)

    def costs(self, genome: Genome) -> dict[str, float]:
        genome = self.validate(genome)
        alleles = genome[self.n_grown :]
        recipe = self._recipe(alleles)
        grown = self.grown.costs(genome[: self.n_grown]) if recipe.grown else None
        return self._costs(recipe, pruning_of(alleles), grown)

    def decode(self, genome: Genome) -> dict[str, str]:
        return self.describe(genome)

    # How mixtures are measured

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        looked_at = self._looked_at(blocks)
        n = self.n_grown
        self._grow([g[:n] for g in genomes], looked_at)
        found = looked_at.lines(self, [g[n:] for g in genomes])
        a, b = zip(*(found[g[n:]] for g in genomes), strict=True)
        p = [looked_at.grown[g[:n]] for g in genomes]
        return line_losses(torch.stack(a), torch.stack(b), torch.stack(p)).cpu()

    def _looked_at(self, blocks: Tensor) -> _LookedAt:
        key = id(blocks)
        if key not in self._known or self._known[key].blocks.blocks is not blocks:
            places = _places(blocks, self._fit.blocks.blocks)
            self._known[key] = _LookedAt(Blocks(self.statistics, blocks, self.bilinear), places)
        return self._known[key]

    @cached_property
    def _known(self) -> dict[int, _LookedAt]:
        return {}

    def _grow(self, wanted: Sequence[Genome], looked_at: _LookedAt) -> None:
        """The probabilities of those grown parts that have not been measured on these blocks."""
        new = [g for g in dict.fromkeys(wanted) if g not in looked_at.grown]
        if new:
            found = self.grown.target_probabilities(new, looked_at.blocks.blocks)
            looked_at.grown |= dict(zip(new, found, strict=True))

    @cached_property
    def _fit(self) -> _LookedAt:
        """The blocks that weights are fitted on during the search, with the hand-set grown part."""
        out = _LookedAt(Blocks(self.statistics, self.blocks("fitness", _FIT_TOKENS), self.bilinear))
        self._grow(self.grown.seeds()[:1], out)
        return out

    @cached_property
    def _layout(self) -> Recipe:
        """What rows of weights are made for: all that genes can choose."""
        most = tuple(len(values) - 1 for values in MEMORY_GENES.values())
        return replace(self._recipe(most), rule="full")

    @cached_property
    def _fitted(self) -> dict[Genome, Tensor]:
        return {}

    def _weights(self, wanted: Sequence[Genome], seen: Observed | None = None) -> Tensor:
        """Rows of weights (C, W) of settings of the memory's genes; those that are not known are fitted together.

        `seen` is what their experts say of the blocks that weights are fitted on, if that is known.
        """
        first = default_genome()
        if first not in self._fitted:
            self._fit_all([first], None, _HAND_SET_STEPS)
        new = [g for g in dict.fromkeys(wanted) if g not in self._fitted]
        if seen is not None and len(new) == len(wanted):
            self._fit_all(new, self._start(new), _STEPS, seen)
        else:
            for part in in_parts(new, self._fit.blocks.at_once(self._layout)):
                self._fit_all(part, self._start(part), _STEPS)
        return torch.stack([self._fitted[g] for g in wanted])

    def _fit_all(
        self,
        wanted: Sequence[Genome],
        start: Tensor | None,
        steps: int,
        seen: Observed | None = None,
    ) -> None:
        seen = seen or self._observed(self._fit.blocks, wanted)
        seen.fill_in(self._fit.grown[self.grown.seeds()[0]])
        found = fit_weights(
            seen.base, seen.experts, seen.slots, self._layout.sizes, steps=steps, start=start
        )
        self._fitted |= dict(zip(wanted, found, strict=True))

    def _observed(self, blocks: Blocks, wanted: Sequence[Genome]) -> Observed:
        """What the experts of settings of the memory's genes say."""
        recipes = [self._recipe(g) for g in wanted]
        return blocks.observed(recipes, [pruning_of(g) for g in wanted], self._layout)

    def _start(self, wanted: Sequence[Genome]) -> Tensor:
        """Rows of weights to begin with: the hand-set genome's at its stages, if the buckets are its own."""
        own, weights = self._recipe(default_genome()), self._hand_set
        alike = [self._recipe(g).rule == own.rule for g in wanted]
        return torch.where(
            sent(torch.tensor(alike), weights.device)[:, None], weights, START_WEIGHT
        )

    @cached_property
    def _hand_set(self) -> Tensor:
        """The hand-set genome's row of weights, with others where it has no stage."""
        own, found = self._recipe(default_genome()), []
        row = torch.split(self._fitted[default_genome()], list(self._layout.sizes))
        for stage, weights in zip(self._layout.stages, row, strict=True):
            has = stage in own.stages
            found.append(weights if has else torch.full_like(weights, START_WEIGHT))
        return torch.cat(found)

    # Models

    def model(self, genome: Genome) -> MemoryModel:
        """One genome, of the statistics text alone, with weights from all of the fitness text."""
        genome = self.validate(genome)
        return self._model(genome, "statistics", self.grown.model)

    def final_model(self, genome: Genome) -> MemoryModel:
        """Regrown on the whole training text, which is its memory; the weights are those of `model`."""
        genome = self.validate(genome)
        return self._model(genome, "train", self.grown.final_model)

    def _model(
        self, genome: Genome, split: str, grow: Callable[[Genome], LanguageModel]
    ) -> MemoryModel:
        """`grow` makes the grown part; nothing is grown or written that does not speak."""
        n, v = self.n_grown, self.corpus.vocab_size
        recipe = self._recipe(genome[n:])
        memory = CountedMemory(
            as_text(self.corpus.tokens(split), v),
            v,
            recipe.order,
            pruning_of(genome[n:]),
            skip_contexts(recipe),
            self._classes.cpu() if recipe.n_classed else None,
            self.bilinear.to(torch.device("cpu")) if self.bilinear else None,
        )
        weights = [w.cpu() for w in self._final_weights(genome)]
        lm = grow(genome[:n]).cpu() if recipe.grown else unasked(v, self.config.n_positions)
        return MemoryModel(lm, memory, recipe, weights).eval()

    def _final_weights(self, genome: Genome) -> list[Tensor]:
        """Weights by EM on all of the fitness text (at most 2^15 tokens), with this genome's own grown part."""
        blocks = self.blocks("fitness", _FINAL_FIT_TOKENS)
        n = self.n_grown
        recipe = self._recipe(genome[n:])
        seen = self._observed(Blocks(self.statistics, blocks, self.bilinear), [genome[n:]])
        if recipe.grown:
            seen.fill_in(self.grown.target_probabilities([genome[:n]], blocks)[0])
        start, sizes = self._weights([genome[n:]]), self._layout.sizes
        row = fit_weights(
            seen.base, seen.experts, seen.slots, sizes, steps=_FINAL_STEPS, start=start
        )[0]
        return self._own_weights(recipe, row)

    def _own_weights(self, recipe: Recipe, row: Tensor) -> list[Tensor]:
        """The weights of a recipe's stages out of a row of all."""
        begins = [self._layout.begins[stage] for stage in recipe.stages]
        return [row[b : b + size] for b, size in zip(begins, recipe.sizes, strict=True)]


def _places(blocks: Tensor, among: Tensor) -> Tensor | None:
    """Where the targets of blocks (N, T + 1) are among those of others, if they all are there."""
    same = (among[None] == blocks[:, None]).all(-1)
    if not bool(same.any(1).all()):
        return None
    t = among.shape[1] - 1
    places = same.int().argmax(1)[:, None] * t + torch.arange(t, device=among.device)
    return places.flatten()


class _LookedAt:
    """Blocks, and what grown parts and mixtures give their targets."""

    def __init__(self, blocks: Blocks, places: Tensor | None = None) -> None:
        """`places` are the targets' among those that weights are fitted on, if they are there: nothing is looked up twice."""
        self.blocks, self.places = blocks, places
        self.grown: dict[Genome, Tensor] = {}
        self._lines: dict[Genome, tuple[Tensor, Tensor]] = {}

    def lines(
        self, space: MemorySpace, wanted: Sequence[Genome]
    ) -> dict[Genome, tuple[Tensor, Tensor]]:
        """Mixtures by the memory's genes, as lines in the grown part's probabilities; new ones are computed together."""
        new = [g for g in dict.fromkeys(wanted) if g not in self._lines]
        fit = space._fit.blocks
        for part in in_parts(new, fit.at_once(space._layout)):
            if self.places is None:
                weights, seen = space._weights(part), space._observed(self.blocks, part)
            else:
                whole = space._observed(fit, part)
                weights, seen = space._weights(part, whole), whole.at(self.places)
            a, b = lines(seen, weights)
            self._lines |= dict(zip(part, zip(a, b, strict=True), strict=True))
        return self._lines
