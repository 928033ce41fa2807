"""From the rows of a proof to its verdict: only what was measured, and no claim if something was
not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clso.config import RunConfig
from clso.energy.window import sum_optional
from clso.prove.config import ProveConfig
from clso.prove.evidence import Evidence
from clso.prove.statistics import Matrix, interval_of_ratio, median_run, paired_tests
from clso.prove.sweep import best_within, points_of_sweep
from clso.run.criteria import CRITERIA, OWN_CRITERIA, criteria_met, measured

__all__ = ["OPPONENTS", "cost_key", "make_verdict", "points_of", "targets"]

OPPONENTS = ("adamw_best", "adamw_reference")


def make_verdict(evidence: Evidence, config: RunConfig, settings: ProveConfig) -> dict[str, Any]:
    """What verdict.json holds. Energies are joules, times seconds, losses nats per token."""
    seeds = [config.seed + i for i in range(settings.seeds)]
    manifest = evidence.read_json("manifest.json")
    idle = _idle(evidence)
    sides = {name: _Side(name, evidence, seeds, idle) for name in ("clso", *OPPONENTS)}
    best, sweep_loss = best_within(evidence.of_type("sweep"))
    test = evidence.rows["self-test"]
    no_claim = _why_no_claim(test, sides)
    own = sides["clso"]
    out: dict[str, Any] = {
        "energy_source": None if manifest["energy"]["reason"] else manifest["energy"]["source"],
        "energy_claim": no_claim is None,
        "energy_reason": no_claim,
        "device": manifest["agree"]["device"],
        "seeds": len(seeds),
        "quick": settings.quick,
        "deviations": settings.deviations
        + ([] if no_claim is None else [f"no energy claim: {no_claim}"]),
        "idle_w": _mean([idle[row["key"]] for row in evidence.of_type("window")]),
        "clso": {**own.summary(), "space": config.space, "generations": config.gens},
        "adamw_best": {
            **sides["adamw_best"].summary(),
            "plan": str(best),
            "sweep_valid_loss": sweep_loss,
        },
        "adamw_reference": sides["adamw_reference"].summary(),
    }
    out["protocol_met"] = not out["deviations"]
    ratios = {name: _ratios(own, sides[name]) for name in OPPONENTS}
    out["energy_ratio"] = ratios["adamw_best"]["energy_ratio"] if no_claim is None else None
    out["against"] = {
        name: {**ratios[name], "criteria": _criteria(ratios[name], claim=no_claim is None)}
        for name in OPPONENTS
    }
    out["criteria"] = [
        name for name, met in out["against"]["adamw_best"]["criteria"].items() if met
    ]
    out["sweep"] = _sweep_cost(evidence.of_type("sweep"))
    out["controls"] = _controls(evidence)
    out["targets"] = targets(evidence, out)
    out["self_test"] = {k: v for k, v in test.items() if k not in ("key", "type")}
    return out


class _Side:
    """One side's figures as matrices (n_windows, n_seeds), each entry a mean over a seed's whole
    runs in a window."""

    def __init__(
        self, name: str, evidence: Evidence, seeds: Sequence[int], idle: Mapping[str, float | None]
    ) -> None:
        """`idle` has the idle watts of each window by its key."""
        self.windows = [row for row in evidence.of_type("window") if row["arm"] == name]
        models = {row["seed"]: row for row in evidence.of_type("model") if row["arm"] == name}
        self.test = [float(models[s]["test_loss"]) for s in seeds]
        self.valid = [float(models[s]["valid_loss"]) for s in seeds]
        self.time = np.array([[_seed_mean(w, s, 1) for s in seeds] for w in self.windows])
        self.energy: Matrix | None = None
        self.by_seed = all(measured(run[2]) for w in self.windows for run in w["runs"])
        if all(measured(w["energy_j"]) for w in self.windows):
            self.energy = np.array(
                [
                    [
                        _seed_mean(w, s, 2) if self.by_seed else w["energy_j"] / w["n_runs"]
                        for s in seeds
                    ]
                    for w in self.windows
                ]
            )
        watts = [idle[w["key"]] for w in self.windows]
        self.net: Matrix | None = None
        if self.energy is not None and None not in watts:
            self.net = self.energy - np.array(watts, dtype=np.float64)[:, None] * self.time

    def summary(self) -> dict[str, Any]:
        n_runs = sum(w["n_runs"] for w in self.windows)
        return {
            "test_loss": float(np.median(self.test)),
            "valid_loss": float(np.median(self.valid)),
            "energy_j": None if self.energy is None else median_run(self.energy),
            "energy_net_j": None if self.net is None else median_run(self.net),
            "time_s": median_run(self.time),
            "cpu_time_s": sum(w["cpu_time_s"] for w in self.windows) / n_runs,
            "n_runs": n_runs,
            "windows": [
                {
                    "n_runs": w["n_runs"],
                    "time_s": w["time_s"],
                    "energy_j": w["energy_j"],
                    "energy_per_run_j": None
                    if w["energy_j"] is None
                    else w["energy_j"] / w["n_runs"],
                }
                for w in self.windows
            ],
            "test_loss_by_seed": self.test,
            "energy_by_seed_j": self.energy.mean(axis=0).tolist()
            if self.energy is not None and self.by_seed
            else None,
        }


def _idle(evidence: Evidence) -> dict[str, float | None]:
    """Idle watts by the keys of windows: the mean of the readings on the window's own card, None
    if there is none."""
    cards = evidence.cards()
    rows = evidence.of_type("idle")
    return {
        window["key"]: _mean([r["idle_w"] for r in rows if cards[r["key"]] == cards[window["key"]]])
        for window in evidence.of_type("window")
    }


def _seed_mean(window: dict[str, Any], seed: int, column: int) -> float:
    return float(np.mean([run[column] for run in window["runs"] if run[0] == seed]))


def _ratios(own: _Side, other: _Side) -> dict[str, Any]:
    energy = net = None
    tests = {
        "test_loss": paired_tests(own.test, other.test),
        "time_s": _paired(own.time, other.time),
    }
    if own.energy is not None and other.energy is not None:
        energy = interval_of_ratio(own.energy, other.energy)
        if own.by_seed and other.by_seed:
            tests["energy_j"] = _paired(own.energy, other.energy)
    if own.net is not None and other.net is not None and other.net.min() > 0:
        net = interval_of_ratio(own.net, other.net)
    return {
        "loss_ratio": float(np.median(own.test) / np.median(other.test)),
        "energy_ratio": energy,
        "energy_net_ratio": net,
        "speed_up": median_run(other.time) / median_run(own.time),
        "tests": tests,
    }


def _paired(own: Matrix, other: Matrix) -> dict[str, Any]:
    return paired_tests(own.mean(axis=0).tolist(), other.mean(axis=0).tolist())


def _criteria(ratios: dict[str, Any], *, claim: bool) -> dict[str, bool]:
    ratio = ratios["energy_ratio"]
    saved = 1 - ratio["value"] if claim and ratio else None
    every = (*CRITERIA, *OWN_CRITERIA)
    return criteria_met(every, ratios["loss_ratio"], saved, ratios["speed_up"])


def _why_no_claim(test: dict[str, Any], sides: dict[str, _Side]) -> str | None:
    if test["reason"]:
        return str(test["reason"])
    if test["ok"] is False:
        failed = ", ".join(name for name, check in test["checks"].items() if check["ok"] is False)
        return f"the meter failed its self-test ({failed})"
    for name, side in sides.items():
        for w in side.windows:
            if not measured(w["energy_j"]):
                return f"a window of {name} was not measured ({w['energy_reason']})"
            if w["short"]:
                return f"a window of {name} is too short for the source's resolution ({w['time_s']:.2f} s)"
    return None


def _sweep_cost(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "trainings": len(rows),
        "energy_j": sum_optional(row["energy_j"] for row in rows),
        "time_s": math.fsum(row["time_s"] for row in rows),
    }


def _controls(evidence: Evidence) -> list[dict[str, Any]]:
    """Losses of the controls, medians over their seeds, and what one run cost."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in evidence.of_type("control"):
        shared = len(row["models"])  # n-grams are fitted in one go; their cost is the whole's
        for name, losses in row["models"].items():
            cost = {k: row[k] for k in ("energy_j", "time_s", "cpu_time_s")}
            groups.setdefault(name, []).append({**losses, **cost, "shared_by": shared})
    costs = {row["arm"]: row for row in evidence.of_type("cost")}
    for row in evidence.of_type("model"):
        if cost_row := costs.get(row["arm"]):
            one = {
                k: cost_row[k] and cost_row[k] / cost_row["n_runs"]
                for k in ("energy_j", "time_s", "cpu_time_s")
            }
            groups.setdefault(row["arm"], []).append({**row, **one, "shared_by": 1})
    out = []
    for name, rows in groups.items():
        figures = {
            k: None if any(r[k] is None for r in rows) else float(np.median([r[k] for r in rows]))
            for k in ("valid_loss", "test_loss", "energy_j", "time_s", "cpu_time_s")
        }
        out.append({"name": name, "seeds": len(rows), "shared_by": rows[0]["shared_by"], **figures})
    return out


def cost_key(verdict: dict[str, Any]) -> str:
    """What costs are compared in: joules, or seconds if there is no energy."""
    return (
        "energy_j"
        if all(verdict[s]["energy_j"] is not None for s in ("clso", *OPPONENTS))
        else "time_s"
    )


def points_of(
    evidence: Evidence, verdict: dict[str, Any]
) -> dict[str, list[tuple[float, float, int]]]:
    """By side, (cost of a run, loss on valid, steps or generations): the curves' points."""
    key = cost_key(verdict)
    out: dict[str, list[tuple[float, float, int]]] = {"clso": [], "adamw": []}
    for row in evidence.of_type("curve"):
        if row[key] is not None and row["valid_loss"] is not None:
            side = "adamw" if row["plan"] else "clso"
            out[side].append((row[key] / row["n_runs"], row["valid_loss"], row["length"]))
    return out


def targets(evidence: Evidence, verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """The least that either side spent on a run which reached a loss on valid; None: it never did
    (infinite). AdamW's are also trainings of its sweep, up to the scoring that found the loss."""
    key = cost_key(verdict)
    points = {
        side: [(cost, loss) for cost, loss, _ in rows]
        for side, rows in points_of(evidence, verdict).items()
    }
    for name, side in (("clso", "clso"), ("adamw_best", "adamw"), ("adamw_reference", "adamw")):
        points[side].append((verdict[name][key], verdict[name]["valid_loss"]))
    sweep = evidence.of_type("sweep")
    if all(row[key] is not None for row in sweep):
        points["adamw"] += [(cost, loss) for cost, loss, _, _ in points_of_sweep(sweep, key)]
    marks = {
        "reference AdamW": verdict["adamw_reference"]["valid_loss"],
        "strongest AdamW": verdict["adamw_best"]["valid_loss"],
        "CLSO": verdict["clso"]["valid_loss"],
    }
    out = []
    for name, target in sorted(marks.items(), key=lambda item: -item[1]):
        reached = {
            side: min((cost for cost, loss in rows if loss <= target), default=None)
            for side, rows in points.items()
        }
        out.append({"target": name, "valid_loss": target, "unit": key, **reached})
    return out


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
