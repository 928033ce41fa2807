"""Choosing an energy source for a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clso.energy.backend import Backend, Clock, NullBackend, describe
from clso.energy.cards import Cards, open_cards
from clso.energy.device import cuda_indices
from clso.energy.meter import EnergyMeter
from clso.energy.nvml import NvmlCounter
from clso.energy.nvml_sampled import NvmlSampled
from clso.energy.rapl import POWERCAP_ROOT, open_rapl
from clso.errors import EnergyError

__all__ = ["SOURCES", "open_meter", "open_source"]

SOURCES = ("auto", "nvml", "nvml-sampled", "rapl", "null")


def open_meter(
    source: str = "auto",
    device: str | Sequence[str] = "cpu",
    *,
    clock: Clock = time.perf_counter,
    nvml: Any = None,
    rapl_root: Path = POWERCAP_ROOT,
) -> EnergyMeter:
    """Open an energy source.

    Args:
        source: one of `SOURCES`. "auto" takes the NVML counter, else NVML's sampled power, for CUDA
            devices, and RAPL for the CPU; if that cannot be read it measures nothing and says
            why.
        device: the torch-style device that works ("cpu", "cuda", "cuda:1"), or several, whose cards
            are summed.
        clock: monotonic seconds.
        nvml: the `pynvml` module, or one that answers like it.
        rapl_root: the powercap tree.

    Raises:
        EnergyError: the source is unknown, or was asked for by name and cannot be read; or a device
            name is malformed.
    """
    backend = open_source(source, device, clock=clock, nvml=nvml, rapl_root=rapl_root)
    devices = [device] if isinstance(device, str) else device
    return EnergyMeter(backend, cuda_indices(devices), clock=clock)


def open_source(
    source: str,
    device: str | Sequence[str],
    *,
    clock: Clock = time.perf_counter,
    nvml: Any = None,
    rapl_root: Path = POWERCAP_ROOT,
) -> Backend:
    """The bare source of `open_meter`, for one who reads it without a gap and not in windows.

    Raises:
        EnergyError: as `open_meter`.
    """
    if source not in SOURCES:
        raise EnergyError(f"An energy source is one of {', '.join(SOURCES)}", got=source)
    devices = [device] if isinstance(device, str) else list(device)
    indices = cuda_indices(devices)

    openers: dict[str, Callable[[], Backend]] = {
        "nvml": lambda: _on_cards("NVML's energy counter", NvmlCounter, indices, nvml, clock),
        "nvml-sampled": lambda: _on_cards(
            "NVML's power reading", NvmlSampled, indices, nvml, clock
        ),
        "rapl": lambda: open_rapl(clock, rapl_root),
        "null": lambda: NullBackend("energy measurement was switched off"),
    }
    if source != "auto":
        return openers[source]()
    if indices:
        candidates = ["nvml", "nvml-sampled"]
    elif all(name.startswith("cpu") for name in devices):
        candidates = ["rapl"]
    else:
        candidates = []
    reasons = []
    for candidate in candidates:
        backend = _backend_or_reason(openers[candidate])
        if not isinstance(backend, str):
            return backend
        reasons.append(backend)
    reason = (
        "; ".join(dict.fromkeys(reasons)) or f"no energy source is known for {', '.join(devices)}"
    )
    return NullBackend(reason)


def _backend_or_reason(opener: Callable[[], Backend]) -> Backend | str:
    try:
        return opener()
    except EnergyError as error:
        return str(error)


def _on_cards(
    what: str,
    make: Callable[[Cards, Clock], Backend],
    indices: Sequence[int],
    nvml: Any,
    clock: Clock,
) -> Backend:
    if not indices:
        raise EnergyError(
            "NVML measures CUDA devices and none was named",
            remedy='Give device="cuda", or use RAPL',
        )
    cards = open_cards(indices, nvml)
    try:
        return make(cards, clock)
    except Exception as error:
        cards.close()
        raise EnergyError(f"{what} cannot be read ({describe(error)})") from error
