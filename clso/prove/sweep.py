"""The search for the strongest AdamW: every rate, schedule and length, stopped where valid is
best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clso.baseline import TimedTraining, TrainingPlan
from clso.energy import EnergyMeter
from clso.errors import EvaluationError
from clso.prove.config import ProveConfig

__all__ = ["best_within", "plans", "sweep_key", "sweep_row"]


def plans(settings: ProveConfig) -> list[TrainingPlan]:
    """What is tried. A constant schedule's shorter lengths are prefixes of its longest, so one
    training tells all."""
    out = []
    for table in settings.variants:
        variant = _variant(table)
        for schedule in settings.schedules:
            lengths = settings.steps_grid if schedule == "cosine" else settings.steps_grid[-1:]
            out += [
                TrainingPlan(lr, schedule, n, n, variant) for lr in settings.rates for n in lengths
            ]
    return out


def sweep_key(plan: TrainingPlan) -> str:
    """Under which a plan's row is found again."""
    own = "/" + ",".join(f"{name}={value}" for name, value in plan.variant) if plan.variant else ""
    return f"sweep/{plan.lr:g}/{plan.schedule}/{plan.steps}{own}"


def _variant(table: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A table of JSON or TOML types as what can be hashed, in the order of the names."""
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in sorted(table.items()))


def sweep_row(
    meter: EnergyMeter, training: TimedTraining, plan: TrainingPlan, seed: int, every: int
) -> dict[str, Any]:
    """Train by one plan, scoring all along; its cost is the sweep's own and no side's."""
    training.prepare(plan)
    with meter.window("sweep", record=False) as window:
        curve = training.curve(seed, plan, every)
    return {
        "type": "sweep",
        "lr": plan.lr,
        "schedule": plan.schedule,
        "steps": plan.steps,
        **({"variant": dict(plan.variant)} if plan.variant else {}),
        "curve": [[step, loss if math.isfinite(loss) else None] for step, loss in curve],
        "time_s": window.time_s,
        "cpu_time_s": window.cpu_time_s,
        "energy_j": window.energy_j,
        "energy_reason": window.reason,
    }


def best_within(
    rows: Sequence[dict[str, Any]], steps: float = math.inf
) -> tuple[TrainingPlan, float]:
    """The plan with the lowest loss on valid in at most `steps` steps, stopped exactly there, and
    that loss.

    Raises `EvaluationError` if everything diverged.
    """
    found = [
        (loss, step, row["lr"], row["schedule"], row["steps"], _variant(row.get("variant", {})))
        for row in rows
        for step, loss in row["curve"]
        if step <= steps and loss is not None
    ]
    if not found:
        raise EvaluationError(
            "at least one AdamW of the sweep has a finite loss",
            problem=f"all {len(rows)} trainings diverged",
        )
    loss, step, lr, schedule, length, variant = min(found, key=lambda item: item[:5])
    return TrainingPlan(lr, schedule, length, step, variant), loss
