"""Policies that controllers are held against."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from clso.baseline import run_baseline
from clso.baselines.control.baseline import POLICIES, Control
from clso.baselines.control.fixed import FIXED
from clso.baselines.control.library import LEARNERS
from clso.baselines.control.play import scored
from clso.baselines.control.shared_pg import train_shared
from clso.config import RunConfig
from clso.errors import ConfigError, DataError, MissingDependencyError
from clso.worlds.problems import draw_problems
from clso.worlds.solvers import gn1_plan, optimal_plan, us_plan


def run(folder: Path, **settings: Any) -> dict[str, Any]:
    defaults = {f: getattr(Control.Settings(), f) for f in Control.Settings.__dataclass_fields__}
    config = RunConfig(energy="null")
    return run_baseline("control", {**defaults, "problems": 40, **settings}, config, folder / "run")


def test_planners_take_their_plans_lengths() -> None:
    problems = draw_problems(6, 40, "test", 0)
    least = sum(len(optimal_plan(p.start, p.goal)) for p in problems)
    for name, plan in (("gn1", gn1_plan), ("us", us_plan)):
        found = scored(FIXED[name](), problems, 0)
        assert found.success == 1.0
        taken = sum(len(plan(p.start, p.goal)) for p in problems)
        assert found.plan_ratio == pytest.approx(taken / least, abs=1e-12)
    assert scored(FIXED["optimal"](), problems, 0).spl == 1.0


def test_random_policies_are_weak_and_greed_is_not_enough() -> None:
    problems = draw_problems(5, 100, "test", 0)
    found = {
        name: scored(FIXED[name](), problems, 0).success for name in ("random", "legal", "greedy")
    }
    assert found["random"] <= found["legal"] < 0.15 < found["greedy"] < 0.8


def test_a_policy_gradient_learns_and_is_repeated_by_its_seed() -> None:
    problems = draw_problems(3, 40, "test", 0)
    before = scored(train_shared(3, 1, rate=0.03, batch=10, seed=0), problems, 0)
    first, second = (train_shared(3, 200, rate=0.03, batch=10, seed=0) for _ in range(2))
    assert scored(first, problems, 0) == scored(second, problems, 0)
    assert scored(first, problems, 0).success > before.success + 0.3


def test_results_have_a_row_a_number_of_episodes(tmp_path: Path) -> None:
    settings = {"rates": (0.03,), "batches": (10,), "seeds": 2}
    found = run(tmp_path, policy="shared-pg", blocks=3, episodes=(20, 40), **settings)
    assert [row["episodes"] for row in found["rows"]] == [20, 40]
    assert set(found["rows"][0]["by_blocks"]) == {"3", "8"}
    assert len(found["rows"][0]["by_blocks"]["3"]["success_by_seed"]) == 2
    assert {s["greedy"] for s in found["rows"][0]["sweep"]} == {True, False}
    assert found["best"]["test_success"] == found["rows"][1]["by_blocks"]["3"]["success"]


@pytest.mark.parametrize("policy", ["cma", "neat"])
def test_evolved_policies_play(policy: str) -> None:
    pytest.importorskip(policy, reason="the extra rl is not installed")
    trained = LEARNERS[policy](3, 400, 0)
    problems = draw_problems(3, 20, "test", 0)
    again = LEARNERS[policy](3, 400, 0)
    assert scored(trained, problems, 0) == scored(again, problems, 0)


@pytest.mark.parametrize("policy", ["ppo", "maskable-ppo", "dqn"])
@pytest.mark.parametrize("episodes", [3, 8])  # in one environment, and in several at once
def test_policies_of_stable_baselines_play(policy: str, episodes: int) -> None:
    pytest.importorskip("sb3_contrib", reason="the extra rl is not installed")
    problems = draw_problems(3, 20, "test", 0)
    found = [scored(LEARNERS[policy](3, episodes, 0), problems, 0) for _ in range(2)]
    assert found[0] == found[1]


def test_without_its_packages_a_policy_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_ = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("cma", "neat", "stable_baselines3", "sb3_contrib"):
            raise ImportError(name=name)
        return import_(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", refuse)
    for policy in LEARNERS:
        with pytest.raises(MissingDependencyError, match=r"pip install 'clso\[rl\]'"):
            LEARNERS[policy](3, 10, 0)


@pytest.mark.parametrize(
    ("settings", "error", "rule"),
    [
        ({"policy": "sarsa"}, ConfigError, "unknown policy"),
        ({"blocks": 21}, DataError, "3 to 20 blocks"),
        ({"episodes": (0,)}, ConfigError, "episodes are numbers above 0"),
        ({"rates": ()}, ConfigError, "rates are numbers above 0"),
        ({"seeds": 0}, ConfigError, "seeds is at least 1"),
        ({"policy": "optimal", "blocks": 11}, ConfigError, "at most 10 blocks"),
    ],
)
def test_settings_that_cannot_be(
    settings: dict[str, Any], error: type[Exception], rule: str
) -> None:
    with pytest.raises(error, match=rule):
        Control.Settings(**settings)


def test_every_policy_has_a_name() -> None:
    assert set(POLICIES) == {*FIXED, *LEARNERS, "shared-pg"}
