"""The search for the strongest AdamW, coarse to fine: every rate, schedule and length of each
variant, stopped where valid is best; then refinements of the strongest, one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clso.baseline import TimedTraining, TrainingPlan
from clso.energy import EnergyMeter
from clso.errors import EvaluationError
from clso.prove.config import ProveConfig

__all__ = [
    "best_within",
    "front",
    "plans",
    "points_of_sweep",
    "refined",
    "sweep_key",
    "sweep_row",
    "with_settings",
]

_RATE_FACTORS = (1.0, 1.5)
"""Of a refinement: a tied head, warm-up and clipping bear higher rates."""


def plans(settings: ProveConfig) -> list[TrainingPlan]:
    """What is tried. A constant schedule's shorter lengths are prefixes of its longest, so one
    training tells all."""
    out = []
    for grid in settings.grids:
        variant = _variant(grid.variant)
        for schedule in grid.schedules:
            lengths = grid.steps_grid if schedule == "cosine" else grid.steps_grid[-1:]
            out += [TrainingPlan(lr, schedule, n, n, variant) for lr in grid.rates for n in lengths]
    return list(dict.fromkeys(out))


def refined(plan: TrainingPlan, table: Mapping[str, Any]) -> list[TrainingPlan]:
    """What is tried of a refinement of a plan, over its whole length; nothing of an empty one."""
    if not table:
        return []
    whole = with_settings(replace(plan, stop_at=plan.steps), table)
    return [replace(whole, lr=plan.lr * factor) for factor in _RATE_FACTORS]


def with_settings(plan: TrainingPlan, table: Mapping[str, Any]) -> TrainingPlan:
    """The plan with these settings of AdamW on top of its variant's."""
    return replace(plan, variant=_variant({**dict(plan.variant), **table}))


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


def points_of_sweep(
    rows: Sequence[dict[str, Any]], key: str
) -> Iterator[tuple[float, float, int, int]]:
    """Cost up to a scoring (the training's, shared out by its steps), loss on valid, the row's index,
    and the step."""
    for number, row in enumerate(rows):
        for step, loss in row["curve"]:
            if loss is not None:
                yield row[key] * step / row["curve"][-1][0], loss, number, step


def front(
    rows: Sequence[dict[str, Any]], most: int, as_good_as: float | None = None
) -> list[TrainingPlan]:
    """Plans of the sweep that no other beats in both cost and loss, cheapest first: `most` of them,
    evenly spread by the logarithm of their cost, the strongest among them, and the cheapest whose
    loss is at most `as_good_as`.

    Costs are joules, or seconds if not all joules are known; of a part of a training, its share.
    """
    if not most:
        return []
    key = "energy_j" if all(row["energy_j"] for row in rows) else "time_s"
    points = sorted(points_of_sweep(rows, key))
    found: list[tuple[float, float, int, int]] = []
    for point in points:
        if not found or point[1] < found[-1][1]:
            found.append(point)
    logs = np.log([point[0] for point in found])
    wanted = np.linspace(logs[0], logs[-1], most) if most > 1 else logs[-1:]
    chosen = {int(np.abs(logs - at).argmin()) for at in wanted}
    if as_good_as is not None:
        chosen |= set([i for i, point in enumerate(found) if point[1] <= as_good_as][:1])
    out = []
    for i in sorted(chosen):
        _, _, number, step = found[i]
        row = rows[number]
        variant = _variant(row.get("variant", {}))
        out.append(TrainingPlan(row["lr"], row["schedule"], row["steps"], step, variant))
    return out
