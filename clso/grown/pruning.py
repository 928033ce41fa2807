"""Smaller tables: count cut-offs, and entropy pruning (Stolcke 1998) for interpolated models.

A dropped entry's share goes to its context's escape, so that every distribution still sums to 1. Orders are pruned from
the highest down, and an entry stays as long as it is the context of one that stayed; it then holds no share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.discounts import NGramTable, UnigramTable
from clso.grown.ngrams import NGramCounts, find_keys
from clso.grown.sums import sums

__all__ = ["Pruning", "entropy_loss", "kept_masks"]

_MOST = 1 << 62  # of a count


@dataclass(frozen=True)
class Pruning:
    """What of the counts becomes tables.

    Attributes
    ----------
    discount : the discounts' multiple of Chen and Goodman's estimate.
    cut, threshold : by order from 2, least counts and entropy thresholds, as `kept_masks` takes them.
    skip_cut : the least count in the tables of skip contexts.

    Raises `ConfigError` for a multiple that is not positive and finite, or what `kept_masks` refuses.
    """

    discount: float = 1.0
    cut: tuple[int, ...] = (1,)
    threshold: tuple[float, ...] = (0.0,)
    skip_cut: int = 1

    def __post_init__(self) -> None:
        _require(self.cut, self.threshold)
        if not 1 <= self.skip_cut < _MOST:
            raise ConfigError("skip_cut is at least 1", got=self.skip_cut)
        if not 0 < self.discount < math.inf:
            raise ConfigError(
                "discounts are a positive multiple of the estimates", got=self.discount
            )

    @property
    def drops(self) -> bool:
        """Whether any n-gram goes."""
        return max(self.cut) > 1 or max(self.threshold) > 0


def kept_masks(
    counts: NGramCounts,
    n_tables: int,
    *,
    cut: Sequence[int] = (1,),
    threshold: Sequence[float] = (0.0,),
    costs: Sequence[Tensor] = (),
) -> tuple[list[Tensor], list[Tensor]]:
    """For orders 2, 3, ...: which entries have a share, and which stay, be it as contexts alone. (n,) bool each.

    Parameters
    ----------
    cut : by order from 2, the least count that stays; the last holds for all higher orders. 1 keeps all.
    threshold : likewise, the relative entropy in nats per token below which an entry goes. 0 keeps all.
    costs : `entropy_loss`, if any threshold is not 0.

    Raises `ConfigError` for a cut-off below 1 or a threshold below 0.
    """
    _require(cut, threshold)
    speaks = []
    for i in range(n_tables):
        own = counts.levels[i + 1].count >= cut[min(i, len(cut) - 1)]
        if (least := threshold[min(i, len(threshold) - 1)]) > 0:
            own &= costs[i] >= least
        speaks.append(own)
    stays = list(speaks)
    for i in range(n_tables - 2, -1, -1):
        needed = torch.zeros_like(stays[i])
        needed[(counts.levels[i + 2].keys // counts.vocab_size)[stays[i + 1]]] = True
        stays[i] = stays[i] | needed
    return speaks, stays


def _require(cut: Sequence[int], threshold: Sequence[float]) -> None:
    if not (
        cut and threshold and all(1 <= c < _MOST for c in cut) and all(t >= 0 for t in threshold)
    ):
        got = (tuple(cut), tuple(threshold))
        raise ConfigError("a count cut-off is at least 1 and an entropy threshold 0", got=got)


def entropy_loss(
    counts: NGramCounts, unigram: UnigramTable, tables: Sequence[NGramTable]
) -> tuple[Tensor, ...]:
    """For each entry of each table, the relative entropy that its loss alone would cost, in nats per token of the text.

    With p = share + escape p' before and (escape + share) p' after, where p' is the order below:

        P(h) (p log(p / (after)) - rest log(1 + share / escape)),    rest = the context's probability outside its entries
    """
    v, out = counts.vocab_size, []
    lower, suffix = unigram.continued, None
    for i, table in enumerate(tables):
        context, last = table.keys // v, table.keys % v
        if suffix is None:
            below, suffix = lower[last], last
        else:
            suffix = find_keys(tables[i - 1].keys, suffix[context] * v + last)
            below = lower[suffix]
        share, escape = table.raw.double(), (1 - table.mass[:, 0].double())[context]
        p, after = share + escape * below, (escape + share) * below
        inside = sums(context, below, len(table.mass))[context]
        rest = escape * (1 - inside).clamp(min=0)
        of_context = counts.levels[i].count.double()[context] / counts.n_tokens
        growth = torch.log1p(share / escape.clamp(min=1e-12))
        cost = of_context * (p * (p / after.clamp(min=1e-300)).log() - rest * growth)
        out.append(torch.where(share > 0, cost, torch.zeros_like(cost)))
        lower = table.continued.double() + (1 - table.mass[:, 1].double())[context] * below
    return tuple(out)
