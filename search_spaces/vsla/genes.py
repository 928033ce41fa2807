"""Pattern genes of the `vsla` space: three for each head, behind the genes of its weights.

`pattern` is the kind, `window` its width in tokens (for `sparse`, of all chosen blocks together), and
`policy` what an adaptive context follows. Genes that a kind does not read change nothing.
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
    "pattern_genes",
    "patterns_of",
    "picks",
]

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


def pattern_genes(n_layers: int, n_heads: int, kinds: Sequence[str]) -> tuple[Gene, ...]:
    """Of every head of every layer, layers first."""
    windows = tuple(map(str, WINDOWS))
    policies = tuple(f"{signal} {threshold:g}" for signal, threshold in POLICIES)
    genes: list[Gene] = []
    for layer in range(n_layers):
        for head in range(n_heads):
            name = f"h.{layer}.{head}"
            of_pattern = [(f"{name}.pattern", kind) for kind in kinds]
            genes += [
                Gene(f"{name}.pattern", tuple(kinds)),
                Gene(f"{name}.window", windows, tuple(p for p in of_pattern if p[1] == "full")),
                Gene(
                    f"{name}.policy", policies, tuple(p for p in of_pattern if p[1] != "adaptive")
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
    genome: Genome,
    n_heads: int,
    kinds: Sequence[str],
    thresholds: Mapping[tuple[str, float], float],
) -> list[list[Pattern]]:
    """By layer and head, of the pattern genes alone; `thresholds` has each policy's in the signal's unit."""
    heads = []
    for at in range(0, len(genome), PER_HEAD):
        kind, window, policy = genome[at : at + PER_HEAD]
        heads.append(_pattern(kinds[kind], WINDOWS[window], POLICIES[policy], thresholds))
    return [heads[at : at + n_heads] for at in range(0, len(heads), n_heads)]


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
