"""Attention patterns by name: which keys a query sees, what that costs, and what has to be kept of a document.

    full                        every token before it, and itself
    local:W                     the last W, itself among them
    sparse:B:K                  its own block of B, block 0, and the K other earlier blocks whose mean key it likes best
                                (after MoBA, Lu et al. 2025, arXiv:2502.13189)
    pyramid:W                   its own aligned window of W; before it, averages over 1, 2, 4, ... windows
    adaptive:SIGNAL:THRESHOLD   as local, with a window that follows the text (`clso.models.attention_contexts`); also
                                adaptive:SIGNAL:THRESHOLD:START:LOW:HIGH

All are causal, and within a document. FLOPs follow `clso.models.sequence`: as executed, masked pairs included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

from clso.errors import ConfigError, did_you_mean
from clso.models.attention_contexts import SEGMENT, SIGNALS, ContextPolicy, bounding_contexts

__all__ = [
    "CHUNK",
    "Adaptive",
    "Full",
    "Local",
    "Pattern",
    "Pyramid",
    "Sparse",
    "parse_layer",
    "parse_pattern",
]

CHUNK = (64, 512)
"""Queries of a local pattern that share their keys: as many as its window, within these."""
_FORMS = {
    "full": "full",
    "local": "local:W",
    "sparse": "sparse:B:K",
    "pyramid": "pyramid:W",
    "adaptive": "adaptive:SIGNAL:THRESHOLD",
}


@dataclass(frozen=True)
class Pattern(ABC):
    """What a head sees of a document."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The name that `parse_pattern` reads."""

    @abstractmethod
    def pairs(self, n: int) -> int:
        """Query-key products executed in one head on a document of `n` tokens."""

    @abstractmethod
    def kept(self, n: int) -> int:
        """Keys (and as many values) that have to be kept to predict what follows any of up to `n` tokens."""

    def flops(self, n: int, d_head: int) -> int:
        """FLOPs of one head on a document of `n` tokens: scores and averages, projections left out."""
        return 4 * d_head * self.pairs(n)


@dataclass(frozen=True)
class Full(Pattern):
    @property
    def label(self) -> str:
        return "full"

    def pairs(self, n: int) -> int:
        return n * n

    def kept(self, n: int) -> int:
        return n


@dataclass(frozen=True)
class Local(Pattern):
    window: int

    @property
    def label(self) -> str:
        return f"local:{self.window}"

    @property
    def chunk(self) -> int:
        return min(max(self.window, CHUNK[0]), CHUNK[1])

    def pairs(self, n: int) -> int:
        w, c = self.window, self.chunk
        if n <= w:
            return n * n
        full, rest = divmod(n - w, c)
        return w * w + full * c * (w - 1 + c) + (rest * (w - 1 + rest) if rest else 0)

    def kept(self, n: int) -> int:
        return min(n, self.window)


@dataclass(frozen=True)
class Sparse(Pattern):
    block: int
    k: int

    @property
    def label(self) -> str:
        return f"sparse:{self.block}:{self.k}"

    def is_full(self, n: int) -> bool:
        """Whether every query of `n` tokens sees all blocks before it."""
        return -(-n // self.block) <= self.k + 2

    def pairs(self, n: int) -> int:
        if self.is_full(n):
            return n * n
        b = self.block
        full, rest = divmod(n, b)
        chosen = sum(b * min(self.k, i - 1) for i in range(2, full)) + rest * min(self.k, full - 1)
        return full * b * b + rest * rest + (n - b) * b + chosen * b

    def flops(self, n: int, d_head: int) -> int:
        if self.is_full(n):
            return super().flops(n, d_head)
        candidates = -(-n // self.block) - 2
        return super().flops(n, d_head) + 2 * d_head * (n - 2 * self.block) * candidates

    def kept(self, n: int) -> int:
        return n  # any block may be chosen yet


@dataclass(frozen=True)
class Pyramid(Pattern):
    window: int

    @property
    def label(self) -> str:
        return f"pyramid:{self.window}"

    def levels(self, n: int) -> int:
        """Most averages that a query of `n` tokens sees."""
        return ((n - 1) // self.window).bit_length()

    def pairs(self, n: int) -> int:
        if n <= self.window:
            return n * n
        levels, (full, rest) = self.levels(n), divmod(n, self.window)
        return full * self.window * (self.window + levels) + (rest * (rest + levels) if rest else 0)

    def kept(self, n: int) -> int:
        # A window's end is its fullest; what is complete then is merged as a binary counter carries.
        w = self.window
        return max((min(w, n - at * w) + at.bit_count() for at in range(-(-n // w))), default=0)


@dataclass(frozen=True)
class Adaptive(Pattern):
    policy: ContextPolicy

    @property
    def label(self) -> str:
        return self.policy.label

    def pairs(self, n: int) -> int:
        """An upper bound: of contexts that grow at every segment. What a text takes, `clso.models.vsla` can tell."""
        return self.pairs_of(bounding_contexts(self.policy, n), n)

    def pairs_of(self, contexts: list[int], n: int) -> int:
        """With these contexts, one a segment."""
        total = 0
        for s, context in enumerate(contexts):
            at = s * SEGMENT
            queries = min(SEGMENT, n - at)
            total += queries * (min(at, context - 1) + queries)
        return total

    def flops(self, n: int, d_head: int) -> int:
        return self.flops_of(bounding_contexts(self.policy, n), n, d_head)

    def flops_of(self, contexts: list[int], n: int, d_head: int) -> int:
        """With these contexts; the diversity of attention takes its scores once more, but for the last segment."""
        flops = 4 * d_head * self.pairs_of(contexts, n)
        if self.policy.signal == "diversity" and len(contexts) > 1:
            flops += 2 * d_head * self.pairs_of(contexts[:-1], (len(contexts) - 1) * SEGMENT)
        return flops

    def kept(self, n: int) -> int:
        return min(n, max(bounding_contexts(self.policy, n)))


@cache
def parse_pattern(text: str) -> Pattern:
    """The pattern that `text` names. Raises `ConfigError` for an unknown name, or a number that breaks its rule."""
    name, *parts = text.strip().split(":")
    if name not in _FORMS:
        remedy = did_you_mean(name, _FORMS)
        raise ConfigError(f"a pattern is {', '.join(_FORMS.values())}", got=text, remedy=remedy)
    if name == "adaptive":
        return Adaptive(_policy(text, parts))
    if len(parts) != _FORMS[name].count(":"):
        raise ConfigError(f"the pattern {name} is written {_FORMS[name]}", got=text)
    numbers = [
        _whole(part, letter, text)
        for part, letter in zip(parts, _FORMS[name].split(":")[1:], strict=True)
    ]
    if name == "sparse":
        return Sparse(*numbers)
    if name == "local":
        return Local(*numbers)
    return Pyramid(*numbers) if name == "pyramid" else Full()


def parse_layer(text: str, n_heads: int) -> tuple[Pattern, ...]:
    """A layer's patterns, one a head: `text` is one pattern for all, or as many as there are heads, joined by `+`."""
    found = tuple(parse_pattern(part) for part in text.split("+"))
    if len(found) == 1:
        return found * n_heads
    if len(found) != n_heads:
        raise ConfigError(
            f"a layer has one pattern, or {n_heads} joined by +, one a head", got=text
        )
    return found


def _whole(text: str, letter: str, pattern: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError(f"{letter} of a pattern is a whole number of at least 1", got=pattern)
    return number


def _policy(text: str, parts: list[str]) -> ContextPolicy:
    signal, *numbers = parts or [""]
    if signal.replace("_", "-") in ("gradient", "gradient-norm"):
        raise ConfigError(
            "a context follows from earlier segments only",
            got=text,
            remedy="A gradient norm needs the future; the benchmark reports it. Use "
            + ", ".join(SIGNALS)
            + ".",
        )
    if signal not in SIGNALS:
        raise ConfigError(
            f"the signal of an adaptive pattern is {', '.join(SIGNALS)}",
            got=text,
            remedy=did_you_mean(signal, SIGNALS),
        )
    if len(numbers) not in (1, 4):
        raise ConfigError(
            f"the pattern adaptive is written {_FORMS['adaptive']}[:START:LOW:HIGH]", got=text
        )
    try:
        threshold = float(numbers[0])
    except ValueError:
        raise ConfigError("THRESHOLD of a pattern is a number", got=text) from None
    sizes = [
        _whole(part, letter, text)
        for part, letter in zip(numbers[1:], ("START", "LOW", "HIGH"), strict=False)
    ]
    return ContextPolicy(signal, threshold, *sizes)
