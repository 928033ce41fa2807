"""Stories of people who walk between places, take things, drop them and give them away: kinds 1 to 3
and 5 to 14 of `clso.tasks.stories`.

A kind is a function of a random stream and a number of sentences. It gives the sentences, a question
and the answer, or None if nothing can be asked yet."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

__all__ = ["COUNTS", "PEOPLE", "PLACES", "SETS", "THINGS", "WORLD", "Kind", "Story"]

Story = tuple[list[str], str, str] | None
Kind = Callable[[random.Random, int], Story]

PEOPLE = ("anna", "bela", "carlo", "dana")
PLACES = ("attic", "cellar", "garden", "kitchen", "library", "stable")
THINGS = ("book", "lamp", "rope")
COUNTS = ("none", "one", "two", "three")
SETS = ("nothing", *(",".join(s) for n in (1, 2, 3) for s in combinations(THINGS, n)))
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
_PRONOUNS = {"anna": "she", "bela": "he", "carlo": "he", "dana": "she"}


@dataclass
class _World:
    """Where everybody is, who holds what, and every place that a thing has been in since it was
    first taken."""

    place: dict[str, str] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    been: dict[str, list[str]] = field(default_factory=dict)

    def step(self, rng: random.Random, things: bool) -> str:
        """One thing that happens, as a sentence."""
        person = rng.choice(PEOPLE)
        here = self.place.get(person)
        deeds = [f"dropped {thing}" for thing, holder in self.holder.items() if holder == person]
        if here is not None:
            free = [thing for thing in THINGS if thing not in self.holder]
            deeds += [f"took {thing}" for thing in free if self.been.get(thing, [here])[-1] == here]
        if not things or not deeds or rng.random() < 0.5:
            there = rng.choice([p for p in PLACES if p != here])
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

    def carried(self, person: str) -> list[str]:
        """Sorted."""
        return sorted(thing for thing, holder in self.holder.items() if holder == person)


def _supporting(facts: int, rng: random.Random, n: int) -> Story:
    """Kinds 1 to 3: one, two or three supporting facts."""
    world = _World()
    told = [world.step(rng, facts > 1) for _ in range(n)]
    if facts == 1:
        person = rng.choice(sorted(world.place))
        return told, f"where is {person} ?", world.place[person]
    known = sorted(thing for thing, been in world.been.items() if len(been) >= facts - 1)
    if not known:
        return None
    thing = rng.choice(known)
    been = world.been[thing]
    if facts == 2:
        return told, f"where is the {thing} ?", been[-1]
    last = rng.randrange(1, len(been))
    # "Before the attic" means before the last time that it came there.
    last = max(i for i, place in enumerate(been) if place == been[last])
    return told, f"where was the {thing} before the {been[last]} ?", been[last - 1]


def _giving(rng: random.Random, n: int) -> Story:
    """Kind 5: three-argument relations. The last giving that fits is asked for."""
    holder = {thing: rng.choice(PEOPLE) for thing in THINGS}
    told, given = [], []
    for _ in range(n):
        thing = rng.choice(THINGS)
        who, to = holder[thing], rng.choice([p for p in PEOPLE if p != holder[thing]])
        holder[thing] = to
        given.append((who, thing, to))
        told.append(f"{who} gave the {thing} to {to} .")
    who, thing, to = given[rng.randrange(max(0, n - 3), n)]
    if rng.random() < 0.5:
        answer = next(w for w, t, o in reversed(given) if (t, o) == (thing, to))
        return told, f"who gave the {thing} to {to} ?", answer
    answer = next(t for w, t, o in reversed(given) if (w, o) == (who, to))
    return told, f"what did {who} give to {to} ?", answer


def _yes_no(rng: random.Random, n: int) -> Story:
    """Kind 6: yes or no."""
    world = _World()
    told = [world.step(rng, False) for _ in range(n)]
    person = rng.choice(sorted(world.place))
    here = world.place[person]
    is_true = rng.random() < 0.5
    asked = here if is_true else rng.choice([p for p in PLACES if p != here])
    return told, f"is {person} in the {asked} ?", "yes" if is_true else "no"


def _carrying(in_words: bool, rng: random.Random, n: int) -> Story:
    """Kinds 7 and 8: how many things somebody carries, and which."""
    world = _World()
    told = [world.step(rng, True) for _ in range(n)]
    # Mostly somebody who had something: nearly everybody carries nothing.
    busy = sorted({s.split()[0] for s in told if " took " in s})
    person = rng.choice(busy if busy and rng.random() < 0.8 else PEOPLE)
    carried = world.carried(person)
    if in_words:
        return told, f"what is {person} carrying ?", ",".join(carried) or "nothing"
    return told, f"how many things is {person} carrying ?", COUNTS[len(carried)]


def _negation(rng: random.Random, n: int) -> Story:
    """Kind 9: simple negation. The last sentence of a person holds."""
    told, last = [], {}
    for _ in range(n):
        person, place, is_there = rng.choice(PEOPLE), rng.choice(PLACES), rng.random() < 0.65
        last[person] = (place, is_there)
        told.append(f"{person} is {'in' if is_there else 'not in'} the {place} .")
    person = rng.choice(sorted(last))
    place, is_there = last[person]
    if is_there and rng.random() < 0.3:
        return told, f"is {person} in the {rng.choice([p for p in PLACES if p != place])} ?", "no"
    return told, f"is {person} in the {place} ?", "yes" if is_there else "no"


def _indefinite(rng: random.Random, n: int) -> Story:
    """Kind 10: indefinite knowledge."""
    told, last = [], {}
    for _ in range(n):
        person = rng.choice(PEOPLE)
        places = rng.sample(PLACES, rng.randint(1, 2))
        last[person] = places
        if len(places) == 1:
            told.append(f"{person} is in the {places[0]} .")
        else:
            told.append(f"{person} is in the {places[0]} or the {places[1]} .")
    person = rng.choice(sorted(last))
    places = last[person]
    if rng.random() < 0.3:
        return (
            told,
            f"is {person} in the {rng.choice([p for p in PLACES if p not in places])} ?",
            "no",
        )
    answer = "yes" if len(places) == 1 else "maybe"
    return told, f"is {person} in the {rng.choice(places)} ?", answer


def _together(several: bool, refers: bool, rng: random.Random, n: int) -> Story:
    """Kinds 11 to 13: pronouns, conjunctions, and pronouns for several people."""
    told: list[str] = []
    place: dict[str, str] = {}
    group: list[str] = []
    for _ in range(n):
        there = rng.choice(PLACES)
        if group and refers and rng.random() < 0.5:
            word = "they" if several else _PRONOUNS[group[0]]
            told.append(f"then {word} went to the {there} .")
        else:
            group = rng.sample(PEOPLE, 2 if several else 1)
            told.append(f"{' and '.join(group)} went to the {there} .")
        place.update(dict.fromkeys(group, there))
    person = rng.choice(sorted(place))
    return told, f"where is {person} ?", place[person]


def _times(rng: random.Random, n: int) -> Story:
    """Kind 14: time. Told in any order; each person is in a place once."""
    facts = rng.sample([(p, t) for p in PEOPLE for t in range(len(TIMES))], min(n, 16))
    routes = {person: rng.sample(PLACES, len(TIMES)) for person in PEOPLE}
    told = [f"{TIMES[t]} {person} went to the {routes[person][t]} ." for person, t in facts]
    known = {p: sorted(t for person, t in facts if person == p) for p in PEOPLE}
    able = [p for p in PEOPLE if len(known[p]) > 1]
    if not able:
        return None
    person = rng.choice(able)
    i = rng.randrange(1, len(known[person]))
    before, after = (routes[person][known[person][j]] for j in (i - 1, i))
    return told, f"where was {person} before the {after} ?", before


WORLD: dict[int, Kind] = {
    1: partial(_supporting, 1),
    2: partial(_supporting, 2),
    3: partial(_supporting, 3),
    5: _giving,
    6: _yes_no,
    7: partial(_carrying, False),
    8: partial(_carrying, True),
    9: _negation,
    10: _indefinite,
    11: partial(_together, False, True),
    12: partial(_together, True, False),
    13: partial(_together, True, True),
    14: _times,
}
