"""Several ways to do one thing, timed in turn (A B C A B C), so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from clso.energy import open_meter
from clso.profiling.measure import Row, measure
from clso.profiling.settings import ProfileSettings
from clso.profiling.subject import Subject

__all__ = ["Timed", "in_turn", "peak_of"]

_MAX_REASON = 400  # characters


@dataclass(frozen=True)
class Timed:
    """Seconds of the ways that could be timed, and why others could not."""

    seconds: dict[str, list[float]]
    failed: dict[str, str]

    def median(self, name: str) -> float | None:
        """The middle one of a way's seconds; None if it has none."""
        found = self.seconds.get(name)
        return statistics.median(found) if found else None


def in_turn(
    ways: Mapping[str, Callable[[], Any]], device: str, repeats: int, warm_up: int = 1
) -> Timed:
    """Seconds of each way, `repeats` times, after `warm_up` rounds that are not counted.

    A way that fails is left out from then on: it has no seconds, and its reason stands in `failed`.
    """
    found = Timed({name: [] for name in ways}, {})
    for turn in range(repeats + warm_up):
        for name, way in ways.items():
            if name in found.failed:
                continue
            try:
                _wait(device)
                start_s = time.perf_counter()
                way()
                _wait(device)
            except Exception as error:  # the other ways are worth having
                found.failed[name] = f"{type(error).__name__}: {error}"[:_MAX_REASON]
                del found.seconds[name]
            else:
                if turn >= warm_up:
                    found.seconds[name].append(time.perf_counter() - start_s)
    return found


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
