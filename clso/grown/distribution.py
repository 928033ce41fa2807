"""The mixture's whole distribution at one position, from its past alone: no code in common with `observe` but the buckets.

Tables are read as runs of keys that share a context, and the block's past is gone through token by token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clso.grown.counted_memory import CountedMemory
from clso.grown.discounts import TYPE_CLASSES
from clso.grown.own_past import MAX_MATCH, Voters
from clso.grown.recipes import BILINEAR, GROWN, Features, Recipe, bucket_of, skip_place
from clso.grown.skips import SkipTable

__all__ = ["MemoryReader"]


class MemoryReader:
    """Reads a block token by token, and says after each what comes next.

    reader = MemoryReader(memory, recipe, weights)
    reader.push(17)
    p = reader.distribution(grown)      # (V,) float64; `grown` (V,) are the grown model's probabilities
    """

    def __init__(self, memory: CountedMemory, recipe: Recipe, weights: Sequence[Tensor]) -> None:
        self.memory, self.recipe, self.weights = memory, recipe, weights
        self.tables = memory.tables[: recipe.order - 1]
        self.tokens: list[int] = []
        self._contexts: list[int] = []  # ids of the last 1, 2, ... tokens, -1 if never seen
        self._lengths: list[
            int
        ] = []  # for each earlier position, the tokens up to it that agree with the last ones

    def push(self, token: int) -> None:
        """One token more."""
        v, longer = self.memory.vocab_size, [token]
        for table, context in zip(self.tables[:-1], self._contexts, strict=False):
            longer.append(_child(table.keys, context, token, v) if context >= 0 else -1)
        self._contexts = longer
        before = [0, *self._lengths][: len(self.tokens)]
        self._lengths = [
            min(MAX_MATCH, 1 + n) if same == token else 0
            for same, n in zip(self.tokens, before, strict=True)
        ]
        self.tokens.append(token)

    def forget_oldest(self) -> None:
        """The block begins one token later, as if its first had never been pushed."""
        self.tokens.pop(0)
        # an agreement cannot reach back beyond the beginning
        self._lengths = [min(n, s + 1) for s, n in enumerate(self._lengths[1:])]
        self._contexts = self._contexts[: len(self.tokens)]

    def distribution(self, grown: Tensor) -> Tensor:
        """Probabilities (V,) float64 of the next token."""
        memory, recipe = self.memory, self.recipe
        orders, explicit, counts = self._orders()
        tables = memory.skip_tables(recipe.n_skips, recipe.n_classed)
        skips = [_skip(s, self.tokens, memory.vocab_size, memory.classes) for s in tables]
        features = self._features(max([1, *orders]), counts, [kind for _, kind in skips])
        out = memory.unigram.raw
        for stage, weight in zip(recipe.stages, self.weights, strict=True):
            if stage.kind == "order":
                p = orders.get(stage.index)
            elif stage.kind == "explicit":
                p = explicit.get(stage.index)
            elif stage.kind in ("skip", "class"):
                p = skips[skip_place(recipe, stage)][0]
            elif stage.kind == GROWN:
                p = grown
            elif stage.kind == BILINEAR:
                p = self._bilinear()
            else:
                voters = (recipe.shares if stage.kind == "share" else recipe.matches)[stage.index]
                p = self._votes(voters)
            if p is not None:
                share = float(weight[bucket_of(recipe, stage, features)])
                out = torch.lerp(out, p, share)
        return out

    def _features(self, found: int, counts: list[int], skips: list[int]) -> Features:
        numbers = [sum(n >= m for n in self._lengths) for m in range(1, 5)]
        total = counts[0] // TYPE_CLASSES if counts else 0
        return Features(
            found=torch.tensor(found),
            total=torch.tensor(total),
            place=torch.tensor(len(self.tokens) - 1),
            longest=torch.tensor(max([0, *self._lengths])),
            number=tuple(map(torch.tensor, numbers)),
            counts=tuple(map(torch.tensor, counts)),
            skips=tuple(map(torch.tensor, skips)),
        )

    def _orders(self) -> tuple[dict[int, Tensor], dict[int, Tensor], list[int]]:
        """By order, if its context has anything: Kneser-Ney's distribution, explicit shares; and all count classes."""
        v, lower = self.memory.vocab_size, self.memory.unigram.continued
        orders: dict[int, Tensor] = {}
        explicit: dict[int, Tensor] = {}
        counts = [0] * len(self.tables)
        for k, (table, context) in enumerate(zip(self.tables, self._contexts, strict=False), 2):
            if context < 0:
                continue
            raw_mass, continued_mass = table.mass[context].tolist()
            begin, end = _run(table.keys, context, v)
            follow = table.keys[begin:end] - context * v
            if raw_mass > 0:
                counts[k - 2] = int(table.count_class[context])
                raw = torch.zeros_like(lower)
                raw[follow] = table.raw[begin:end].double()
                orders[k] = raw + (1 - raw_mass) * lower
                explicit[k] = raw / raw_mass
            lower = (1 - continued_mass) * lower
            lower[follow] += table.continued[begin:end].double()
        return orders, explicit, counts

    def _bilinear(self) -> Tensor:
        assert self.memory.bilinear is not None  # `Recipe.require`
        past = torch.tensor(self.tokens, device=self.memory.device)
        return self.memory.bilinear.distribution(past)

    def _votes(self, voters: Voters) -> Tensor | None:
        """The distribution of the block's own past, None if nothing speaks."""
        now, tokens = len(self.tokens) - 1, self.tokens
        if voters.kind == "share":
            rare = (1 + self.memory.count[tokens].double()) ** -voters.rarity
            votes = [voters.decay ** (now - s) * r for s, r in enumerate(rare.tolist())]
            speak = list(range(len(tokens)))
        else:
            least = max(1, voters.length)
            speak = [s + 1 for s, n in enumerate(self._lengths) if n >= least]
            power = 3 if voters.length == 0 else 0
            votes = [self._lengths[s - 1] ** power * voters.decay ** (now - s) for s in speak]
        if not speak:
            return None
        p = torch.zeros_like(self.memory.unigram.raw)
        at = torch.tensor([tokens[s] for s in speak], device=p.device)
        shares = torch.tensor(votes, dtype=torch.float64, device=p.device)
        return p.index_add_(0, at, shares / shares.sum())


def _run(keys: Tensor, context: int, v: int) -> tuple[int, int]:
    """Begin and end of the entries of a context among sorted keys."""
    edges = torch.tensor([context * v, (context + 1) * v], device=keys.device)
    begin, end = torch.searchsorted(keys, edges).tolist()
    return begin, end


def _child(keys: Tensor, context: int, last: int, v: int) -> int:
    """Id of a context with one token more, -1 if never seen."""
    key = context * v + last
    at = int(torch.searchsorted(keys, key))
    return at if at < len(keys) and int(keys[at]) == key else -1


def _skip(
    table: SkipTable, tokens: list[int], v: int, classes: Tensor | None
) -> tuple[Tensor | None, int]:
    """The distribution of a skip context, None if it has nothing, and its count class."""
    lags = table.context.lags
    if len(tokens) <= lags[0]:
        return None, 0
    stands = [
        int(classes[tokens[-1 - lag]])
        if classes is not None and lag in table.context.classed
        else tokens[-1 - lag]
        for lag in lags
    ]
    context = stands[0]
    for keys, token in zip(table.inner, stands[1:], strict=True):
        context = _child(keys, context, token, v) if context >= 0 else -1
    kind = int(table.count_class[context]) if context >= 0 else 0
    if not kind:
        return None, 0
    begin, end = _run(table.keys, context, v)
    p = torch.zeros(v, dtype=torch.float64, device=table.keys.device)
    p[table.keys[begin:end] - context * v] = table.share[begin:end].double()
    return p, kind
