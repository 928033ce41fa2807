"""`clso baseline control`: policies for Blocks World, at given numbers of episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from clso.baseline import Baseline, BaselineJob
from clso.baselines.control.fixed import FIXED
from clso.baselines.control.library import LEARNERS
from clso.baselines.control.play import Policy, scored
from clso.errors import ConfigError
from clso.worlds.blocks import check_blocks
from clso.worlds.problems import draw_problems
from clso.worlds.solvers import EXACT_BLOCKS

__all__ = ["POLICIES", "Control"]

POLICIES = (*FIXED, "shared-pg", *LEARNERS)
_GENERAL = ("shared-pg", "cma", "neat", *FIXED)
"""Policies that act with any number of blocks, and are measured with eight, too."""
_MORE_BLOCKS = 8


class Control(Baseline):
    """Success, SPL and plan lengths of a policy on the problems that controllers are tested on.

    A policy that learns practises anew for each number of episodes and each seed. shared-pg does so for each of its rates
    and batch sizes; the setting with the best median success on the split valid counts.
    """

    help = "Policies for Blocks World: random ones, planners, policy gradients, evolution."

    @dataclass(frozen=True)
    class Settings:
        """Settings of the policies."""

        policy: str = field(default="gn1", metadata={"help": f"One of {', '.join(POLICIES)}."})
        blocks: int = field(default=5, metadata={"help": "Blocks in exams."})
        episodes: tuple[int, ...] = field(
            default=(400, 2000, 10000), metadata={"help": "Of practice, for policies that learn."}
        )
        seeds: int = field(default=3, metadata={"help": "Trainings of each kind."})
        rates: tuple[float, ...] = field(
            default=(3e-3, 1e-2, 3e-2), metadata={"help": "Learning rates of shared-pg."}
        )
        batches: tuple[int, ...] = field(
            default=(10, 20), metadata={"help": "Episodes between steps of shared-pg."}
        )
        problems: int = field(default=200, metadata={"help": "Problems in an exam."})

        def __post_init__(self) -> None:
            if self.policy not in POLICIES:
                raise ConfigError(
                    "an unknown policy", got=self.policy, remedy=f"Policies: {', '.join(POLICIES)}."
                )
            check_blocks(self.blocks)
            for name in ("seeds", "problems"):
                if getattr(self, name) < 1:
                    raise ConfigError(f"{name} is at least 1", got=getattr(self, name))
            for name in ("episodes", "batches", "rates"):
                values = getattr(self, name)
                if not values or any(not 0 < v < 1e9 for v in values):
                    raise ConfigError(f"{name} are numbers above 0", got=values)
            if self.policy == "optimal" and self.blocks > EXACT_BLOCKS:
                raise ConfigError(
                    f"optimal plans are for at most {EXACT_BLOCKS} blocks", got=self.blocks
                )

    settings: Settings

    def load(self, job: BaselineJob) -> dict[str, Any]:
        """No text: problems are drawn."""
        return {"world": "blocks", "blocks": self.settings.blocks}

    def run(self, job: BaselineJob) -> dict[str, Any]:
        s = self.settings
        with job.ledger.phase("search"):
            if s.policy in FIXED:
                rows = [self._row(job, lambda seed: FIXED[s.policy](), 0, 1)]
            elif s.policy == "shared-pg":
                rows = [self._swept(job, episodes) for episodes in s.episodes]
            else:
                rows = [self._learned(job, episodes) for episodes in s.episodes]
        last = rows[-1]["by_blocks"][str(s.blocks)]
        best = {"test_success": last["success"], "test_spl": last["spl"]}
        best["plan_ratio"] = last["plan_ratio"]
        return {"best": best, "policy": s.policy, "rows": rows}

    def _learned(self, job: BaselineJob, episodes: int) -> dict[str, Any]:
        s = self.settings
        train = LEARNERS[s.policy]
        return self._row(job, lambda seed: train(s.blocks, episodes, seed), episodes, s.seeds)

    def _swept(self, job: BaselineJob, episodes: int) -> dict[str, Any]:
        from clso.baselines.control.shared_pg import SharedPolicy, train_shared

        s = self.settings
        valid = draw_problems(s.blocks, s.problems, "valid", 0)
        found: list[tuple[float, dict[str, Any], list[SharedPolicy]]] = []
        for rate in s.rates:
            for batch in s.batches:
                seeds = range(job.config.seed, job.config.seed + s.seeds)
                policies = [
                    train_shared(s.blocks, episodes, rate=rate, batch=batch, seed=seed)
                    for seed in seeds
                ]
                for greedy in (False, True):
                    for policy in policies:
                        policy.greedy = greedy
                    success = median(scored(p, valid, 0).success for p in policies)
                    setting = {"rate": rate, "batch": batch, "greedy": greedy}
                    found.append((success, setting, policies))
                job.progress(f"{episodes} episodes, rate {rate:g}, batch {batch}: {success:.3f}")
        _, setting, policies = max(found, key=lambda entry: entry[0])
        for policy in policies:
            policy.greedy = bool(setting["greedy"])
        first = job.config.seed
        row = self._row(job, lambda seed: policies[seed - first], episodes, s.seeds)
        sweep = [{**chosen, "valid_success": success} for success, chosen, _ in found]
        return {**row, "setting": setting, "sweep": sweep}

    def _row(
        self, job: BaselineJob, make: Callable[[int], Policy], episodes: int, n_seeds: int
    ) -> dict[str, Any]:
        """Medians over seeds, and the successes of each."""
        s = self.settings
        policies = [make(seed) for seed in range(job.config.seed, job.config.seed + n_seeds)]
        sizes = sorted({s.blocks, *((_MORE_BLOCKS,) if s.policy in _GENERAL else ())})
        table = {}
        for n in sizes:
            problems = draw_problems(n, s.problems, "test", 0)
            scores = [scored(policy, problems, 0) for policy in policies]
            ratios = [x.plan_ratio for x in scores if x.plan_ratio is not None]
            table[str(n)] = {
                "success": median(x.success for x in scores),
                "spl": median(x.spl_low for x in scores),
                "plan_ratio": median(ratios) if ratios else None,
                "success_by_seed": [x.success for x in scores],
                "spl_by_seed": [x.spl_low for x in scores],
            }
        job.progress(f"{s.policy}, {episodes} episodes: {table[str(s.blocks)]['success']:.3f}")
        return {"episodes": episodes, "seeds": n_seeds, "by_blocks": table}
