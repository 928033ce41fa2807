"""Does evolution earn its joules in `gpt2-memory`? Evolved winners against random search that spends as much, paired by seed.

Joules, or seconds if there are none, of whole runs: library, search, the winner written, read and
chosen on valid. Two random searches of different length say what one costs at all, and what an
evaluation adds; the random search of each pair gets as many evaluations as its evolved run's joules
pay for.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from clso.baseline import run_baseline
from clso.config import RunConfig
from clso.run import evolve

__all__ = ["equal_joules"]

_LEAST = 8  # evaluations of the shorter calibration
_MOST = 200_000


def equal_joules(record: Record, config: RunConfig, n_seeds: int) -> None:
    """Rows "calibration", then "0", "1", ... of the part "search"."""
    calibration = record.add("search", "calibration", partial(_calibrated, config))
    if calibration is None:
        return
    for seed in range(n_seeds):
        record.add("search", str(seed), partial(_pair, config.with_options(seed=seed), calibration))


def _calibrated(config: RunConfig) -> dict[str, Any]:
    """What a random search costs: {"fixed": ..., "each": ...} in "unit"."""
    with tempfile.TemporaryDirectory() as folder:
        evolve(config.with_options(gens=1), Path(folder) / "warm-up")
        lengths = (_LEAST, _LEAST, 10 * config.pop)  # the first one loads and compiles
        runs = [
            run_baseline("random-search", {"evaluations": n}, config, Path(folder) / str(i))
            for i, n in enumerate(lengths)
        ]
    _, short, long = (_spent(run) for run in runs)
    each = max((long - short) / (lengths[2] - lengths[1]), 1e-9)
    return {
        "unit": "s" if runs[0]["energy_j"] is None else "J",
        "fixed": max(0.0, short - each * _LEAST),
        "each": each,
    }


def _pair(config: RunConfig, calibration: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        own = evolve(config, Path(folder) / "evolved")
        paid = (_spent(own) - calibration["fixed"]) / calibration["each"]
        n = int(min(max(paid, _LEAST), _MOST))
        other = run_baseline(
            "random-search", {"evaluations": n}, config, Path(folder) / "random-search"
        )
    return {
        "unit": calibration["unit"],
        "evolved": {**_losses(own), "spent": _spent(own), "counts": own["counts"]},
        "random_search": {**_losses(other), "spent": _spent(other), "evaluations": n},
    }


def _losses(result: dict[str, Any]) -> dict[str, float]:
    return {name: result["best"][name] for name in ("valid_loss", "test_loss")}


def _spent(result: dict[str, Any]) -> float:
    energy = result["energy_j"]
    return float(energy["gross"]["total"] if energy else result["time_s"]["total"])
