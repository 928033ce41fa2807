"""The genes of `vsm`, and what a genome means: which levels a controller has and how each is set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clso.errors import ConfigError
from clso.space import Gene, Genome

__all__ = [
    "DEFAULT",
    "GENES",
    "GREEDY",
    "LEVELS",
    "Anatomy",
    "anatomy",
    "genome_of",
    "stored_anatomy",
]

LEVELS = ("S1", "S2", "S3", "S4", "S5", "purple")

GREEDY = 0
"""The power that stands for: the best score, whatever the others are."""

_POWERS = {"1": 1, "2": 2, "4": 4, "8": 8, "16": 16, "greedy": GREEDY}
_SWITCH = ("off", "on")
_NO_HABITS = (("s2", "off"), ("s2", "facts"))

GENES: tuple[Gene, ...] = (
    Gene("s1", ("off", "table", "crystal", "random")),
    Gene("s1_prior", ("1", "4", "16")),
    Gene("practice_power", ("1", "2", "4", "8")),
    Gene("exam_power", ("2", "4", "8", "16", "greedy")),
    Gene("s2", ("off", "facts", "habits", "facts+habits")),
    Gene("s2_rows", ("64", "128", "256"), _NO_HABITS),
    Gene("s2_support", ("2", "3", "5"), _NO_HABITS),
    Gene("s2_confidence", ("0.6", "0.8", "0.95"), _NO_HABITS),
    Gene("s3", ("off", "16", "64", "256")),
    Gene("s3_closeness", ("0.3", "0.6", "0.9"), (("s3", "off"),)),
    Gene("s4", ("off", "1", "2", "3")),
    Gene("s4_beam", ("2", "4", "8"), (("s4", "off"),)),
    Gene("s5", ("off", "fact", "fact+refusal", "fact+order", "fact+order+refusal")),
    Gene("purple", ("off", "betti", "revisits", "no-progress", "random")),
    Gene("purple_threshold", ("1", "2", "3", "6"), (("purple", "off"),)),
    Gene("purple_response", ("legal", "unstack", "deeper"), (("purple", "off"),)),
    Gene("purple_length", ("1", "2", "4"), (("purple", "off"),)),
    Gene("habits", _SWITCH),
    Gene("model", _SWITCH),
    Gene("explosive", _SWITCH),
    Gene("curriculum", ("flat", "rising")),
    Gene("loops", ("kept", "erased")),
)


@dataclass(frozen=True)
class Anatomy:
    """A controller's levels and settings. "off" is a level that is not there."""

    s1: str
    s1_prior: float
    """Offers that a pattern is taken to have had before any was counted."""
    practice_power: int
    """Actions are drawn by this power of their scores in practice."""
    exam_power: int
    """As `practice_power`, in exams; `GREEDY` takes the best."""
    s2: str
    s2_rows: int
    s2_support: int
    """Times that a habit was counted, at least, before it acts."""
    s2_confidence: float
    """Share of the counts of a situation that its habit has, at least."""
    s3: str
    s3_closeness: float
    """Look ahead only if the second-best score is at least this share of the best."""
    s4: str
    s4_beam: int
    s5: str
    purple: str
    purple_threshold: int
    purple_response: str
    purple_length: int
    habits: bool
    """Whether S1's table and S2's habits are counted."""
    model: bool
    """Whether S4's legality is counted and S1's read-out fitted."""
    explosive: bool
    """Whether the Purple Line's alarm is heard."""
    rising: bool
    """Whether practice begins with few blocks."""
    erase_loops: bool
    purple_rate: float = 0.05
    """Alarms a decision, of the alarm at random."""

    @property
    def move_facts(self) -> bool:
        return "facts" in self.s2

    @property
    def habit_table(self) -> bool:
        return "habits" in self.s2

    @property
    def final_fact(self) -> bool:
        return self.s5 != "off"

    @property
    def refusal(self) -> bool:
        return "refusal" in self.s5

    @property
    def goal_order(self) -> bool:
        return "order" in self.s5

    @property
    def depth(self) -> int:
        """Moves that S4 looks ahead; 0 without it."""
        return 0 if self.s4 == "off" else int(self.s4)

    @property
    def budget(self) -> int | None:
        """Nodes an episode that S3 lets S4 look at; None: no limit."""
        return None if self.s3 == "off" else int(self.s3)

    @property
    def alarm(self) -> str:
        return self.purple if self.explosive else "off"

    @property
    def present(self) -> tuple[str, ...]:
        """The levels that are not off."""
        return tuple(level for level in LEVELS if getattr(self, level.lower()) != "off")

    def without(self, levels: Collection[str]) -> Anatomy:
        """The same with some levels off. Raises `ConfigError` for one that there is not."""
        for level in levels:
            if level not in LEVELS:
                raise ConfigError(
                    "an unknown level", got=level, remedy=f"Levels: {', '.join(LEVELS)}."
                )
        off: dict[str, Any] = {level.lower(): "off" for level in levels}
        return replace(self, **off)

    def only(self, levels: Collection[str]) -> Anatomy:
        """The same with all other levels off. Raises `ConfigError` for one that there is not."""
        self.without(levels)
        return self.without([level for level in LEVELS if level not in levels])


DEFAULT: dict[str, str] = {
    "s1": "table",
    "s1_prior": "16",
    "practice_power": "1",
    "exam_power": "4",
    "s2": "facts+habits",
    "s2_rows": "128",
    "s2_support": "3",
    "s2_confidence": "0.8",
    "s3": "64",
    "s3_closeness": "0.6",
    "s4": "1",
    "s4_beam": "4",
    "s5": "fact+refusal",
    "purple": "revisits",
    "purple_threshold": "2",
    "purple_response": "unstack",
    "purple_length": "1",
    "habits": "on",
    "model": "on",
    "explosive": "on",
    "curriculum": "rising",
    "loops": "erased",
}
"""The hand-set genome, by the names of its alleles."""


def genome_of(alleles: dict[str, str], genes: Sequence[Gene] = GENES) -> Genome:
    """The genome with these alleles."""
    return tuple(gene.choices.index(alleles[gene.name]) for gene in genes)


def _on(allele: str) -> bool:
    return allele == "on"


_MEANING: dict[str, tuple[str, Callable[[str], Any]]] = {
    "s1": ("s1", str),
    "s1_prior": ("s1_prior", float),
    "practice_power": ("practice_power", _POWERS.__getitem__),
    "exam_power": ("exam_power", _POWERS.__getitem__),
    "s2": ("s2", str),
    "s2_rows": ("s2_rows", int),
    "s2_support": ("s2_support", int),
    "s2_confidence": ("s2_confidence", float),
    "s3": ("s3", str),
    "s3_closeness": ("s3_closeness", float),
    "s4": ("s4", str),
    "s4_beam": ("s4_beam", int),
    "s5": ("s5", str),
    "purple": ("purple", str),
    "purple_threshold": ("purple_threshold", int),
    "purple_response": ("purple_response", str),
    "purple_length": ("purple_length", int),
    "habits": ("habits", _on),
    "model": ("model", _on),
    "explosive": ("explosive", _on),
    "curriculum": ("rising", lambda allele: allele == "rising"),
    "loops": ("erase_loops", lambda allele: allele == "erased"),
}
"""Each gene's field of an `Anatomy`, and what an allele of it is there."""


def anatomy(alleles: Mapping[str, str]) -> Anatomy:
    """What a genome's alleles mean; `SearchSpace.describe` gives them."""
    return Anatomy(**{field: read(alleles[gene]) for gene, (field, read) in _MEANING.items()})


def stored_anatomy(stored: Mapping[str, Any]) -> Anatomy:
    """An anatomy from its fields, as a file has them. Raises `ValueError` for a value that no allele means,
    `KeyError` or `TypeError` for other fields than there are."""
    for gene in GENES:
        field, read = _MEANING[gene.name]
        value, meant = stored[field], [read(choice) for choice in gene.choices]
        if not any(type(value) is type(one) and value == one for one in meant):
            raise ValueError(f"{field} is one of {meant}, not {value!r}")
    rate = stored["purple_rate"]
    if type(rate) is not float or not 0.0 <= rate <= 1.0:
        raise ValueError(f"purple_rate is 0.0 to 1.0, not {rate!r}")
    return Anatomy(**stored)
