"""Genes of `gpt2-pointer`: the codes, what the first layer's heads look at, and the pointer's
numbers.

`alleles_of` reads a genome by the genes' names. `default_genome` holds round numbers near what a few
hand trials on valid text gave."""

from __future__ import annotations

from clso.grown.codes import CodeFamily
from clso.grown.patterns import N_POSITION_DIMS, PositionPattern, decaying, lag
from clso.models.gpt2 import GPT2Config
from clso.models.pointer import SCALARS
from clso.space import Gene, Genome

__all__ = [
    "CODE_START",
    "GAIN_VALUES",
    "GENE_NAMES",
    "alleles_of",
    "code_families",
    "context_patterns",
    "default_genome",
    "pointer_genes",
]

CODE_START = 2 + N_POSITION_DIMS
"""Residual dimensions before the code: LayerNorm's mean direction, the ballast, the position
codes."""

_CODES = (
    # share of the dimensions that the code gets, smoothing, discount
    (0.79, 1.0, 0.6),
    (0.79, 0.5, 0.6),
    (0.79, 0.5, 0.7),
    (0.53, 1.0, 0.6),
    (0.95, 1.0, 0.6),
)
_ITERATIONS = 8

_CONTEXTS: tuple[tuple[tuple[str, float], ...], ...] = (
    (("decay", 5),),
    (("decay", 1.25), ("decay", 5)),
    (("decay", 1.25), ("decay", 10)),
    (("decay", 2), ("decay", 20)),
    (("lag", 1), ("decay", 5)),
    (("lag", 1), ("lag", 2)),
)
"""What the heads of layer 0 look at: ("lag", positions back) or ("decay", tau in positions)."""

GAIN_VALUES: dict[str, tuple[float, ...]] = {
    # What the context heads add to the bigram code; 0 switches them off.
    "context.gain": (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    # Scale of the bigram logits.
    "temperature": (0.8, 0.85, 0.9, 0.95, 1.0, 1.05),
    # Occurrences from which a token counts as common: rarity = -log(1 + count / half_count).
    "rarity.half_count": (0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    # The pointer's scores; clso.models.pointer says what each does.
    "pointer.salience": (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    "pointer.match": (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
    "pointer.match_rarity": (0.0, 0.05, 0.1, 0.15, 0.2),
    "pointer.match_two": (0.0, 0.5, 1.0, 1.5, 2.0),
    "pointer.plausible": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    "pointer.own": (-6.0, -4.0, -3.0, -2.0, -1.0, 0.0),
    "pointer.fuzzy": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    "pointer.sink": (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
    "pointer.sink_position": (-0.2, 0.0, 0.2, 0.4, 0.6),
}

GENE_NAMES = ("codes", "contexts", *GAIN_VALUES)
"""In genome order."""

_DEFAULTS = {
    "context.gain": 0.5,
    "temperature": 1.0,
    "rarity.half_count": 1.0,
    "pointer.salience": 0.5,
    "pointer.match": 5.0,
    "pointer.match_rarity": 0.1,
    "pointer.match_two": 1.0,
    "pointer.plausible": 0.3,
    "pointer.own": -2.0,
    "pointer.fuzzy": 2.0,
    "pointer.sink": 1.0,
    "pointer.sink_position": 0.0,
}

assert {f"pointer.{name}" for name in SCALARS} <= set(GAIN_VALUES)


def code_families(config: GPT2Config) -> tuple[CodeFamily, ...]:
    """The code alleles for a model's sizes."""
    free = config.d_model - CODE_START
    return tuple(
        CodeFamily(
            max(1, round(share * free)),
            smoothing=smoothing,
            discount=discount,
            iterations=_ITERATIONS,
        )
        for share, smoothing, discount in _CODES
    )


def context_patterns(config: GPT2Config) -> tuple[tuple[PositionPattern, ...], ...]:
    """The context alleles: patterns of the heads of layer 0, at most one a head."""
    t = config.n_positions
    alleles = [
        tuple(lag(int(s), t) if kind == "lag" else decaying(s, t) for kind, s in c)
        for c in _CONTEXTS
    ]
    return tuple(patterns for patterns in alleles if len(patterns) <= config.n_heads)


def pointer_genes(config: GPT2Config) -> tuple[Gene, ...]:
    """Codes, context patterns, then the gains."""
    contexts = tuple(" + ".join(p.name for p in patterns) for patterns in context_patterns(config))
    gains = (Gene(name, tuple(f"{x:g}" for x in values)) for name, values in GAIN_VALUES.items())
    return (
        Gene("codes", tuple(f.label for f in code_families(config))),
        Gene("contexts", contexts, (("context.gain", "0"),)),
        *gains,
    )


def alleles_of(genome: Genome) -> dict[str, int]:
    """The genome's alleles by the genes' names."""
    return dict(zip(GENE_NAMES, genome, strict=True))


def default_genome() -> Genome:
    """The default genome: the first codes, the first context, round numbers."""
    gains = {name: values.index(_DEFAULTS[name]) for name, values in GAIN_VALUES.items()}
    alleles = {"codes": 0, "contexts": 0, **gains}
    return tuple(alleles[name] for name in GENE_NAMES)
