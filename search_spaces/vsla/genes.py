"""Pattern genes of the `vsla` space: one for each head that can add something, behind the genes of its weights.

What a head needs comes first, then what sees less. A head that looks at places needs only as many
tokens as its weights reach: `local:auto` is the local pattern of that window, which loses nothing, so
that neither `full` nor a longer window is worth a choice. A head that looks at what is there needs
them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clso.models.attention_contexts import ContextPolicy
from clso.models.attention_patterns import Adaptive, Full, Local, Pattern, parse_pattern
from clso.space import Gene

__all__ = ["AUTO", "POLICIES", "Head", "Label", "pattern_genes", "pattern_of", "sizes_of"]

Head = tuple[int, int]
"""A layer, and a head's place in it."""
Label = tuple[str, str]
"""A gene's name, and one of its labels."""

AUTO = "local:auto"
"""The label of the local pattern whose window is what the head's weights reach."""
POLICIES: Mapping[str, tuple[str, float]] = {
    # Thresholds: a quantile of the signal over the statistics text; bits of attention for the diversity.
    f"adaptive {signal} {threshold:g}": (signal, threshold)
    for signal, thresholds in (
        ("entropy", (0.5, 0.8)),
        ("perplexity", (0.5, 0.8)),
        ("diversity", (3.0, 5.0)),
    )
    for threshold in thresholds
}
"""The signal and the threshold of an adaptive pattern, by its label."""
_CONTEXT = 64, 16, 256  # of an adaptive pattern: at first, at least, at most
_WINDOWS = (256, 128, 64, 32, 16, 8, 4, 2)
_CHOICES = {
    "full": ("full",),
    "local": tuple(f"local:{window}" for window in _WINDOWS),
    "sparse": ("sparse:16:8", "sparse:16:2"),
    "pyramid": ("pyramid:128", "pyramid:32", "pyramid:8"),
    "adaptive": tuple(POLICIES),
}


def pattern_genes(
    heads: Mapping[Head, Sequence[Label]],
    kinds: Sequence[str],
    reaches: Mapping[Head, int],
    n_positions: int,
) -> tuple[Gene, ...]:
    """Of every head, in this order; each comes with the labels that switch it off, by gene. `reaches`
    are the most tokens that the heads which look at places need."""
    return tuple(
        Gene(
            f"h.{layer}.{place}.pattern",
            _choices(kinds, reaches.get((layer, place)), n_positions),
            tuple(off),
            saving="full" in kinds,
        )
        for (layer, place), off in heads.items()
    )


def _choices(kinds: Sequence[str], reach: int | None, n_positions: int) -> tuple[str, ...]:
    has_auto = reach is not None and "full" in kinds and "local" in kinds
    found = [AUTO] if has_auto else []
    enough = reach if has_auto and reach is not None else n_positions
    for kind in kinds:
        if kind == "local":
            found += [f"local:{window}" for window in _WINDOWS if window < enough]
        elif kind != "full" or not has_auto:
            found += _CHOICES[kind]
    return tuple(found) or _CHOICES["local"][-1:]  # of two tokens


def pattern_of(
    label: str, reach: int, n_positions: int, thresholds: Mapping[tuple[str, float], float]
) -> Pattern:
    """The pattern of a head that needs `reach` tokens; `thresholds` has each policy's in the signal's
    unit."""
    if label == AUTO:
        return Local(reach) if reach < n_positions else Full()
    if label in POLICIES:
        policy = POLICIES[label]
        return Adaptive(ContextPolicy(policy[0], thresholds[policy], *_CONTEXT))
    return parse_pattern(label)


def sizes_of(gene: Gene, n_positions: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """For a surrogate, the logarithm of how many tokens each choice sees, or begins with: (choices, 1)."""
    numbers = {
        AUTO: n_positions,
        "full": n_positions,
        **dict.fromkeys(POLICIES, _CONTEXT[0]),
    }
    found = [
        numbers[label] if label in numbers else int(np.prod([*map(int, label.split(":")[1:])]))
        for label in gene.choices
    ]
    return np.log2(np.array(found, dtype=np.float32))[:, None]
