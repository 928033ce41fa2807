"""Stories of relations and rules: kinds 4 and 15 to 20 of `clso.tasks.stories`."""

from __future__ import annotations

import random
from itertools import pairwise

from clso.tasks.story_world import PEOPLE, PLACES, Kind, Story

__all__ = ["ANIMALS", "COLOURS", "LOGIC", "NAMES", "PATHS", "STATES"]

_DIRECTIONS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
_BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}
PATHS = tuple(f"{a},{b}" for a in _DIRECTIONS for b in _DIRECTIONS if b != _BACK[a])
ANIMALS = {"mouse": "mice", "cat": "cats", "wolf": "wolves", "sheep": "sheep"}
NAMES = ("dolly", "emil", "fritz", "greta", "hugo", "ida")
_SPECIES = ("swan", "lion", "frog", "rhino")
COLOURS = ("white", "green", "gray", "yellow")
_SHAPES = ("circle", "square", "star", "triangle")
_SIDES = {"above": (0, 1), "below": (0, -1), "left of": (-1, 0), "right of": (1, 0)}
_SIZES = ("ring", "cup", "box", "chest", "crate")
STATES = {"hungry": "kitchen", "tired": "attic", "bored": "garden", "thirsty": "cellar"}

Point = tuple[int, int]


def _map(
    rng: random.Random, names: tuple[str, ...], steps: dict[str, Point], n: int
) -> tuple[list[tuple[str, str, str]], dict[str, Point]]:
    """A tree of `n` relations (new, direction, old) among names on a grid, and where each lies."""
    order = rng.sample(names, n + 1)
    at: dict[str, Point] = {order[0]: (0, 0)}
    relations = []
    for name in order[1:]:
        while True:
            old, way = rng.choice(sorted(at)), rng.choice(list(steps))
            point = (at[old][0] + steps[way][0], at[old][1] + steps[way][1])
            if point not in at.values():
                break
        at[name] = point
        relations.append((name, way, old))
    rng.shuffle(relations)
    return relations, at


def _two_arguments(rng: random.Random, n: int) -> Story:
    """Kind 4: two-argument relations, asked for either side."""
    relations, _ = _map(rng, PLACES, _DIRECTIONS, min(n, len(PLACES) - 1))
    told = [f"the {a} is {way} of the {b} ." for a, way, b in relations]
    a, way, b = rng.choice(relations)
    if rng.random() < 0.5:
        return told, f"what is {way} of the {b} ?", a
    return told, f"what is the {a} {way} of ?", b


def _deduction(rng: random.Random, n: int) -> Story:
    """Kind 15: what a kind fears, its members fear."""
    k = max(1, min(n // 2, len(ANIMALS)))
    kinds = rng.sample(sorted(ANIMALS), k)
    fears = {kind: rng.choice([a for a in sorted(ANIMALS) if a != kind]) for kind in kinds}
    names = rng.sample(NAMES, k)
    of = {name: rng.choice(kinds) for name in names}
    told = [f"{ANIMALS[kind]} are afraid of {ANIMALS[fears[kind]]} ." for kind in kinds]
    told += [f"{name} is a {of[name]} ." for name in names]
    rng.shuffle(told)
    name = rng.choice(names)
    return told, f"what is {name} afraid of ?", ANIMALS[fears[of[name]]]


def _induction(rng: random.Random, n: int) -> Story:
    """Kind 16: a kind has the colour of its member. Each kind has one colour in a story."""
    k = max(1, min((n - 1) // 2, len(NAMES) - 1))
    names = rng.sample(NAMES, k + 1)
    colour = {kind: rng.choice(COLOURS) for kind in _SPECIES}
    of = {name: rng.choice(_SPECIES) for name in names[:-1]}
    asked = names[-1]
    of[asked] = rng.choice(sorted(of.values()))
    told = [f"{name} is a {kind} ." for name, kind in of.items()]
    told += [f"{name} is {colour[of[name]]} ." for name in names[:-1]]
    rng.shuffle(told)
    return told, f"what colour is {asked} ?", colour[of[asked]]


def _positions(rng: random.Random, n: int) -> Story:
    """Kind 17: positional reasoning on a grid; above is above, however far to the side."""
    relations, at = _map(rng, _SHAPES, _SIDES, min(n, len(_SHAPES) - 1))
    told = [f"the {a} is {side} the {b} ." for a, side, b in relations]
    is_true = rng.random() < 0.5
    able = [
        (a, side, b)
        for a in sorted(at)
        for b in sorted(at)
        for side, (x, y) in _SIDES.items()
        if a != b and (x * (at[a][0] - at[b][0]) + y * (at[a][1] - at[b][1]) > 0) is is_true
    ]
    a, side, b = rng.choice(able)
    return told, f"is the {a} {side} the {b} ?", "yes" if is_true else "no"


def _sizes(rng: random.Random, n: int) -> Story:
    """Kind 18: what fits fits into what is bigger still. The order of sizes differs by story."""
    k = min(n, len(_SIZES) - 1)
    order = rng.sample(_SIZES, k + 1)
    told = [
        f"the {small} fits in the {big} ."
        if rng.random() < 0.5
        else f"the {big} is bigger than the {small} ."
        for small, big in pairwise(order)
    ]
    rng.shuffle(told)
    i, j = sorted(rng.sample(range(k + 1), 2))
    if rng.random() < 0.5:
        return told, f"does the {order[i]} fit in the {order[j]} ?", "yes"
    return told, f"does the {order[j]} fit in the {order[i]} ?", "no"


def _path(rng: random.Random, n: int) -> Story:
    """Kind 19: the two steps between places; only stated neighbours are connected."""
    relations, at = _map(rng, PLACES, _DIRECTIONS, max(2, min(n, len(PLACES) - 1)))
    told = [f"the {a} is {way} of the {b} ." for a, way, b in relations]
    near: dict[str, dict[str, str]] = {name: {} for name in at}
    for a, way, b in relations:
        near[b][way], near[a][_BACK[way]] = a, b
    able = [
        (start, first, second, end)
        for start in sorted(at)
        for first, middle in sorted(near[start].items())
        for second, end in sorted(near[middle].items())
        if end != start
    ]
    start, first, second, end = rng.choice(able)
    return told, f"how do you go from the {start} to the {end} ?", f"{first},{second}"


def _motives(rng: random.Random, n: int) -> Story:
    """Kind 20: who is hungry goes to the kitchen."""
    told: list[str] = []
    waiting: dict[str, str] = {}
    gone: dict[tuple[str, str], str] = {}
    for _ in range(n):
        able = sorted(waiting)
        idle = [person for person in PEOPLE if person not in waiting]
        if able and (not idle or rng.random() < 0.5):
            person = rng.choice(able)
            state = waiting.pop(person)
            gone[person, STATES[state]] = state
            told.append(f"{person} went to the {STATES[state]} .")
        else:
            person = rng.choice(idle)
            waiting[person] = rng.choice(list(STATES))
            told.append(f"{person} is {waiting[person]} .")
    if waiting and (not gone or rng.random() < 0.5):
        person = rng.choice(sorted(waiting))
        return told, f"where will {person} go ?", STATES[waiting[person]]
    (person, place), state = rng.choice(sorted(gone.items()))
    return told, f"why did {person} go to the {place} ?", state


LOGIC: dict[int, Kind] = {
    4: _two_arguments,
    15: _deduction,
    16: _induction,
    17: _positions,
    18: _sizes,
    19: _path,
    20: _motives,
}
