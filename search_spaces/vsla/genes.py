"""Pattern genes of the `vsla` space: three for each head that can add something, behind the genes of its weights.

`pattern` is the kind, `window` its width in tokens (for `sparse`, of all chosen blocks together), and
`policy` what an adaptive context follows. What a kind does not read is inactive, and so are the genes of
a head that another gene switches off: such genomes stand for one candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clso.models.attention_contexts import ContextPolicy
from clso.models.attention_patterns import Adaptive, Full, Local, Pattern, Pyramid, Sparse
from clso.space import Gene, Genome

__all__ = [
    "PER_HEAD",
    "POLICIES",
    "WINDOWS",
    "Head",
    "Label",
    "pattern_genes",
    "patterns_of",
    "picks",
]

Head = tuple[int, int]
"""A layer, and a head's place in it."""
Label = tuple[str, str]
"""A gene's name, and one of its labels."""

WINDOWS = (2, 4, 8, 16, 32, 64, 128, 256)
PER_HEAD = 3
POLICIES: tuple[tuple[str, float], ...] = (
    # Thresholds: a quantile of the signal over the statistics text; bits of attention for the diversity.
    ("entropy", 0.5),
    ("entropy", 0.8),
    ("perplexity", 0.5),
    ("perplexity", 0.8),
    ("diversity", 3.0),
    ("diversity", 5.0),
)
_BLOCK = 16  # of sparse patterns


def pattern_genes(heads: Mapping[Head, Sequence[Label]], kinds: Sequence[str]) -> tuple[Gene, ...]:
    """Of every head, in this order; each comes with the labels that switch it off, by gene."""
    windows = tuple(map(str, WINDOWS))
    policies = tuple(f"{signal} {threshold:g}" for signal, threshold in POLICIES)
    genes: list[Gene] = []
    for (layer, place), off in heads.items():
        pattern = f"h.{layer}.{place}.pattern"
        of_pattern = [(pattern, kind) for kind in kinds]
        genes += [
            Gene(pattern, tuple(kinds), tuple(off)),
            Gene(
                f"h.{layer}.{place}.window",
                windows,
                tuple(p for p in of_pattern if p[1] == "full"),
                ordered=True,
            ),
            Gene(
                f"h.{layer}.{place}.policy",
                policies,
                tuple(p for p in of_pattern if p[1] != "adaptive"),
            ),
        ]
    return tuple(genes)


def picks(patterns: Sequence[tuple[str, int]], kinds: Sequence[str]) -> Genome:
    """Alleles of heads with these kinds and windows, and the first policy; for a kind not allowed, the first that is."""
    out: list[int] = []
    for kind, window in patterns:
        out += [kinds.index(kind) if kind in kinds else 0, WINDOWS.index(window), 0]
    return tuple(out)


def patterns_of(
    genome: Genome, kinds: Sequence[str], thresholds: Mapping[tuple[str, float], float]
) -> list[Pattern]:
    """Of the heads that have genes, of the pattern genes alone; `thresholds` has each policy's in the signal's unit."""
    found = []
    for at in range(0, len(genome), PER_HEAD):
        kind, window, policy = genome[at : at + PER_HEAD]
        found.append(_pattern(kinds[kind], WINDOWS[window], POLICIES[policy], thresholds))
    return found


def _pattern(
    kind: str, window: int, policy: tuple[str, float], thresholds: Mapping[tuple[str, float], float]
) -> Pattern:
    if kind == "full":
        return Full()
    if kind == "local":
        return Local(window)
    if kind == "sparse":
        return Sparse(_BLOCK, max(1, window // _BLOCK))
    if kind == "pyramid":
        return Pyramid(window)
    return Adaptive(
        ContextPolicy(policy[0], thresholds[policy], window, max(1, window // 4), 4 * window)
    )
