"""Cut-offs and entropy pruning: distributions stay whole, the cost of an entry is what its loss costs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.counted_memory import CountedMemory
from clso.grown.discounts import kneser_ney
from clso.grown.distribution import MemoryReader
from clso.grown.experts import observe
from clso.grown.mixture import mix
from clso.grown.ngrams import NGramCounts
from clso.grown.pruning import Pruning, entropy_loss, kept_masks
from clso.grown.recipes import Recipe

from .example import VOCAB


@pytest.mark.parametrize("how", [{"cut": (1, 2)}, {"threshold": (1e-4,)}, {"cut": (99999,)}])
def test_pruned_tables_are_smaller_and_whole(
    memory: CountedMemory, blocks: Tensor, how: dict[str, Any]
) -> None:
    small = replace(memory, pruning=Pruning(**how))
    assert small.n_bytes < memory.n_bytes
    recipe = Recipe(order=5, explicit=True, grown=False, rule="one")
    weights = [torch.full((n,), 0.5, dtype=torch.float64) for n in recipe.sizes]
    seen = observe(small, recipe, blocks)
    p = mix(seen.base, seen.experts, seen.slots, torch.cat(weights)[None]).view(len(blocks), -1)
    nothing = torch.zeros(VOCAB, dtype=torch.float64)
    reader = MemoryReader(small, recipe, weights)
    for t, token in enumerate(blocks[0, :12].tolist()):
        reader.push(token)
        whole = reader.distribution(nothing)
        assert whole.sum().item() == pytest.approx(1, abs=1e-6)
        assert whole[blocks[0, t + 1]].item() == pytest.approx(p[0, t].item(), rel=1e-6)


def test_without_a_threshold_nothing_changes(counts: NGramCounts, memory: CountedMemory) -> None:
    everything = kept_masks(counts, counts.order - 1)
    _, straight = kneser_ney(counts)
    _, masked = kneser_ney(counts, masks=everything)
    for a, b, c in zip(memory.tables, straight, masked, strict=True):
        for x, y, z in zip(vars(a).values(), vars(b).values(), vars(c).values(), strict=True):
            assert torch.equal(x, y)
            assert torch.equal(x, z)


def test_the_cost_of_a_bigram_is_the_entropy_between_with_and_without(
    counts: NGramCounts,
) -> None:
    unigram, tables = kneser_ney(counts)
    cost, table = entropy_loss(counts, unigram, tables[:1])[0], tables[0]
    entry = int(cost.argmax())
    context, last = int(table.keys[entry]) // VOCAB, int(table.keys[entry]) % VOCAB

    def distribution(without: int | None) -> Tensor:
        mine = table.keys // VOCAB == context
        if without is not None:
            mine[without] = False
        share = torch.zeros(VOCAB, dtype=torch.float64)
        share[table.keys[mine] % VOCAB] = table.raw[mine].double()
        return share + (1 - share.sum()) * unigram.continued

    p, q = distribution(None), distribution(entry)
    # Of the context's other entries the estimate leaves the growth out, as Stolcke's does of nobody's: it is small.
    outside = torch.ones(VOCAB, dtype=torch.bool)
    outside[table.keys[table.keys // VOCAB == context] % VOCAB] = False
    outside[last] = True
    share_of_text = int(counts.levels[0].count[context]) / counts.n_tokens
    exact = share_of_text * float((p * (p / q).log())[outside].sum())
    assert float(cost[entry]) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("how", [{"cut": (0,)}, {"threshold": (-1.0,)}, {"threshold": (math.nan,)}])
def test_what_cannot_be_a_cut_off_is_refused(counts: NGramCounts, how: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="cut-off is at least 1"):
        kept_masks(counts, 4, **how)  # type: ignore[arg-type]
