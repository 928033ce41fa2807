"""`clso compare` for searches that are no language models."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from searches import BESTS, write_search, write_sides

from clso.errors import RunFolderError
from clso.run.sides import compare_searches, holds_search


def test_folders_that_differ_in_their_seed_are_one_side(tmp_path: Path) -> None:
    found = compare_searches(write_sides(tmp_path))
    assert [s["name"] for s in found["sides"]] == [
        "clso nk, surrogate forest",
        "clso nk, surrogate none",
    ]
    assert [s["best"] for s in found["sides"]] == [fmean(b) for b in BESTS.values()]
    assert [s["evaluations"] for s in found["sides"]] == [40, 40]
    assert [s["time_s"] for s in found["sides"]] == [3.0, 3.0]
    (difference,) = found["differences"]
    assert difference["paired_by_seed"]
    # -1, -0.5, -1: mean -5/6, standard error 1/6, t of 2 degrees of freedom 4.302653
    low, high = difference["interval"]
    assert low == pytest.approx(-5 / 6 - 4.302653 / 6, abs=1e-5)
    assert high == pytest.approx(-5 / 6 + 4.302653 / 6, abs=1e-5)
    assert difference["better"] is False  # more hits are better, and it has fewer


def test_other_seeds_are_not_paired(tmp_path: Path) -> None:
    (difference,) = compare_searches(write_sides(tmp_path, first_seed=7))["differences"]
    assert not difference["paired_by_seed"]
    low, high = difference["interval"]
    assert low < difference["difference"] < high
    # scipy.stats.ttest_ind(none, forest, equal_var=False).confidence_interval()
    assert (low, high) == pytest.approx((-3.148498, 1.481832), abs=1e-5)
    assert difference["better"] is None


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    paths = [
        write_search(tmp_path / "a", 3.0),
        write_search(tmp_path / "b", 4.0, surrogate="none"),
    ]
    (difference,) = compare_searches(paths)["differences"]
    assert (difference["difference"], difference["interval"], difference["better"]) == (
        1.0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"space": "maxsat"}, "one space"),
        ({"options": {"n": 20}}, "one options"),
        ({"direction": "min"}, "one measure"),
        ({}, "each seed once"),
    ],
    ids=["space", "options", "direction", "seed"],
)
def test_what_is_not_alike(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    paths = [write_search(tmp_path / "a", 3.0), write_search(tmp_path / "b", 4.0, **other)]
    with pytest.raises(RunFolderError, match=said):
        compare_searches(paths)


def test_language_models_are_compared_elsewhere(finished_run: Path, tmp_path: Path) -> None:
    own = write_search(tmp_path / "a", 3.0)
    assert holds_search(own)
    assert not holds_search(finished_run)
    with pytest.raises(RunFolderError, match="a search with searches"):
        compare_searches([own, finished_run])
