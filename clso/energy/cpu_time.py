"""CPU seconds of this process and of the processes that it started."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CpuTime", "read_cpu_time"]


@dataclass(frozen=True)
class CpuTime:
    """User and system seconds: `own_s` of this process and its ended children, `tree_s` with the
    living."""

    own_s: float
    tree_s: float

    def since(self, start: CpuTime) -> float:
        """Return the CPU seconds since `start`, never fewer than own: a descendant may leave the
        tree."""
        return max(self.own_s - start.own_s, self.tree_s - start.tree_s)


def read_cpu_time() -> CpuTime:
    """Read the CPU seconds so far. If there are children it costs milliseconds: the process
    table is walked."""
    living_s = _living_descendants_s() if _has_children() else 0.0
    own_s = time.process_time() + sum(os.times()[2:4])
    return CpuTime(own_s, own_s + living_s)


def _has_children() -> bool:
    """Whether this process has children now; true if the system does not say."""
    try:
        threads = os.listdir("/proc/self/task")
        return any(Path(f"/proc/self/task/{thread}/children").read_bytes() for thread in threads)
    except OSError:
        return True


def _living_descendants_s() -> float:
    import psutil  # type: ignore[import-untyped, unused-ignore]

    def cpu_s(process: psutil.Process) -> float:
        try:
            return float(sum(process.cpu_times()[:4]))
        except (psutil.Error, OSError):  # it ended meanwhile; its parent has its time now
            return 0.0

    try:
        return sum(cpu_s(process) for process in psutil.Process().children(recursive=True))
    except (psutil.Error, OSError):
        return 0.0
