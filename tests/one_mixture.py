"""One mixture, stage by stage, with a loop for all that the batched code does at once."""

from __future__ import annotations

import torch
from torch import Tensor

from clso.grown.experts import Terms
from clso.grown.mixture import PRIOR, START_WEIGHT
from clso.grown.recipes import Features, Recipe, bucket_of, skip_place

Stages = list[tuple[Tensor, Tensor]]  # the expert's probabilities and the buckets, (n,) each


def stages(recipe: Recipe, terms: Terms) -> tuple[Tensor, Stages]:
    """What the unigrams give the targets (n,), and all stages; a grown model's probabilities are zeros."""
    orders, lower = terms.orders[: recipe.order - 1], terms.unigram[1]
    found, smoothed = torch.ones_like(lower, dtype=torch.long), []
    for k, order in enumerate(orders, 2):
        raw, continued, mass, continued_mass = order.shares
        smoothed.append(raw + (1 - mass) * lower)
        lower = continued + (1 - continued_mass) * lower
        found = torch.where(mass > 0, k, found)
    counts = [order.kind * (order.shares[2] > 0) for order in orders]
    features = Features(
        found=found,
        total=counts[0] // 9 if counts else torch.zeros_like(found),
        place=torch.arange(found.shape[1]).expand_as(found),
        longest=terms.past.longest,
        number=terms.past.number,
        counts=tuple(counts),
        skips=tuple(skip.kind for skip in terms.skips),
    )
    out = []
    for stage in recipe.stages:
        if stage.kind in ("order", "explicit"):
            raw, _, mass, _ = orders[stage.index - 2].shares
            explicit = torch.where(mass > 0, raw / mass.clamp(min=1e-30), 0.0)
            p = smoothed[stage.index - 2] if stage.kind == "order" else explicit
            speaks = mass > 0
        elif stage.kind in ("skip", "class"):
            skip = terms.skips[skip_place(recipe, stage)]
            p, speaks = skip.share, skip.kind > 0
        elif stage.kind == "grown":
            p, speaks = torch.zeros_like(lower), torch.ones_like(found, dtype=torch.bool)
        else:
            at = stage.index + (len(recipe.shares) if stage.kind == "match" else 0)
            p, speaks = terms.past.shares[at].double(), terms.past.spoken[at]
        bucket = torch.where(speaks, bucket_of(recipe, stage, features), -1)
        out.append((p.flatten(), bucket.flatten()))
    return terms.unigram[0].flatten(), out


def weights_of(
    base: Tensor, stages: Stages, sizes: tuple[int, ...], steps: int, start: list[Tensor] | None
) -> list[Tensor]:
    """EM, one position's shares after another's stage."""
    weights = start or [base.new_full((n,), START_WEIGHT) for n in sizes]
    for _ in range(steps):
        shares = _shares(stages, weights)
        mixed, rest = [base], torch.ones_like(base)
        for (p, _), share in zip(stages, shares, strict=True):
            mixed.append((1 - share) * mixed[-1] + share * p)
        found = []
        for i in range(len(stages) - 1, -1, -1):
            (p, bucket), share = stages[i], shares[i]
            own = share * p * rest / mixed[-1]
            arrived = mixed[i + 1] * rest / mixed[-1]
            speaks = bucket >= 0
            own, arrived = (
                torch.bincount(bucket[speaks], weights=v[speaks], minlength=sizes[i])
                for v in (own, arrived)
            )
            average = (own.sum() + 0.1) / (arrived.sum() + 0.2)
            found.append((own + PRIOR * average) / (arrived + PRIOR))
            rest = rest * (1 - share)
        weights = found[::-1]
    return weights


def mixed(base: Tensor, stages: Stages, weights: list[Tensor]) -> Tensor:
    """What the chain gives each target (n,)."""
    for (p, _), share in zip(stages, _shares(stages, weights), strict=True):
        base = (1 - share) * base + share * p
    return base


def _shares(stages: Stages, weights: list[Tensor]) -> list[Tensor]:
    return [
        torch.where(bucket >= 0, w[bucket.clamp(min=0)], 0.0)
        for (_, bucket), w in zip(stages, weights, strict=True)
    ]
