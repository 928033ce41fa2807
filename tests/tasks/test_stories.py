"""Stories of all 20 kinds: every answer found again from the text, by code that shares nothing with
the generators."""

from __future__ import annotations

import random
import re
from collections import Counter

import numpy as np
import pytest

from clso.tasks.base import load_task
from clso.tasks.stories import KINDS, Stories

SIZES = {"n_train": 300, "n_valid": 1, "n_test": 1}
NUMBERS = ("none", "one", "two", "three")
MOVES = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
SIDES = {"above": (0, 1), "below": (0, -1), "left of": (-1, 0), "right of": (1, 0)}
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
Lines = list[str]


def last(pattern: str, lines: Lines) -> re.Match[str]:
    """The last sentence that a pattern fits."""
    return next(m for line in reversed(lines) if (m := re.fullmatch(pattern, line)))


def walked(lines: Lines) -> dict[str, list[str]]:
    """Everybody's places in order, pronouns resolved."""
    places: dict[str, list[str]] = {}
    group: list[str] = []
    for line in lines:
        found = re.fullmatch(r"(?:then )?([\w ]+) went to the (\w+)", line)
        if not found:
            continue
        if found[1] not in ("he", "she", "they"):
            group = found[1].split(" and ")
        for person in group:
            places.setdefault(person, []).append(found[2])
    return places


def holds(lines: Lines, person: str) -> list[str]:
    held: set[str] = set()
    for line in lines:
        if found := re.fullmatch(rf"{person} (took|dropped) the (\w+)", line):
            (held.add if found[1] == "took" else held.remove)(found[2])
    return sorted(held)


def thing_places(lines: Lines, thing: str) -> list[str]:
    """Where a thing has been since it was first taken, without repetitions."""
    places: list[str] = []
    holder = None
    for i, line in enumerate(lines):
        who, verb, *_, what = line.split()
        here = walked(lines[:i]).get(who, [""])[-1]
        if verb == "took" and what == thing:
            assert holder is None
            assert not places or places[-1] == here
            holder = who
            places.append(here)
        elif verb == "dropped" and what == thing:
            assert holder == who
            holder = None
        elif verb == "went" and who == holder:
            places.append(what)
    return [p for i, p in enumerate(places) if i == 0 or p != places[i - 1]]


def placed(lines: Lines, steps: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Coordinates from relations, by passing over them until all are placed."""
    relations = [
        re.fullmatch(rf"the (\w+) is ({'|'.join(steps)})(?: of)? the (\w+)", x) for x in lines
    ]
    found = [m.groups() for m in relations if m]
    assert len(found) == len(lines)
    at = {found[0][0]: np.zeros(2, int)}
    for _ in found:
        for a, way, b in found:
            if b in at:
                at.setdefault(a, at[b] + steps[way])
            if a in at:
                at.setdefault(b, at[a] - np.array(steps[way]))
    for a, way, b in found:
        assert (at[a] == at[b] + steps[way]).all()
    assert len({tuple(p) for p in at.values()}) == len(at) == len(found) + 1
    return at


def sizes(lines: Lines) -> set[tuple[str, str]]:
    """(smaller, bigger), closed."""
    pairs = {tuple(re.findall(r"the (\w+)", x)[:: -1 if "bigger" in x else 1]) for x in lines}
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= more
    return pairs  # type: ignore[return-value]


def answer(kind: int, lines: Lines, question: str) -> str:
    q = question.split()
    if kind in (1, 11, 12, 13):
        return walked(lines)[q[-1]][-1]
    if kind == 2:
        return thing_places(lines, q[-1])[-1]
    if kind == 3:
        places = thing_places(lines, q[3])
        return places[len(places) - 2 - places[::-1].index(q[-1])]
    if kind == 4:
        at = placed(lines, MOVES)
        way = next(word for word in q if word in MOVES)
        # "what is north of the attic": a step from it; "what is the attic north of": a step back
        step = np.array(MOVES[way]) * (1 if q[-1] in at else -1)
        name = q[-1] if q[-1] in at else q[3]
        return next(other for other, p in at.items() if (p == at[name] + step).all())
    if kind == 5:
        if q[0] == "who":
            return last(rf"(\w+) gave the {q[3]} to {q[5]}", lines)[1]
        return last(rf"{q[2]} gave the (\w+) to {q[5]}", lines)[1]
    if kind == 6:
        return "yes" if walked(lines)[q[1]][-1] == q[-1] else "no"
    if kind == 7:
        return NUMBERS[len(holds(lines, q[4]))]
    if kind == 8:
        return ",".join(holds(lines, q[2])) or "nothing"
    if kind == 9:
        negated, place = last(rf"{q[1]} is (not )?in the (\w+)", lines).groups()
        assert not negated or place == q[-1]  # else nobody could tell
        return "yes" if place == q[-1] and not negated else "no"
    if kind == 10:
        one, _, other = last(rf"{q[1]} is in the (\w+)( or the (\w+))?", lines).groups()
        return "maybe" if other and q[-1] in (one, other) else "yes" if one == q[-1] else "no"
    if kind == 14:
        route = []
        for time in TIMES:
            route += [x.split()[-1] for x in lines if x.startswith(f"{time} {q[2]} ")]
        return route[route.index(q[-1]) - 1] if route.index(q[-1]) else ""
    if kind == 15:
        member = last(rf"{q[2]} is a (\w+)", lines)[1]
        many = {"mouse": "mice", "cat": "cats", "wolf": "wolves", "sheep": "sheep"}[member]
        return last(rf"{many} are afraid of (\w+)", lines)[1]
    if kind == 16:
        of = {m[1]: m[2] for x in lines if (m := re.fullmatch(r"(\w+) is a (\w+)", x))}
        colours = {
            m[2]
            for x in lines
            if (m := re.fullmatch(r"(\w+) is (\w+)", x)) and of[m[1]] == of[q[-1]]
        }
        (colour,) = colours
        return colour
    if kind == 17:
        at = placed(lines, SIDES)
        side = SIDES[" ".join(q[3:-2])]
        return "yes" if np.dot(at[q[2]] - at[q[-1]], side) > 0 else "no"
    if kind == 18:
        pair = (q[2], q[-1])
        assert pair in sizes(lines) or pair[::-1] in sizes(lines)
        return "yes" if pair in sizes(lines) else "no"
    if kind == 19:
        at = placed(lines, MOVES)
        neighbours = {tuple(re.findall(r"the (\w+)", x)) for x in lines}
        start, end = q[6], q[-1]
        (path,) = (
            f"{a},{b}"
            for a in MOVES
            for b in MOVES
            if (at[start] + MOVES[a] + MOVES[b] == at[end]).all()
            for middle, p in at.items()
            if (p == at[start] + MOVES[a]).all()
            and all({(x, y), (y, x)} & neighbours for x, y in ((start, middle), (middle, end)))
        )
        return path
    assert kind == 20
    if q[0] == "where":
        state = last(rf"{q[2]} is (\w+)", lines)[1]
        return {"hungry": "kitchen", "tired": "attic", "bored": "garden", "thirsty": "cellar"}[
            state
        ]
    went = max(i for i, x in enumerate(lines) if x == f"{q[2]} went to the {q[-1]}")
    return last(rf"{q[2]} is (\w+)", lines[:went])[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_follows_from_the_story(kind: int) -> None:
    task = load_task("stories", {**SIZES, "kind": kind})
    assert isinstance(task, Stories)
    train = task.split("train")
    words: set[str] = set()
    for row, label in zip(train.tokens, train.targets, strict=True):
        *lines, question = task.text(row).removesuffix(" ?").split(" . ")
        assert 2 <= len(lines) <= 12
        words |= set(task.text(row).split())
        assert answer(kind, lines, question) == task.classes[label]
    assert words == set(task.vocab[1:])  # none that does not occur
    assert set(train.targets) == set(range(task.n_classes))
    assert max(Counter(train.targets.tolist()).values()) < 0.65 * len(train)


def test_all_kinds_at_once_and_the_numbers_of_distinct_stories() -> None:
    task = load_task("stories", {**SIZES, "kind": 0})
    assert isinstance(task, Stories)
    assert len(set(task.vocab)) == len(task.vocab) < 120
    assert len(set(task.classes)) == task.n_classes
    few = load_task("stories", {"kind": 17, "n_train": 5000, "n_valid": 1, "n_test": 1})
    assert len(few.split("train")) == 5000


def test_names_are_exchanged_and_nothing_else() -> None:
    task = load_task("stories", {**SIZES, "kind": 13})
    row = task.split("train").tokens[0]
    row = row[row != 0]
    rng = random.Random(1)
    other = task.alike(row, rng)
    assert other is not None
    assert (other != row).any()
    people = {"anna", "bela", "carlo", "dana"}
    pairs = set(zip(task.text(row).split(), task.text(other).split(), strict=True))
    assert all(a == b or {a, b} <= people for a, b in pairs)
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_longer_stories_and_their_sentences() -> None:
    task = load_task("stories", {**SIZES, "kind": 1})
    longer = task.longer(3, 5)
    assert longer.vocab == task.vocab
    rows = longer.split("test").tokens
    counts = [task.token_features(row[row != 0])["sentence"].max() for row in rows]
    assert counts == [task.text(row).split().count(".") for row in rows]
    assert min(counts) >= 12
