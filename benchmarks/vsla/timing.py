"""Several ways to do one thing, timed in turn (A B C A B C), so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from clso.energy import open_meter
from clso.profiling.measure import Row, measure
from clso.profiling.settings import ProfileSettings
from clso.profiling.subject import Subject

__all__ = ["in_turn", "peak_of"]


def in_turn(
    ways: Mapping[str, Callable[[], Any]], device: str, repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way, `repeats` times, after `warm_up` rounds that are not counted."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + warm_up):
        for name, way in ways.items():
            _wait(device)
            start_s = time.perf_counter()
            way()
            _wait(device)
            if turn >= warm_up:
                found[name].append(time.perf_counter() - start_s)
    return found


def median(times: list[float]) -> float:
    """The middle one."""
    return statistics.median(times)


def peak_of(make: Callable[[], Subject], *, repeats: int = 1, max_time_s: float = 600.0) -> Row:
    """Peak memory, FLOPs and status of one cell, by `clso.profiling.measure`."""
    settings = ProfileSettings(
        models=("vsla",), repeats=repeats, min_time_s=0.0, max_time_s=max_time_s
    )
    with open_meter("null", "cpu") as meter:
        return measure(make, Row("", 0, 1), settings, meter, watched_s=5.0)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
