"""The search for the strongest AdamW: every rate, schedule and length, stopped where valid is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clso.baseline import TimedTraining, TrainingPlan
from clso.energy import EnergyMeter
from clso.errors import EvaluationError
from clso.prove.config import ProveConfig

__all__ = ["best_within", "plans", "sweep_row"]


def plans(settings: ProveConfig) -> list[TrainingPlan]:
    """What is tried. A constant schedule's shorter lengths are prefixes of its longest, so one training tells all."""
    out = []
    for schedule in settings.schedules:
        lengths = settings.steps_grid if schedule == "cosine" else settings.steps_grid[-1:]
        out += [TrainingPlan(lr, schedule, n, n) for lr in settings.rates for n in lengths]
    return out


def sweep_row(meter: EnergyMeter, training: TimedTraining, plan: TrainingPlan, seed: int, every: int) -> dict[str, Any]:
    """Train by one plan, scoring all along; its cost is the sweep's own and no side's."""
    with meter.window("sweep", record=False) as window:
        curve = training.curve(seed, plan, every)
    return {
        "type": "sweep",
        "lr": plan.lr,
        "schedule": plan.schedule,
        "steps": plan.steps,
        "curve": [[step, loss if math.isfinite(loss) else None] for step, loss in curve],
        "time_s": window.time_s,
        "cpu_time_s": window.cpu_time_s,
        "energy_j": window.energy_j,
        "energy_reason": window.reason,
    }


def best_within(rows: Sequence[dict[str, Any]], steps: float = math.inf) -> tuple[TrainingPlan, float]:
    """The plan with the lowest loss on valid in at most `steps` steps, stopped exactly there, and that loss.

    Raises `EvaluationError` where everything diverged.
    """
    found = [
        (loss, step, row["lr"], row["schedule"], row["steps"])
        for row in rows
        for step, loss in row["curve"]
        if step <= steps and loss is not None
    ]
    if not found:
        raise EvaluationError("at least one AdamW of the sweep has a finite loss", got=f"{len(rows)} trainings")
    loss, step, lr, schedule, length = min(found)
    return TrainingPlan(lr, schedule, length, step), loss
