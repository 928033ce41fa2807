"""Which NVML cards stand behind torch's CUDA devices, and their readings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clso.energy.backend import describe
from clso.errors import EnergyError

__all__ = ["MAX_CARD_W", "Cards", "open_cards", "visible_ordinals"]

MAX_CARD_W = 2000.0
"""No card draws more."""

_ORDINAL = re.compile(r"\+?(\d+)")
_PREFIX = "GPU-"


class Cards:
    """Handles of the cards that work. Readings raise NVML's own errors."""

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:
        self._nvml, self._handles = nvml, tuple(handles)

    def energy_j(self) -> list[float]:
        """Return each card's energy since its driver was loaded, in joules."""
        return [
            self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3 for handle in self._handles
        ]

    def power_w(self) -> list[float]:
        """Return each card's power, in watts (an average over up to 1 s, by the card's
        generation)."""
        return [self._nvml.nvmlDeviceGetPowerUsage(handle) / 1e3 for handle in self._handles]

    def utilisation(self) -> list[tuple[float, float]]:
        """Return of each card the shares of the last sampling period in which a kernel ran, and in
        which memory was read or written."""
        rates = [self._nvml.nvmlDeviceGetUtilizationRates(handle) for handle in self._handles]
        return [(rate.gpu / 100, rate.memory / 100) for rate in rates]

    def bandwidth_bytes_per_s(self) -> list[float]:
        """Return each card's greatest memory bandwidth: two transfers a clock, over its whole bus."""
        clock = self._nvml.NVML_CLOCK_MEM
        return [
            2e6
            * self._nvml.nvmlDeviceGetMaxClockInfo(handle, clock)
            * self._nvml.nvmlDeviceGetMemoryBusWidth(handle)
            / 8
            for handle in self._handles
        ]

    def close(self) -> None:
        """Give NVML back (it counts its users)."""
        self._nvml.nvmlShutdown()


def open_cards(
    indices: Sequence[int], nvml: Any = None, environ: Mapping[str, str] | None = None
) -> Cards:
    """Open the cards behind CUDA device `indices`, as CUDA_VISIBLE_DEVICES numbers them; each
    counts once.

    Args:
        indices: torch's device indices.
        nvml: the `pynvml` module, or one that answers like it.
        environ: the environment; the process's own by default.

    Raises:
        EnergyError: no driver, no such device, a MIG slice (energy is counted for whole cards
            only), or an order of the cards that cannot be told.
    """
    if nvml is None:
        try:
            import pynvml
        except ImportError as error:
            raise EnergyError(
                "NVML needs the package nvidia-ml-py", remedy="pip install nvidia-ml-py"
            ) from error
        nvml = pynvml
    try:
        nvml.nvmlInit()
    except Exception as error:
        raise EnergyError(
            f"NVML cannot be started ({describe(error)})",
            remedy="It needs an NVIDIA GPU and its driver",
        ) from error
    try:
        return Cards(nvml, _handles(indices, nvml, os.environ if environ is None else environ))
    except EnergyError:
        nvml.nvmlShutdown()
        raise
    except Exception as error:
        nvml.nvmlShutdown()
        raise EnergyError(f"NVML cannot list the cards ({describe(error)})") from error


def visible_ordinals(visible: str | None, uuids: Sequence[str]) -> list[int]:
    """Return, for each CUDA device in order, its place in `uuids`, by CUDA's rules for
    CUDA_VISIBLE_DEVICES.

    Entries are ordinals (of which CUDA reads the leading digits) or (starts of) UUIDs; the first
    that fits no card, or several, ends the list, and a card given twice empties it. Source: CUDA
    C++ Programming Guide, "CUDA Environment Variables".

    Raises:
        EnergyError: an entry is a MIG slice, or ordinals and UUIDs stand in one list: CUDA's
            documents do not say what it makes of that, and its ordinals are not NVML's.
    """
    if visible is None:
        return list(range(len(uuids)))
    ordinals: list[int] = []
    entries = [part.strip() for part in visible.split(",")]
    for entry in entries:
        if entry.upper().startswith("MIG-"):
            raise _mig(entry)
        fits = _fitting(entry, uuids)
        if len(fits) != 1:
            break
        if _is_uuid(entry) != _is_uuid(entries[0]):
            raise EnergyError(
                "CUDA_VISIBLE_DEVICES names cards by ordinal or by UUID, not by both",
                got=visible,
                remedy="Give the UUID of each (nvidia-smi -L), else it cannot be told which card works",
            )
        ordinals += fits
    return ordinals if len(set(ordinals)) == len(ordinals) else []


def _is_uuid(entry: str) -> bool:
    return entry.upper().startswith(_PREFIX)


def _fitting(entry: str, uuids: Sequence[str]) -> list[int]:
    """Places in `uuids` that an entry of CUDA_VISIBLE_DEVICES fits."""
    if _is_uuid(entry):
        return [i for i, uuid in enumerate(uuids) if uuid.lower().startswith(entry.lower())]
    number = _ORDINAL.match(entry)
    return [int(number[1])] if number and int(number[1]) < len(uuids) else []


def _handles(indices: Sequence[int], nvml: Any, environ: Mapping[str, str]) -> list[Any]:
    every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    ordinals = visible_ordinals(visible, [nvml.nvmlDeviceGetUUID(handle) for handle in every])
    # CUDA puts the fastest card first unless told otherwise, NVML goes by bus: only equal cards are
    # safe.
    by_uuid = visible is not None and _is_uuid(visible.strip())
    by_bus = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not (by_uuid or by_bus) and len({nvml.nvmlDeviceGetName(handle) for handle in every}) > 1:
        raise EnergyError(
            "Cards of different models are numbered differently by CUDA and by NVML",
            remedy="Set CUDA_DEVICE_ORDER=PCI_BUS_ID before the start, or name the cards by UUID in "
            "CUDA_VISIBLE_DEVICES",
        )
    for index in indices:
        if index >= len(ordinals):
            raise EnergyError(
                f"A CUDA device's index must be below the number of visible cards, {len(ordinals)}",
                got=index,
                remedy="Look at `nvidia-smi -L` and CUDA_VISIBLE_DEVICES",
            )
    handles = [every[ordinal] for ordinal in dict.fromkeys(ordinals[index] for index in indices)]
    for handle in handles:
        if _has_mig(nvml, handle):
            raise _mig(nvml.nvmlDeviceGetUUID(handle))
    return handles


def _has_mig(nvml: Any, handle: Any) -> bool:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError as error:
        # Cards and drivers from before MIG do not know the question.
        if error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
            return False
        raise
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


def _mig(name: str) -> EnergyError:
    return EnergyError(
        "NVML counts energy for a whole card, so a MIG slice's share cannot be measured",
        got=name,
        remedy="Use a card without MIG",
    )
