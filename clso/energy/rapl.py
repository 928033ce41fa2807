"""CPU package energy from Linux's powercap tree (RAPL), for the whole machine and not for one
process.

Only package domains are summed: `core` and `uncore` are parts of them, `psys` contains them. Memory
(`dram`) is a separate domain on servers and is left out. Source: Linux
Documentation/power/powercap/powercap.rst."""

from __future__ import annotations

import re
from pathlib import Path

from clso.energy.backend import Clock, ReadingFault, describe
from clso.energy.counter import CounterBackend, CounterLimits
from clso.errors import EnergyError

__all__ = ["POWERCAP_ROOT", "open_rapl"]

POWERCAP_ROOT = Path("/sys/class/powercap")
RESOLUTION_S = 0.001
MAX_PACKAGE_W = 1000.0
TOP_LEVEL = re.compile(r"intel-rapl:\d+")


def open_rapl(clock: Clock, root: Path = POWERCAP_ROOT) -> CounterBackend:
    """Open every package domain under `root`.

    Raises:
        EnergyError: there is no package domain, or one cannot be read, or its range cannot be.
    """
    try:
        packages = sorted(
            p for p in root.iterdir() if TOP_LEVEL.fullmatch(p.name) and _is_package(p)
        )
    except (OSError, ValueError) as error:
        raise _unreadable(root, error) from error
    if not packages:
        raise EnergyError(
            f"RAPL needs a package domain under {root} and there is none", remedy=_ELSEWHERE
        )

    def read_j() -> list[float]:
        return [_microjoules(package / "energy_uj") for package in packages]

    try:
        ranges_j = tuple(_microjoules(package / "max_energy_range_uj") for package in packages)
        # Ten readings in the shortest time in which a counter could wrap, so that a late one does
        # no harm.
        poll_s = min(ranges_j) / MAX_PACKAGE_W / 10
        if poll_s < RESOLUTION_S:
            raise ReadingFault(
                f"a counter that wraps at {min(ranges_j):g} J cannot be read often enough"
            )
        return CounterBackend(
            "rapl", read_j, CounterLimits(RESOLUTION_S, MAX_PACKAGE_W, ranges_j, poll_s), clock
        )
    except (OSError, ValueError, ReadingFault) as error:
        raise _unreadable(root, error) from error


_ELSEWHERE = "Containers and virtual machines often hide it: run on the host, or use source 'null'"


def _is_package(domain: Path) -> bool:
    return (domain / "name").read_text().startswith("package")


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _unreadable(root: Path, error: Exception) -> EnergyError:
    remedy = _ELSEWHERE
    if isinstance(error, PermissionError):
        remedy = (
            f"Ask the administrator for `chmod o+r {root}/intel-rapl:*/energy_uj`, or run as root"
        )
    return EnergyError(f"RAPL cannot be read ({describe(error)})", remedy=remedy)
