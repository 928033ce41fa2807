"""Genes of the grown `gpt2` space: which grown parts a model has, and how strongly each of them
speaks.

Structure genes pick crystals: the embedding/head codes, the pattern of the context head, the hidden
units of the MLP. Gain genes pick one of a few values. `alleles_of` reads a genome by the genes'
names, `genome_of` writes one. `default_genome` holds round numbers, not tuned."""

from __future__ import annotations

from collections.abc import Mapping

from clso.grown.codes import CodeFamily
from clso.grown.layout import Layout
from clso.models.gpt2 import GPT2Config
from clso.space import Gene, Genome

__all__ = [
    "CONTEXTS",
    "GAIN_VALUES",
    "GENE_NAMES",
    "MLPS",
    "MLP_GAIN_VALUES",
    "NEURON_SHARES",
    "alleles_of",
    "code_families",
    "default_genome",
    "gene_names",
    "genome_of",
    "grown_genes",
    "layout_of",
]

_SHARES = (0.53, 0.33)  # codes and names, of the residual dimensions that are not reserved
_FAMILIES = (
    # smoothing, discount, weight of unseen pairs
    (0.7, 0.4, 0.003),
    (1.0, 0.6, 0.007),
)

CONTEXTS: tuple[tuple[str, float], ...] = (
    ("lag", 1),
    ("decay", 3),
    ("decay", 5),
    ("decay", 8),
    ("decay", 12),
)
"""Patterns of the context head: ("lag", k back) or ("decay", tau in positions)."""

GAIN_VALUES: dict[str, tuple[float, ...]] = {
    # What the context head adds to the bigram code; 0 switches the head off.
    "context.gain": (0.0, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4),
    # Scale of the bigram logits.
    "temperature": (0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05),
    # Occurrences from which a token counts as common: rarity = -log(1 + count / half_count), less
    # its mean over a text. What follows is therefore said of a typical token, and the strengths do not
    # depend on the slopes.
    "rarity.half_count": (8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0),
    # Rarity's power in the boost that a copied token gets, and in the strength of a copied name.
    "copy.rare_boost": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65),
    "copy.rare_value": (-0.1, 0.0, 0.05, 0.1, 0.15, 0.2),
    # Rarity's slope in the unigram bias.
    "bias.rarity": (-0.2, -0.15, -0.1, -0.05, 0.0, 0.05),
    # Scores of the copy head: rarity of the token to copy, match of its predecessor with the
    # current token, sink.
    "copy.salience": (0.0, 0.25, 0.5, 1.0, 1.5),
    "copy.match": (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0),
    "copy.sink": (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    # Logits that a copied token gains; 0 switches the head off.
    "copy.gain": (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0),
}

_SWITCHES = {
    "context": "context.gain",
    **dict.fromkeys(
        ("copy.salience", "copy.match", "copy.sink"),
        "copy.gain",
    ),
}
"""Genes of a head, and the gain that switches it off."""

MLPS: tuple[tuple[str, int], ...] = (
    ("off", 0),
    ("random-feature", 64),
    ("block-sparse", 64),
    ("low-rank", 64),
)
"""Families of `clso.grown.features` with their hidden units; allele 0 is off."""

MLP_GAIN_VALUES = (0.5, 1.0, 1.5, 2.0)
"""What the hidden units add to the code, as a share of what was fitted."""

NEURON_SHARES = (0.0, 0.25, 0.5, 1.0)
"""Neurons, as a share of those that there is room for; 0 is off."""

_PLAIN = ("codes", "context", *GAIN_VALUES)
_MLP, _NEURONS = ("mlp", "mlp.gain"), ("neurons",)
GENE_NAMES = (*_PLAIN, *_MLP, *_NEURONS)
"""In genome order; genomes of a space without the genes of an MLP, or of neurons, lack those."""

_DEFAULTS = {
    "codes": 0,
    "context": 1,
    "context.gain": 0.6,
    "temperature": 1.0,
    "rarity.half_count": 64.0,
    "copy.rare_boost": 0.3,
    "copy.rare_value": 0.0,
    "bias.rarity": 0.0,
    "copy.salience": 0.5,
    "copy.match": 6.0,
    "copy.sink": 6.0,
    "copy.gain": 4.0,
}


def layout_of(config: GPT2Config) -> Layout:
    """The split of a model's residual dimensions. All code families share it, so that any mix of
    them is one batch."""
    return Layout.by_shares(config.d_model, config.d_model // config.n_heads, *_SHARES)


def code_families(config: GPT2Config) -> tuple[CodeFamily, ...]:
    """The families of codes that the first gene picks from."""
    rank = layout_of(config).code
    return tuple(
        CodeFamily(rank, smoothing=s, discount=d, unseen_weight=u) for s, d, u in _FAMILIES
    )


def grown_genes(config: GPT2Config, mlp: bool = False, neurons: bool = False) -> tuple[Gene, ...]:
    """Codes, context pattern, gains; with `mlp`, then the MLP's units and their gain; with `neurons`, then
    their share."""
    contexts = tuple(f"{kind} {size:g}" for kind, size in CONTEXTS)
    shares = tuple(f"{share:g}" for share in NEURON_SHARES)
    # Neurons know names at one size, so a genome that has any reads this gain as 0.
    off = {"copy.rare_value": tuple(("neurons", s) for s in shares[1:])} if neurons else {}
    gains = (
        Gene(name, tuple(f"{g:g}" for g in values), off.get(name, _unless(name)))
        for name, values in GAIN_VALUES.items()
    )
    genes = (
        Gene("codes", tuple(f.label for f in code_families(config))),
        # Hidden units read what the context's pattern sees, also where the head adds nothing.
        Gene("context", contexts, () if mlp else _unless("context")),
        *gains,
    )
    if mlp:
        families = tuple(f"{family} {size}" if size else family for family, size in MLPS)
        gain = Gene("mlp.gain", tuple(f"{g:g}" for g in MLP_GAIN_VALUES), (("mlp", "off"),))
        genes = (*genes, Gene("mlp", families), gain)
    if neurons:
        genes = (*genes, Gene("neurons", shares))
    return genes


def gene_names(n: int) -> tuple[str, ...]:
    """Names of the genes of genomes with `n` of them, whose space has those of an MLP, of neurons, both or none."""
    optional = {0: (), len(_NEURONS): _NEURONS, len(_MLP): _MLP}
    return (*_PLAIN, *optional.get(n - len(_PLAIN), (*_MLP, *_NEURONS)))


def _unless(name: str) -> tuple[tuple[str, str], ...]:
    return ((_SWITCHES[name], "0"),) if name in _SWITCHES else ()


def alleles_of(genome: Genome) -> dict[str, int]:
    """The genome's alleles by the genes' names; an MLP and neurons are off if the genome lacks their genes."""
    names = gene_names(len(genome))
    return {"mlp": 0, "neurons": 0, **dict(zip(names, genome, strict=True))}


def genome_of(values: Mapping[str, float]) -> Genome:
    """The genome whose structure genes are these alleles, and whose gains have these values.

    Raises `ValueError` for a value that a gain does not have.
    """
    gains = {**GAIN_VALUES, "mlp.gain": MLP_GAIN_VALUES, "neurons": NEURON_SHARES}
    return tuple(
        gains[name].index(values[name]) if name in gains else int(values[name])
        for name in GENE_NAMES
        if name in values
    )


def default_genome(mlp: bool = False, neurons: bool = False) -> Genome:
    """The default genome; with `mlp`, of a space that has the MLP's genes, which it leaves off; with `neurons`, of one
    that has theirs, all of which it uses."""
    values = {**_DEFAULTS, "mlp": 0, "mlp.gain": 1.0} if mlp else dict(_DEFAULTS)
    return genome_of({**values, "neurons": 1.0} if neurons else values)
