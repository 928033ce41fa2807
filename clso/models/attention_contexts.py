"""The context manager: how far back a segment looks follows from what earlier segments were like.

After each segment of 128 tokens the context c grows to min(1.5 c, high) if the segment's signal exceeds the threshold, and
else shrinks to max(0.8 c, low). Two growths outweigh three and a half shrinkings, so the rule drifts upwards unless less than
log(1 / 0.8) / log(1.5 / 0.8) = 35.5 % of segments expand. A segment's context comes from the segments before it, never from
itself: attention stays causal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError

__all__ = [
    "EQUILIBRIUM",
    "SEGMENT",
    "SIGNALS",
    "ContextPolicy",
    "attention_bits",
    "bounding_contexts",
    "contexts_of",
    "token_signals",
]

SEGMENT = 128
GROW, SHRINK = 1.5, 0.8
EQUILIBRIUM = math.log(1 / SHRINK) / math.log(GROW / SHRINK)
"""The share of expanding segments at which the rule drifts nowhere."""
SIGNALS = ("entropy", "perplexity", "diversity")
"""Of a segment: bits of its token counts; perplexity under a text's unigrams; mean bits of a head's attention."""


@dataclass(frozen=True)
class ContextPolicy:
    """A signal, the threshold above which the context grows, and where the context starts and stays, in tokens."""

    signal: str
    threshold: float
    start: int = 512
    low: int = 128
    high: int = 4096

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ConfigError("the threshold of a context is a finite number", got=self.threshold)
        if not 1 <= self.low <= self.start <= self.high:
            raise ConfigError(
                "contexts are 1 <= low <= start <= high", got=(self.low, self.start, self.high)
            )

    @property
    def label(self) -> str:
        text = f"adaptive:{self.signal}:{self.threshold:g}"
        sizes = (self.start, self.low, self.high)
        return text if sizes == (512, 128, 4096) else f"{text}:{':'.join(map(str, sizes))}"

    def step(self, context: float, expands: bool) -> float:
        """The next segment's context."""
        return min(GROW * context, self.high) if expands else max(SHRINK * context, self.low)


def contexts_of(policy: ContextPolicy, expansions: Iterable[bool]) -> list[int]:
    """Whole contexts of the segments: the first, and one after each segment that did or did not expand."""
    context = float(policy.start)
    found = [int(context)]
    for expands in expansions:
        context = policy.step(context, expands)
        found.append(int(context))
    return found


def bounding_contexts(policy: ContextPolicy, n: int) -> list[int]:
    """The largest contexts that the segments of `n` tokens can have."""
    return contexts_of(policy, [True] * (-(-n // SEGMENT) - 1))


def token_signals(signal: str, tokens: Tensor, unigram_log_p: Tensor | None) -> list[float]:
    """ "entropy" or "perplexity" of each segment of one document (n,) that another follows."""
    n_segments = (len(tokens) - 1) // SEGMENT
    segments = tokens[: n_segments * SEGMENT].view(n_segments, SEGMENT)
    if signal == "entropy":
        return [_entropy_bits(segment) for segment in segments.cpu()]
    if unigram_log_p is None:
        raise ConfigError(
            "the signal perplexity reads unigrams", got=None, remedy="Set the model's unigrams."
        )
    found: list[float] = (-unigram_log_p[segments].double().mean(1)).exp().tolist()
    return found


def _entropy_bits(segment: Tensor) -> float:
    p = segment.unique(return_counts=True)[1].double() / len(segment)  # type: ignore[no-untyped-call]
    return float(-(p * p.log2()).sum())


def attention_bits(weights: Tensor) -> float:
    """Mean entropy in bits of rows of attention weights (..., n_keys)."""
    p = weights.detach().double()
    return float(-torch.special.xlogy(p, p).sum(-1).mean() / math.log(2))
