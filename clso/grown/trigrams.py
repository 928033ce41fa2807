"""What follows a pair of tokens, against what follows the second token alone: the pairs that are worth remembering.

For a pair (u, v) seen n times, the target is the discounted trigram distribution

    q(w | u, v) = share(w) + back_off p(w | v),     share(w) = max(c - D(c), 0) / n

with the discounts of `clso.grown.discounts`. A pair's expected gain, in nats over the text, is n KL(q || p), with p the
Kneser-Ney bigram.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clso.grown.discounts import discounts
from clso.grown.ngrams import count_ngrams, find_keys, look_up
from clso.grown.statistics import BigramStatistics
from clso.grown.sums import sums

__all__ = ["PairTargets", "rank_pairs"]

_MIN_COUNT = 3  # a pair that was seen less often tells nothing for certain


@dataclass(frozen=True)
class PairTargets:
    """N pairs, and what follows them in compressed rows.

    Attributes
    ----------
    previous, current : (N,) int64, the pair's tokens u and v.
    count : (N,) float32, occurrences n.
    back_off : (N,) float32, the part of q that is p(w | v)'s.
    gain : (N,) float32, expected gain in nats over the text.
    offset, token, share : (N + 1,), (M,) int64 and (M,) float32; a row's tokens w were seen after its pair.
    """

    previous: Tensor
    current: Tensor
    count: Tensor
    back_off: Tensor
    gain: Tensor
    offset: Tensor
    token: Tensor
    share: Tensor

    def __len__(self) -> int:
        return len(self.count)

    def at(self, index: Tensor) -> PairTargets:
        """The pairs `index` (n,), in that order."""
        lengths = self.offset.diff()[index]
        offset = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        row = torch.repeat_interleave(lengths)
        place = self.offset[index][row] + torch.arange(len(row), device=row.device) - offset[row]
        return PairTargets(
            self.previous[index],
            self.current[index],
            self.count[index],
            self.back_off[index],
            self.gain[index],
            offset,
            self.token[place],
            self.share[place],
        )


def rank_pairs(tokens: Tensor, statistics: BigramStatistics, n: int) -> PairTargets:
    """At most `n` pairs of a text (T,) whose bigrams are `statistics`, those with the largest expected gain first."""
    v = statistics.pairs.vocab_size
    _, second, third = count_ngrams(tokens, v, 3).levels
    context, token = third.keys // v, third.keys % v
    total = sums(context, third.count, len(second))  # (pairs,) float64, as are all sums
    # The shares (M,) of what was seen after a pair, and what the discounts leave for the rest.
    off = discounts(third.counts_of_counts[0]).to(third.count.device)
    kept = third.count - off[third.count.clamp(max=3)]
    share = kept.clamp(min=0) / total[context]
    back_off = 1 - sums(context, share, len(second))
    # The bigram's probability of the same token (M,), q over p there, and over the rest.
    current = second.keys % v
    bigram = _probability(statistics, current[context], token)
    ratio = share / bigram + back_off[context]
    rest = 1 - sums(context, bigram, len(second))
    kl = sums(context, ratio * bigram * ratio.log(), len(second))
    kl += back_off * rest.clamp(min=0) * back_off.clamp(min=1e-9).log()
    gain = torch.where(total >= _MIN_COUNT, total * kl, 0.0)
    best = torch.argsort(gain, descending=True, stable=True)[:n]
    best = best[gain[best] > 0]
    everything = PairTargets(
        second.keys // v,
        current,
        total.float(),
        back_off.float(),
        gain.float(),
        torch.searchsorted(context, torch.arange(len(second) + 1, device=context.device)),
        token,
        share.float(),
    )
    return everything.at(best)


def _probability(statistics: BigramStatistics, i: Tensor, j: Tensor) -> Tensor:
    """The Kneser-Ney bigram's p(j | i) (n,), float64."""
    pairs = statistics.pairs
    v = pairs.vocab_size
    place = find_keys(pairs.i * v + pairs.j, i * v + j)
    log_ratio = look_up(statistics.target, place, 0.0).double()
    return statistics.back_off[i] * statistics.p_cont[j].double() * log_ratio.exp()
