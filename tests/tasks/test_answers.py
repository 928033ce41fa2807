"""Copying, recall, stories and paths: every answer found again by code that shares nothing with the
generators."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from clso.tasks.base import load_task
from clso.tasks.pathfinder import image_of

SIZES = {"n_train": 300, "n_valid": 1, "n_test": 1}


def test_copy() -> None:
    task = load_task("copy", SIZES)
    train = task.split("train")
    lengths = set()
    for row, targets in zip(train.tokens, train.targets, strict=True):
        words = task.text(row).split()
        n = words.index("<copy>")
        lengths.add(n)
        answers = task.text(targets).split()
        assert answers == words[:n]
        assert words[n + 1 :] == words[: n - 1]  # the last symbol is asked for and never shown
        assert np.flatnonzero(targets).tolist() == list(range(n, 2 * n))
    assert lengths == set(range(4, 17))


def test_associative_recall() -> None:
    task = load_task("associative-recall", SIZES)
    train = task.split("train")
    places = set()
    for row, targets in zip(train.tokens, train.targets, strict=True):
        *pairs, query = task.text(row).split()
        value_of = dict(zip(pairs[::2], pairs[1::2], strict=True))
        assert len(value_of) == len(pairs) // 2
        assert task.text(targets) == value_of[query]
        assert np.flatnonzero(targets).tolist() == [len(pairs)]
        places.add(pairs[::2].index(query))
    assert places == set(range(8))


def answer(story: list[list[str]], question: list[str]) -> str:
    """Read backwards: the last sentence that says where someone or something was."""

    def person_at(person: str, before: int) -> str:
        return next(s[-1] for s in reversed(story[:before]) if s[:2] == [person, "went"])

    def thing_places(thing: str) -> list[str]:
        places: list[str] = []
        holder = None
        for i, (who, verb, *_, what) in enumerate(story):
            if verb == "took" and what == thing:
                assert holder is None
                holder = who
                assert not places or places[-1] == person_at(who, i)
                places.append(person_at(who, i))
            elif verb == "dropped" and what == thing:
                assert holder == who
                holder = None
            elif verb == "went" and who == holder:
                places.append(what)
        return [p for i, p in enumerate(places) if i == 0 or p != places[i - 1]]

    match question:
        case ["where", "is", person]:
            return person_at(person, len(story))
        case ["where", "is", "the", thing]:
            return thing_places(thing)[-1]
        case ["where", "was", "the", thing, "before", "the", place]:
            places = thing_places(thing)
            return places[len(places) - 1 - places[::-1].index(place) - 1]
    raise AssertionError(question)


@pytest.mark.parametrize("facts", [1, 2, 3])
def test_stories(facts: int) -> None:
    task = load_task("stories", {**SIZES, "facts": facts})
    train = task.split("train")
    places = ["attic", "cellar", "garden", "kitchen", "library", "stable"]
    verbs = set()
    for row, label in zip(train.tokens, train.targets, strict=True):
        *sentences, question = task.text(row).removesuffix(" ?").split(" . ")
        story = [s.split() for s in sentences]
        verbs |= {s[1] for s in story}
        assert 4 <= len(story) <= 12
        assert len(question.split()) == {1: 3, 2: 4, 3: 7}[facts]
        assert answer(story, question.split()) == places[label]
    assert verbs == ({"went"} if facts == 1 else {"went", "took", "dropped"})
    assert np.bincount(train.targets).min() > 30  # of 50 on average: no answer is favoured


def test_pathfinder() -> None:
    train = load_task("pathfinder", {**SIZES, "n_train": 200}).split("train")
    distances = []
    for row, label in zip(train.tokens, train.targets, strict=True):
        image = image_of(row)
        points = np.argwhere(image > 0)
        # over a gap, not to another curve
        pairs = KDTree(points).query_pairs(3.2, output_type="ndarray")
        links = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(points), len(points)))
        curve = connected_components(links, directed=False)[1]
        dots = image[tuple(points.T)] == 15
        assert len(set(curve[dots])) == (1 if label else 2)
        spots = points[dots]
        distances.append(np.linalg.norm(spots[:, None] - spots, axis=-1).max())
    labels, far = train.targets, np.array(distances)
    assert 0.4 < labels.mean() < 0.6
    best = max(
        max(((far > cut) == labels).mean(), ((far <= cut) == labels).mean()) for cut in range(5, 40)
    )
    ink = (train.tokens > 1).sum(1)
    by_ink = max(
        max(((ink > cut) == labels).mean(), ((ink <= cut) == labels).mean())
        for cut in range(50, 300)
    )
    assert max(best, by_ink) < 0.6  # neither the distance of the dots nor the strokes tell
