"""The pieces of work of a proof, in their order. Each has a key, and one that has its row is not done
again."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from statistics import median
from typing import Any

import torch

from clso.baseline import TrainingPlan
from clso.energy import self_test
from clso.errors import ClsoError, EvaluationError
from clso.prove.config import MIXED, ProveConfig
from clso.prove.context import ProofContext
from clso.prove.controls import baseline_row
from clso.prove.evidence import Evidence
from clso.prove.sides import AdamwSide, ClsoSide
from clso.prove.sweep import (
    best_within,
    front,
    plans,
    refined,
    sweep_key,
    sweep_row,
    with_settings,
)
from clso.prove.windows import Arm, measure_window

__all__ = ["Bench", "Say"]

_ARMS = ("clso", "adamw_reference", "adamw_best")
_ORDER = (*_ARMS, *reversed(_ARMS))
Say = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """All that the pieces of work need."""

    proof: ProofContext
    settings: ProveConfig
    evidence: Evidence
    clso: ClsoSide
    adamw: AdamwSide
    say: Say

    @property
    def seeds(self) -> list[int]:
        return [self.proof.config.seed + i for i in range(self.settings.seeds)]

    def measure(self) -> None:
        """Every piece that is not there yet."""
        if "idle/after" in self.evidence.rows:
            return
        settings = self.settings
        reference = TrainingPlan(
            settings.reference_lr, "constant", settings.reference_steps, settings.reference_steps
        )
        self._warm_up(reference)
        self._self_test(reference)
        self._idle("before")
        best = self._sweep()
        arms = {
            "clso": self.clso.arm("clso"),
            "adamw_reference": self.adamw.arm("adamw_reference", reference),
            "adamw_best": self.adamw.arm("adamw_best", best),
        }
        self._models(reference, best)
        for number, name in enumerate(_ORDER, 1):
            self._window(f"window/{number}/{name}", arms[name])
        self._curves()
        self._controls()
        self._idle("after")

    def _warm_up(self, reference: TrainingPlan) -> None:
        """Compile and load everything, on both sides, in every process (a session); nothing of it
        is measured."""
        begin = time.perf_counter()
        self.say("warming up AdamW (compiling)")
        self.adamw.training.prepare()
        self.adamw.training.run(self.seeds[0], reference)
        middle = time.perf_counter()
        self.say("warming up CLSO")
        self.clso.arm("warm-up").run(self.seeds[0])
        end = time.perf_counter()
        session = {
            "type": "session",
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "card": self._card(),
            "adamw_warm_up_s": middle - begin,
            "clso_warm_up_s": end - middle,
            "adamw": self.adamw.training.describe(),
        }
        self.evidence.add(f"session/{len(self.evidence.of_type('session')) + 1}", session)

    def _card(self) -> str | None:
        """Which card it is: two of one model differ by a few per cent."""
        if not self.proof.device.startswith("cuda"):
            return None
        return str(getattr(torch.cuda.get_device_properties(self.proof.device), "uuid", "unknown"))

    def _self_test(self, reference: TrainingPlan) -> None:
        def work() -> dict[str, Any]:
            self.say("self-test of the meter, under load")
            load = partial(self.adamw.training.run, self.seeds[0], reference)
            return {
                "type": "self-test",
                **self_test(self.proof.meter, self.settings.self_test_s, load),
            }

        self.evidence.once("self-test", work)

    def _idle(self, when: str) -> None:
        """Idle power with this process's context on the device. A resumed process measures its own
        "before", too."""
        s, again = self.settings, sum(r["when"] == when for r in self.evidence.of_type("idle"))
        row: dict[str, Any] = {
            "type": "idle",
            "when": when,
            "idle_w": None,
            "reason": self.proof.meter.reason,
        }
        if self.proof.meter.reason is None:
            self.say(
                f"idle power, {when} (settling for {s.settle_s:g} s, measuring for {s.idle_s:g} s)"
            )
            self.proof.meter.sleep(s.settle_s)
            row |= {
                "idle_w": self.proof.meter.measure_idle(s.idle_s),
                "reason": self.proof.meter.idle_reason,
            }
        self.evidence.add(f"idle/{when}" + (f"/{again + 1}" if again else ""), row)

    def _sweep(self) -> TrainingPlan:
        """Try everything, then refine the strongest so far; the strongest AdamW."""
        rows = [self._tried(plan) for plan in plans(self.settings)]
        for table in self.settings.refinements:
            rows += [self._tried(plan) for plan in refined(best_within(rows)[0], table)]
        best, loss = best_within(rows)
        self.say(f"the strongest AdamW: {best}, valid loss {loss:.4f}")
        return best

    def _tried(self, plan: TrainingPlan) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            self.say(f"sweep: AdamW {plan}")
            every, seed = self.settings.score_every, self.seeds[0]
            return sweep_row(self.proof.meter, self.adamw.training, plan, seed, every)

        return self.evidence.once(sweep_key(plan), work)

    def _models(self, reference: TrainingPlan, best: TrainingPlan) -> None:
        """Each seed's model of each side, outside windows: the only place where `test` is read."""
        for seed in self.seeds:
            self._keep(f"model/clso/{seed}", partial(self.clso.model, "clso", seed))
            for name, plan in (("adamw_reference", reference), ("adamw_best", best)):
                self._keep(f"model/{name}/{seed}", partial(self.adamw.model, name, seed, plan))

    def _keep(self, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in self.evidence.rows:
            gc.collect()
            row = self.evidence.once(key, work)
            self.say(f"{key}: test loss {row['test_loss']:.4f}")
        return self.evidence.rows[key]

    def _window(self, key: str, arm: Arm) -> None:
        def work() -> dict[str, Any]:
            self.say(f"{key}: at least {self.settings.window_s:g} s")
            gc.collect()  # what earlier runs left in cycles would fill a device
            arm.run(self.seeds[0])  # the clocks are up before the window opens
            return self._measured(arm, self.seeds, self.settings.window_s)

        if key not in self.evidence.rows:
            row = self.evidence.once(key, work)
            self.say(f"{key}: {row['n_runs']} runs, {_per_run(row)} each")

    def _curves(self) -> None:
        """What a shorter training or search costs, and what it loses."""
        s, sweep = self.settings, self.evidence.of_type("sweep")
        done: set[TrainingPlan] = set()
        for steps in (n for n in s.curve_steps if n <= s.max_steps):
            try:
                plan, _ = best_within(sweep, steps)
            except EvaluationError:  # the sweep scored nothing so early
                plan = TrainingPlan(s.reference_lr, "constant", steps, steps)
            if plan not in done:
                done.add(plan)
                self._point(f"curve/adamw/{steps}", self.adamw.arm("adamw", plan), steps, plan)
        for plan in (plan for plan in self._front(s.front_points) if plan not in done):
            key = f"curve/adamw/{plan}"
            self._point(key, self.adamw.arm("adamw", plan), plan.stop_at, plan)
        for gens in (n for n in s.curve_gens if n <= self.proof.config.gens):
            self._point(f"curve/clso/{gens}", self.clso.arm("clso", gens=gens), gens, None)

    def _front(self, most: int) -> list[TrainingPlan]:
        """AdamW's plans that no other beats, with the cheapest that is as good as CLSO."""
        own = [r["valid_loss"] for r in self.evidence.of_type("model") if r["arm"] == "clso"]
        return front(self.evidence.of_type("sweep"), most, median(own))

    def _point(self, key: str, arm: Arm, length: int, plan: TrainingPlan | None) -> None:
        def work() -> dict[str, Any]:
            arm.run(self.seeds[0])
            least_s = self.settings.curve_window_s
            row = self._measured(arm, self.seeds, least_s, whole_cycles=False, kind="curve")
            # The runs scored a sample of valid; the point is the last one's model (AdamW's), or one
            # seed's, on all of it.
            if plan is None:
                loss = self.clso.valid_loss(self.seeds[0], gens=length)
            else:
                loss = self.adamw.losses("valid")["valid_loss"]
            return {**row, "length": length, "plan": plan and str(plan), "valid_loss": loss}

        if key not in self.evidence.rows:
            row = self.evidence.once(key, work)
            self.say(f"{key}: valid loss {row['valid_loss']:.4f}, {_per_run(row)}")

    def _controls(self) -> None:
        seeds = self.seeds[: self.settings.control_seeds]
        own = {row["seed"]: row for row in self.evidence.of_type("model") if row["arm"] == "clso"}
        jobs: list[tuple[str, dict[str, Any], int]] = [("ngram", {}, seeds[0])]
        jobs += [
            ("random-search", {"evaluations": own[s]["counts"]["evaluated"]}, s) for s in seeds
        ]
        if self.settings.memory_points:
            jobs.append(("memory", {}, seeds[0]))
        for name, settings, seed in jobs:
            key = f"control/{name}/{seed}"
            if key not in self.evidence.rows:
                self.say(key)
                row = baseline_row(self.proof, name, settings, seed)
                self.evidence.add(key, row)
        for plan in front(self.evidence.of_type("sweep"), self.settings.memory_points):
            name, mixed = f"{MIXED}: {plan}", with_settings(plan, {"memory": True})
            model = partial(self.adamw.model, name, seeds[0], mixed)
            self._keep(f"model/{name}/{seeds[0]}", model)
            self.adamw.training.prepare(mixed)  # a resumed process has not yet
            self._cost(self.adamw.arm(name, mixed))
        random = {"library": "random"}
        try:
            for seed in seeds:
                key = f"model/random-crystals/{seed}"
                self._keep(key, partial(self.clso.model, "random-crystals", seed, options=random))
        except ClsoError as error:  # a space need not have random crystals
            self.say(f"no control on random crystals: {error}")
        else:
            self._cost(self.clso.arm("random-crystals", options=random))

    def _cost(self, arm: Arm) -> None:
        """What one run of a control costs."""
        cost = partial(self._measured, arm, self.seeds[:1], 0.0, kind="cost")
        self.evidence.once(f"control/{arm.name}", cost)

    def _measured(self, arm: Arm, *args: Any, **options: Any) -> dict[str, Any]:
        """A window of `arm`, whose runs' folders go once it is closed."""
        row = measure_window(self.proof.meter, arm, *args, **options)
        self.clso.tidy()
        return row


def _per_run(row: dict[str, Any]) -> str:
    time_s = f"{row['time_s'] / row['n_runs']:.3f} s"
    return (
        time_s if row["energy_j"] is None else f"{row['energy_j'] / row['n_runs']:.1f} J, {time_s}"
    )
