"""Genes of the grown `gpt2` space: which grown parts a model has, and how strongly each of them speaks.

Structure genes pick crystals: the embedding/head codes with their split of the residual dimensions, the pattern of the
context head, the hidden units of the MLP. Gain genes pick a number from a short ladder. `hand_set` is the default genome:
round numbers, not tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clso.crystals.grown.codes import CodeFamily
from clso.crystals.grown.layout import Layout
from clso.models.gpt2 import GPT2Config
from clso.space import Gene, Genome

__all__ = [
    "CONTEXTS",
    "GAINS",
    "MLPS",
    "MLP_GAINS",
    "CodeAllele",
    "code_alleles",
    "genome_of",
    "grown_genes",
    "hand_set",
]


@dataclass(frozen=True)
class CodeAllele:
    """Codes of one family, and the split of the residual dimensions that goes with their rank."""

    family: CodeFamily
    layout: Layout

    @property
    def label(self) -> str:
        return f"{self.family.label}, identity {self.layout.identity}, match {self.layout.match}"


_CODES = (
    # share of code dimensions, share of identity dimensions, smoothing, discount
    (0.39, 0.33, 1.0, 0.6),
    (0.39, 0.33, 0.5, 0.6),
    (0.48, 0.28, 1.0, 0.6),
)

CONTEXTS: tuple[tuple[str, float], ...] = (
    ("lag", 1),
    ("decay", 2),
    ("decay", 3),
    ("decay", 5),
    ("decay", 8),
)
"""Patterns of the context head: ("lag", k back) or ("decay", tau in positions)."""

GAINS: dict[str, tuple[float, ...]] = {
    # What the context head adds to the bigram code; 0 switches the head off.
    "context.gain": (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0),
    # Scale of the bigram logits.
    "temperature": (0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05),
    # Occurrences from which a token counts as common: rarity = -log(1 + count / knee).
    "rarity.knee": (8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
    # Rarity's power in the boost that a copied token gets, and in the strength of a copied name.
    "copy.rare_boost": (0.2, 0.35, 0.5, 0.65, 0.8, 0.95),
    "copy.rare_value": (-0.2, -0.1, 0.0, 0.1, 0.2),
    # Rarity's slope in the unigram bias.
    "bias.rarity": (-0.15, -0.1, -0.05, 0.0, 0.05),
    # Scores of the copy head: rarity of the token to copy, match of its predecessor with the current token, sink.
    "copy.salience": (0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "copy.match": (6.0, 8.0, 10.0, 12.0, 14.0, 16.0),
    "copy.sink": (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0),
    # Logits that a copied token gains; 0 switches the head off.
    "copy.gain": (0.0, 4.0, 7.0, 10.0, 12.0, 14.0, 16.0, 19.0),
}

MLPS: tuple[tuple[str, int], ...] = (("off", 0), ("random-feature", 64), ("block-sparse", 64), ("low-rank", 64))
"""Families of `clso.crystals.grown.features` with their hidden units; allele 0 is off."""

MLP_GAINS = (0.5, 1.0, 1.5, 2.0)
"""What the hidden units add to the code, as a share of what was fitted."""

_HAND_SET = {
    "codes": 0,
    "context": 2,
    "context.gain": 0.5,
    "temperature": 1.0,
    "rarity.knee": 64.0,
    "copy.rare_boost": 0.5,
    "copy.rare_value": 0.0,
    "bias.rarity": 0.0,
    "copy.salience": 1.0,
    "copy.match": 10.0,
    "copy.sink": 8.0,
    "copy.gain": 10.0,
}


def code_alleles(config: GPT2Config) -> tuple[CodeAllele, ...]:
    """The code alleles for a model's sizes."""
    alleles = []
    for code, identity, smoothing, discount in _CODES:
        layout = Layout.by_shares(config.d_model, config.d_model // config.n_heads, code, identity)
        alleles.append(CodeAllele(CodeFamily(layout.code, smoothing=smoothing, discount=discount), layout))
    return tuple(alleles)


def grown_genes(config: GPT2Config, mlp: bool = False) -> tuple[Gene, ...]:
    """Codes, context pattern, gains; with `mlp`, then the MLP's units and their gain."""
    contexts = tuple(f"{kind} {size:g}" for kind, size in CONTEXTS)
    gains = (Gene(name, tuple(f"{g:g}" for g in ladder)) for name, ladder in GAINS.items())
    genes = (Gene("codes", tuple(a.label for a in code_alleles(config))), Gene("context", contexts), *gains)
    if not mlp:
        return genes
    families = tuple(f"{family} {size}" if size else family for family, size in MLPS)
    return (*genes, Gene("mlp", families), Gene("mlp.gain", tuple(f"{g:g}" for g in MLP_GAINS)))


def genome_of(values: Mapping[str, float]) -> Genome:
    """The genome whose structure genes are these alleles, and whose gains have these values.

    Raises `ValueError` for a gain that is not on its ladder.
    """
    gains = (ladder.index(values[name]) for name, ladder in GAINS.items())
    genome = (int(values["codes"]), int(values["context"]), *gains)
    return (*genome, int(values["mlp"]), MLP_GAINS.index(values["mlp.gain"])) if "mlp" in values else genome


def hand_set(mlp: bool = False) -> Genome:
    """The default genome; with `mlp`, of the space that has the MLP's genes, which it leaves off."""
    return genome_of({**_HAND_SET, "mlp": 0, "mlp.gain": 1.0} if mlp else _HAND_SET)
