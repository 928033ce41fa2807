"""Measured energy: windows over a device's own counters, in which "not measured" is `None` with a
reason.

    meter = open_meter("auto", device="cuda")
    with meter.window("search") as window:
        ...
    window.energy_j, window.energy_net_j, window.reason

Sources: the NVML total-energy counter, NVML sampled power, RAPL, none (with a reason), and recorded
readings."""

from __future__ import annotations

from clso.energy.checks import self_test
from clso.energy.meter import EnergyMeter
from clso.energy.opening import SOURCES, open_meter
from clso.energy.window import PhaseTotals, Window

__all__ = ["SOURCES", "EnergyMeter", "PhaseTotals", "Window", "open_meter", "self_test"]
