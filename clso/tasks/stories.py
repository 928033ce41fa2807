"""Stories that are answered from one, two or three of their sentences, after tasks 1 to 3 of bAbI
(Weston et al. 2015, arXiv:1502.05698), in a world of our own: people walk between places, take
things and drop them.

    one    where is PERSON ?                          the person's last move
    two    where is the THING ?                       who took (or dropped) it, and that person's last move (before that)
    three  where was the THING before the PLACE ?     who carried it, and the moves to the two places

An object that changes hands is followed: it is wherever its holder is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import ClassVar

from clso.errors import ConfigError
from clso.tasks.generated import GeneratedOptions, GeneratedTask

__all__ = ["Stories"]

_PEOPLE = ("anna", "bela", "carlo", "dana")
_PLACES = ("attic", "cellar", "garden", "kitchen", "library", "stable")
_THINGS = ("book", "lamp", "rope")
_WORDS = ("went", "to", "the", "took", "dropped", "where", "is", "was", "before", ".", "?")
_VOCAB = ("<pad>", *_PEOPLE, *_PLACES, *_THINGS, *_WORDS)
_ID = {word: i for i, word in enumerate(_VOCAB)}
_LONGEST_SENTENCE, _LONGEST_QUESTION = 6, 8


@dataclass(frozen=True)
class _StoryOptions(GeneratedOptions):
    facts: int = 1
    """Facts that an answer rests on."""
    min_sentences: int = 4
    """Sentences of the shortest story."""
    max_sentences: int = 12
    """Sentences of the longest story."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.facts not in (1, 2, 3):
            raise ConfigError("facts is 1, 2 or 3", got=self.facts)
        self.at_least("min_sentences", self.facts)
        self.at_least("max_sentences", max(4, self.min_sentences))


@dataclass
class _World:
    """Where everybody is, who holds what, and every place that a thing has been in since it was
    first taken."""

    place: dict[str, str] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    been: dict[str, list[str]] = field(default_factory=dict)

    def step(self, rng: random.Random, things: bool) -> str:
        """One thing that happens, as a sentence."""
        person = rng.choice(_PEOPLE)
        here = self.place.get(person)
        deeds = [f"dropped {thing}" for thing, holder in self.holder.items() if holder == person]
        if here is not None:
            free = [thing for thing in _THINGS if thing not in self.holder]
            deeds += [f"took {thing}" for thing in free if self.been.get(thing, [here])[-1] == here]
        if not things or not deeds or rng.random() < 0.5:
            there = rng.choice([p for p in _PLACES if p != here])
            self.place[person] = there
            for thing, holder in self.holder.items():
                if holder == person:
                    self.been[thing].append(there)
            return f"{person} went to the {there} ."
        deed, thing = rng.choice(deeds).split()
        if deed == "took":
            assert here is not None
            self.holder[thing] = person
            self.been.setdefault(thing, [here])
        else:
            del self.holder[thing]
        return f"{person} {deed} the {thing} ."

    def question(self, rng: random.Random, facts: int) -> tuple[str, str] | None:
        """A question and its answer, a place; None if nothing can be asked yet."""
        if facts == 1:
            person = rng.choice(sorted(self.place))
            return f"where is {person} ?", self.place[person]
        known = sorted(thing for thing, been in self.been.items() if len(been) >= facts - 1)
        if not known:
            return None
        thing = rng.choice(known)
        been = self.been[thing]
        if facts == 2:
            return f"where is the {thing} ?", been[-1]
        last = rng.randrange(1, len(been))
        # "Before the attic" means before the last time that it came there.
        last = max(i for i, place in enumerate(been) if place == been[last])
        return f"where was the {thing} before the {been[last]} ?", been[last - 1]


class Stories(GeneratedTask):
    """Where somebody or something is or was; the option `facts` says how many sentences the answer
    needs."""

    name = "stories"
    Options: ClassVar[type] = _StoryOptions
    n_classes = len(_PLACES)
    options: _StoryOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return _VOCAB

    @property
    def n_positions(self) -> int:
        return _LONGEST_SENTENCE * self.options.max_sentences + _LONGEST_QUESTION

    def _draw(self, rng: random.Random) -> tuple[list[int], int]:
        o = self.options
        while True:
            world = _World()
            sentences = [
                world.step(rng, o.facts > 1)
                for _ in range(rng.randint(o.min_sentences, o.max_sentences))
            ]
            asked = world.question(rng, o.facts)
            if asked is not None:
                question, place = asked
                return [
                    _ID[word] for word in " ".join([*sentences, question]).split()
                ], _PLACES.index(place)
