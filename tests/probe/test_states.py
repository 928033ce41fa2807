"""States and routing that were made so that every figure of them is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from probed import SIZES, Constant, context, moving, trace

from clso.models.nsm import NSMConfig, SimpleNSM
from clso.probe import interpretability, states
from clso.probe.interpretability import (
    clusters,
    consistency,
    features_read,
    routing_figures,
    smoothness,
)
from clso.probe.metrics import names_of
from clso.probe.states import allocated, pruning, stability
from clso.tasks.base import load_task


def nsm(n_states: int = 6) -> SimpleNSM:
    task = load_task("listops", SIZES)
    config = NSMConfig(
        len(task.vocab), 16, 1, 2, task.n_positions, task.n_classes, n_states=n_states, chunk=4
    )
    return SimpleNSM(config).init_weights(torch.Generator().manual_seed(0)).eval()  # type: ignore[return-value]


def test_states_are_allocated_as_tokens_reach_them() -> None:
    one = trace([1, 2, 3, 4], [0, 0, 1, 2])
    assert allocated([one]).value == 3
    points = dict(allocated([one]).detail["points"])
    assert points[0.0] == 0
    assert points[0.5] == 1
    even = trace([1, 2, 3, 4], np.full((4, 4), 0.25))
    assert allocated([even]).value == 4
    assert dict(allocated([even]).detail["points"])[0.5] == 0  # half a token's worth each


def test_assignments_that_the_token_decides_are_stable() -> None:
    tokens = [1, 2, 3, 1, 2, 3, 1]
    assert stability([trace(tokens, tokens)]).value == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    chance = [trace(tokens, rng.integers(4, size=7)) for _ in range(600)]
    assert stability(chance).value == pytest.approx(0.0, abs=0.05)
    assert "same heaviest state" in (stability([trace(tokens, [0] * 7)]).reason or "")
    assert "twice" in (stability([trace([1, 2], [0, 1])]).reason or "")


def test_states_without_importance_are_pruned_for_nothing() -> None:
    model = nsm()
    with torch.no_grad():
        for mixer in model.mixers():
            mixer.importance[::2] = 0.0
    found = pruning(context(model), model)
    assert found["pruning_error"].value == pytest.approx(0.0, abs=1e-5)
    assert found["pruning_loss"].value == pytest.approx(0.0, abs=1e-6)
    assert (
        max(
            map(
                abs,
                (
                    x - found["pruning_loss"].detail["before"]
                    for x in found["random_pruning_loss"].detail["random"]
                ),
            )
        )
        > 1e-6
    )
    assert 0 < found["pruning_memory_saved"].value < 1  # type: ignore[operator]


def test_all_of_it_on_a_model_and_reasons_of_one_without_states() -> None:
    of_nsm = context(nsm(24), n=12)
    found = states.measure(of_nsm) | interpretability.measure(of_nsm)
    names = {*names_of("states"), *names_of("interpretability")}
    assert set(found) == names
    assert [name for name in names if found[name].value is None] == []
    none = context(Constant(), n=12)
    missing = states.measure(none) | interpretability.measure(none)
    assert set(missing) == names
    assert all(f.value is None and f.reason for f in missing.values())


def test_routing_to_one_state_and_to_all() -> None:
    one = routing_figures([trace([1, 2], [0, 3])])
    assert one["routing_sparsity"].value == 0.75
    assert one["routing_entropy"].value == 0.0
    assert one["states_per_token"].value == 1.0
    all_ = routing_figures([trace([1, 2], np.full((2, 4), 0.25))])
    assert all_["routing_sparsity"].value == 0.0
    assert all_["routing_entropy"].value == pytest.approx(1.0)
    assert all_["states_per_token"].value == pytest.approx(4.0)


def test_consistency_is_one_for_the_same_routing() -> None:
    rng = np.random.default_rng(0)
    rows = [trace([1] * 20, rng.integers(4, size=20)) for _ in range(30)]
    assert consistency(rows, rows).value == pytest.approx(1.0)
    others = [trace([1] * 20, rng.integers(4, size=20)) for _ in range(30)]
    assert consistency(rows, others).value == pytest.approx(0.0, abs=0.1)
    same = [trace([1] * 3, [0, 0, 0])] * 3
    assert "routed alike" in (consistency(same, same).reason or "")


def test_clusters_and_paths_of_states() -> None:
    rng = np.random.default_rng(0)
    far = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    rows = [moving(np.stack([far * 0, far + 0.1 * rng.normal(size=(3, 2))])) for _ in range(20)]
    found = clusters(rows)
    assert found.detail["clusters"] == [3]
    assert found.value == pytest.approx(1.0, abs=0.05)
    line = np.arange(5.0)[:, None, None] * np.ones((1, 2, 3))
    assert smoothness([moving(line)]).value == pytest.approx(1.0)
    there_and_back = (np.arange(5) % 2)[:, None, None] * np.ones((1, 2, 3))
    assert smoothness([moving(there_and_back)]).value == pytest.approx(-1.0)
    assert "two chunks" in (smoothness([moving(line[:2])]).reason or "")


def test_a_feature_is_read_from_routing_that_shows_it() -> None:
    task = load_task("listops", SIZES)
    rows = [row[row != 0] for row in task.split("test").tokens]
    depth = [task.token_features(row)["depth"].astype(int) for row in rows]
    shown = [trace(list(r), d, 8) for r, d in zip(rows, depth, strict=True)]
    assert features_read(task, shown).value == pytest.approx(1.0, abs=1e-3)
    rng = np.random.default_rng(0)
    hidden = [trace(list(r), rng.integers(8, size=len(r)), 8) for r in rows]
    found = features_read(task, hidden)
    assert found.detail["feature"] == "depth"
    assert found.value < 0.1  # type: ignore[operator]
