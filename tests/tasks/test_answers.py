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


@pytest.mark.parametrize("sizes", [{}, {"size": 16, "length": 8, "distractors": 1}], ids=str)
def test_pathfinder(sizes: dict[str, int]) -> None:
    train = load_task("pathfinder", {**SIZES, "n_train": 200, **sizes}).split("train")
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
