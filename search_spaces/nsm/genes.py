"""Genes of the grown `nsm` space: sizes that all layers share, and for each layer the crystals in
its slots.

`heads`, `states`, `gate`, `top_k` and `chunk` are `NSMConfig`'s. A layer's `router` says which
states a token writes to and reads, `leak` how fast states forget, `talk` what states hear of each
other, `read` where each head looks, and `gain` how much of what was fitted its read-out adds; 0
switches the layer off. `shared_alleles` and `layer_alleles` read a genome by these names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clso.grown.codes import CodeFamily
from clso.models.gpt2 import GPT2Config
from clso.models.nsm_mixer import GATES, GateKind
from clso.space import Gene, Genome

__all__ = [
    "GAINS",
    "LAYER",
    "N_CRYSTALS",
    "SHARED",
    "TEMPERATURES",
    "Head",
    "LayerPicks",
    "Shape",
    "default_genome",
    "grown_genes",
    "layer_alleles",
    "shared_alleles",
]

N_CRYSTALS = 6  # random crystals that a router or a communication slot picks from


@dataclass(frozen=True)
class Head:
    """What a head reads: tokens of the window by `pattern` and `size` (tokens), states for `states`
    of its attention."""

    pattern: Literal["lag", "decay"]
    size: float
    states: float

    @property
    def label(self) -> str:
        if self.states == 1:
            return "states"
        return f"{self.pattern} {self.size:g}" + (
            f" + {self.states:g} states" if self.states else ""
        )


_STATES = Head("decay", 8, 1.0)
_FAMILIES = (
    # smoothing, discount, weight of unseen pairs
    (0.7, 0.4, 0.003),
    (1.0, 0.6, 0.007),
)
READS: tuple[tuple[Head, ...], ...] = (
    (Head("decay", 5, 0.2),),
    (Head("decay", 3, 0.0), _STATES),
    (Head("lag", 1, 0.0), Head("decay", 5, 0.2)),
    (Head("decay", 2, 0.0), Head("decay", 8, 0.4)),
    (Head("lag", 1, 0.0), Head("lag", 2, 0.0), Head("decay", 6, 0.0), _STATES),
    (Head("decay", 1.5, 0.0), Head("decay", 4, 0.0), Head("decay", 10, 0.2), _STATES),
    (_STATES,),
)
"""Heads take their entry in turn."""
LEAKS: tuple[tuple[float, float], ...] = (
    (8, 8),
    (16, 16),
    (32, 32),
    (64, 64),
    (4, 32),
    (8, 64),
    (8, 128),
)
"""Time constants in tokens of the first and the last state; those between are geometric."""
STATES, HEADS, TOP_K, CHUNKS = (4, 8, 16), (1, 2, 4), (0, 1, 2), (8, 16, 32)
GAINS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4)
TEMPERATURES = (0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05)
SHARED = ("codes", "temperature", "states", "heads", "gate", "top_k", "chunk")
"""Genes that all layers share, first in the genome."""
LAYER = ("router", "leak", "talk", "read", "gain")
"""Genes of each layer, in turn."""


@dataclass(frozen=True)
class Shape:
    """Sizes that all layers share."""

    n_states: int
    n_heads: int
    gate: GateKind
    top_k: int
    chunk: int


@dataclass(frozen=True)
class LayerPicks:
    """Crystals of a layer; `router` and `talk` are 0 for none, else 1 + the index of a random
    crystal."""

    router: int
    leak: tuple[float, float]
    talk: int
    read: tuple[Head, ...]


def head_counts(d_model: int) -> tuple[int, ...]:
    """Numbers of heads that leave each of them 8 dimensions."""
    return tuple(h for h in HEADS if d_model % (2 * h) == 0 and d_model // h >= 8)


def code_families(rank: int) -> tuple[CodeFamily, ...]:
    return tuple(
        CodeFamily(rank, smoothing=s, discount=d, unseen_weight=u) for s, d, u in _FAMILIES
    )


def grown_genes(config: GPT2Config, rank: int) -> tuple[Gene, ...]:
    """The shared genes, then those of each layer."""

    def numbers(values: tuple[float, ...]) -> tuple[str, ...]:
        return tuple(f"{v:g}" for v in values)

    crystals = tuple(f"crystal-{i}" for i in range(N_CRYSTALS))
    alleles = {
        "codes": tuple(f.label for f in code_families(rank)),
        "temperature": numbers(TEMPERATURES),
        "states": numbers(STATES),
        "heads": numbers(head_counts(config.d_model)),
        "gate": GATES,
        "top_k": ("all", *numbers(TOP_K[1:])),
        "chunk": numbers(CHUNKS),
        "router": ("even", *crystals),
        "leak": tuple(f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in LEAKS),
        "talk": ("off", *crystals),
        "read": tuple(", ".join(head.label for head in heads) for heads in READS),
        "gain": numbers(GAINS),
    }
    layers = [
        Gene(f"{i}.{name}", alleles[name], () if name == "gain" else ((f"{i}.gain", "0"),))
        for i in range(config.n_layers)
        for name in LAYER
    ]
    return (*(Gene(name, alleles[name]) for name in SHARED), *layers)


def shared_alleles(genome: Genome) -> dict[str, int]:
    """The alleles that all layers share, by the genes' names."""
    return dict(zip(SHARED, genome, strict=False))


def layer_alleles(genome: Genome) -> list[dict[str, int]]:
    """Each layer's alleles, by the names in `LAYER`."""
    starts = range(len(SHARED), len(genome), len(LAYER))
    return [dict(zip(LAYER, genome[at : at + len(LAYER)], strict=True)) for at in starts]


def shape_of(config: GPT2Config, genome: Genome) -> Shape:
    """The sizes that a genome gives its layers."""
    allele = shared_alleles(genome)
    return Shape(
        n_states=STATES[allele["states"]],
        n_heads=head_counts(config.d_model)[allele["heads"]],
        gate=GATES[allele["gate"]],
        top_k=TOP_K[allele["top_k"]],
        chunk=CHUNKS[allele["chunk"]],
    )


def layers_of(genome: Genome) -> list[tuple[LayerPicks, float]]:
    """Crystals and gain of each layer."""
    return [
        (
            LayerPicks(a["router"], LEAKS[a["leak"]], a["talk"], READS[a["read"]]),
            GAINS[a["gain"]],
        )
        for a in layer_alleles(genome)
    ]


def default_genome(config: GPT2Config) -> list[Genome]:
    """Default genomes: layer 0 reads near tokens and even states; later layers are off, or read
    states routed by content."""
    shared = {
        "codes": 0,
        "temperature": TEMPERATURES.index(1.0),
        "states": STATES.index(8),
        "heads": min(1, len(head_counts(config.d_model)) - 1),
        "gate": 0,
        "top_k": 0,
        "chunk": CHUNKS.index(16),
    }
    wide = LEAKS.index((8, 64))
    near = {"router": 0, "leak": wide, "talk": 0, "read": 3, "gain": GAINS.index(0.8)}
    off = {"router": 0, "leak": wide, "talk": 0, "read": READS.index((_STATES,)), "gain": 0}
    routed = off | {"router": 2, "gain": GAINS.index(0.6)}

    def genome(later: dict[str, int]) -> Genome:
        layers = [near, *[later] * (config.n_layers - 1)]
        return (*(shared[n] for n in SHARED), *(layer[n] for layer in layers for n in LAYER))

    return [genome(off), genome(routed)] if config.n_layers > 1 else [genome(off)]
