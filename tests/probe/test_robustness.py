"""Noise, length and adversaries, on a model that is always right and one that always says the same."""

from __future__ import annotations

import numpy as np
import pytest
from probed import SIZES, Constant, Oracle, context

from clso.probe import robustness
from clso.probe.metrics import names_of
from clso.probe.robustness import by_length, noisy
from clso.tasks.base import load_task


def test_what_is_always_right_stays_right_where_the_answer_does() -> None:
    found = robustness.measure(context(Oracle()))
    assert set(found) == set(names_of("robustness"))
    assert found["accuracy_2x"].value == found["accuracy_4x"].value == 1.0
    assert found["extrapolation"].value == 1.0
    assert found["degradation_slope"].value == pytest.approx(0.0, abs=1e-9)
    lengths = [point["mean_length"] for point in found["degradation_slope"].detail["points"]]
    assert lengths == sorted(lengths)
    assert lengths[3] > 2 * lengths[0]
    # only flips that keep the answer were tried
    assert found["adversarial"].value == 0.0
    assert found["adversarial"].detail["answers_kept"] is True
    # against the clean answers, noise must cost it what it changes
    points = {p["rate"]: p["accuracy"] for p in found["noise_replace"].detail["points"]}
    assert points[0.0] == 1.0
    assert points[0.3] < 0.7
    assert found["noise_replace"].value == pytest.approx(1 - points[0.1])


def test_what_looks_at_nothing_loses_nothing() -> None:
    found = robustness.measure(context(Constant()))
    for name in ("noise_drop", "noise_swap", "noise_replace", "adversarial"):
        assert found[name].value == 0.0


def test_an_adversary_finds_what_a_model_hangs_on() -> None:
    class Fragile(Oracle):
        """Right, unless the first digit is a 7."""

        def answer(self, row: list[int]) -> int:
            first = next((t for t in row if t <= 10), 0)
            return (super().answer(row) + (first == 8)) % 10

    found = robustness.adversarial(context(Fragile(), n=20))
    flips = {p["flips"]: p["accuracy"] for p in found.detail["points"]}
    assert flips[0] > flips[4]


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_the_noise_is_of_the_kind_and_share_that_it_says(rate: float) -> None:
    test = load_task("listops", {**SIZES, "n_test": 200}).split("test")
    n = (test.tokens != 0).sum(1)
    dropped = noisy(test, "drop", rate, 16, seed=0)
    left = (dropped.tokens != 0).sum(1)
    assert left.sum() / n.sum() == pytest.approx(1 - rate, abs=0.02)
    assert (np.abs(n - left - rate * n) < 1).all()
    swapped = noisy(test, "swap", rate, 16, seed=0)
    assert (np.sort(swapped.tokens, 1) == np.sort(test.tokens, 1)).all()
    assert (swapped.tokens != test.tokens).any()
    replaced = noisy(test, "replace", rate, 16, seed=0)
    changed = (replaced.tokens != test.tokens).sum(1)
    assert (np.abs(changed - rate * n) < 1).all()
    assert ((replaced.tokens != 0) == (test.tokens != 0)).all()
    assert (noisy(test, "replace", rate, 16, seed=0).tokens == replaced.tokens).all()
    assert (noisy(test, "drop", 0.0, 16, seed=0).tokens == test.tokens).all()


def test_tokens_that_are_asked_for_stay() -> None:
    task = load_task("copy", {"n_train": 5, "n_valid": 5, "n_test": 50})
    test = task.split("test")
    for name in ("drop", "swap", "replace"):
        changed = noisy(test, name, 0.3, len(task.vocab), seed=0)
        for row in range(50):
            asked, now = test.targets[row] != 0, changed.targets[row] != 0
            assert (test.targets[row][asked] == changed.targets[row][now]).all()


def test_lengths_that_a_task_or_a_model_has_not() -> None:
    images = load_task("pathfinder", {"n_train": 9, "n_valid": 1, "n_test": 8})
    assert "longer sequences" in (
        by_length(context(Constant(), images, n=8))["loss_4x"].reason or ""
    )
    few = load_task("stories", {"kind": 18, "n_train": 9, "n_valid": 1, "n_test": 8})
    assert "do not get longer" in (by_length(context(Constant(), few, n=8))["loss_4x"].reason or "")
