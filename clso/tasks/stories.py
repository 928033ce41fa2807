"""Stories with a question, after the 20 tasks of bAbI (Weston et al. 2015, arXiv:1502.05698), in a
world and in words of our own. Every answer is exact, and follows from the story alone.

| kind | what is asked | kind | what is asked |
|---|---|---|---|
| 1, 2, 3 | where somebody or something is: 1 to 3 supporting facts | 14 | where somebody was before, by times of day |
| 4, 5 | relations of two and of three arguments | 15, 16 | deduction and induction |
| 6 | yes or no | 17 | positions on a grid |
| 7, 8 | how many things somebody carries, and which | 18 | sizes |
| 9, 10 | negation, indefinite knowledge | 19 | paths |
| 11, 12, 13 | pronouns, conjunctions, pronouns for several | 20 | motives |

An object that changes hands is followed: it is wherever its holder is. Where bAbI's stories have an
answer of several words (a list, a path) it is one class here, as it is there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError
from clso.tasks.base import Tokens
from clso.tasks.generated import GeneratedOptions, GeneratedTask
from clso.tasks.story_logic import ANIMALS, COLOURS, LOGIC, NAMES, PATHS, STATES
from clso.tasks.story_world import COUNTS, PEOPLE, PLACES, SETS, THINGS, WORLD, Kind

__all__ = ["KINDS", "Stories"]

KINDS: dict[int, Kind] = dict(sorted({**WORLD, **LOGIC}.items()))
"""Generators by number."""

_LONGEST_SENTENCE, _LONGEST_QUESTION = 9, 11
_TRUTH = ("yes", "no")
_ANSWERS: dict[int, tuple[str, ...]] = {
    **dict.fromkeys((1, 2, 3, 4, 11, 12, 13, 14), PLACES),
    **dict.fromkeys((6, 9, 17, 18), _TRUTH),
    5: (*PEOPLE, *THINGS),
    7: COUNTS,
    8: SETS,
    10: (*_TRUTH, "maybe"),
    15: tuple(ANIMALS.values()),
    16: COLOURS,
    19: PATHS,
    20: (*STATES.values(), *STATES),
}
_WALK = (*PEOPLE, *PLACES, "went to the . ?")
_CARRY = (*_WALK, *THINGS, "took dropped")
_GRID = (*PLACES, "the is north south east west of . ?")
_WORDS: dict[int, tuple[str, ...]] = {
    1: (*_WALK, "where is"),
    2: (*_CARRY, "where is"),
    3: (*_CARRY, "where was before"),
    4: (*_GRID, "what"),
    5: (*PEOPLE, *THINGS, "gave give the to who what did . ?"),
    6: (*_WALK, "is in"),
    7: (*_CARRY, "how many things is carrying"),
    8: (*_CARRY, "what is carrying"),
    9: (*PEOPLE, *PLACES, "is in not the . ?"),
    10: (*PEOPLE, *PLACES, "is in or the . ?"),
    11: (*_WALK, "then he she where is"),
    12: (*_WALK, "and where is"),
    13: (*_WALK, "and then they where is"),
    14: (*_WALK, "yesterday this morning afternoon evening where was before"),
    15: (*NAMES, *ANIMALS, *ANIMALS.values(), "is a are afraid of what . ?"),
    16: (*NAMES, "swan lion frog rhino", *COLOURS, "is a what colour . ?"),
    17: ("circle square star triangle the is above below left right of . ?",),
    18: ("ring cup box chest crate the fits fit in is bigger than does . ?",),
    19: (*_GRID, "how do you go from to"),
    20: (*PEOPLE, *STATES, *STATES.values(), "is went to the where will go why did . ?"),
}


@dataclass(frozen=True)
class _StoryOptions(GeneratedOptions):
    kind: int = 1
    """Which of the 20 kinds; 0: all of them, mixed."""
    min_sentences: int = 4
    """Sentences of the shortest story."""
    max_sentences: int = 12
    """Sentences of the longest story; kinds about few things stop earlier."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in (0, *KINDS):
            raise ConfigError("kind is from 1 to 20, or 0 for all", got=self.kind)
        self.at_least("min_sentences", 3)
        self.at_least("max_sentences", max(4, self.min_sentences))


class Stories(GeneratedTask):
    """One question about a story; the option `kind` says what it takes to answer it."""

    name = "stories"
    Options: ClassVar[type] = _StoryOptions
    lengths = ("min_sentences", "max_sentences")
    options: _StoryOptions

    @property
    def _kinds(self) -> tuple[int, ...]:
        return (self.options.kind,) if self.options.kind else tuple(KINDS)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The answer that each class stands for."""
        return tuple(dict.fromkeys(a for kind in self._kinds for a in _ANSWERS[kind]))

    @property
    def n_classes(self) -> int:  # type: ignore[override]
        return len(self.classes)

    @cached_property
    def vocab(self) -> tuple[str, ...]:
        words = (word for kind in self._kinds for text in _WORDS[kind] for word in text.split())
        return ("<pad>", *dict.fromkeys(words))

    @property
    def n_positions(self) -> int:
        return _LONGEST_SENTENCE * self.options.max_sentences + _LONGEST_QUESTION

    @property
    def separator(self) -> int:
        return self._ids["."]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.vocab)}

    def token_features(self, tokens: Tokens) -> dict[str, npt.NDArray[np.float64]]:
        """How many sentences have ended before each token, and its position."""
        ends = np.concatenate(([False], tokens[:-1] == self.separator))
        return {"sentence": np.cumsum(ends, dtype=np.float64), **super().token_features(tokens)}

    def alike(self, tokens: Tokens, rng: random.Random) -> Tokens:
        """The story with its people (and animals) under each other's names."""
        new = np.arange(len(self.vocab), dtype=np.uint16)
        for names in (PEOPLE, NAMES):
            known = [self._ids[name] for name in names if name in self._ids]
            new[known] = rng.sample(known, len(known))
        return new[tokens]

    def _draw(self, rng: random.Random) -> tuple[list[int], int]:
        o = self.options
        while True:
            kind = rng.choice(self._kinds)
            story = KINDS[kind](rng, rng.randint(o.min_sentences, o.max_sentences))
            if story is not None:
                told, question, answer = story
                words = " ".join([*told, question]).split()
                return [self._ids[word] for word in words], self.classes.index(answer)
