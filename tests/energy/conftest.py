"""A stand-in for the NVIDIA driver: what CLSO calls of pynvml, over cards whose readings a test
sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml
import pytest


@dataclass
class FakeCard:
    """One card; a reading that is an exception is raised. A callable reading is called each
    time."""

    uuid: str = "GPU-aaaa"
    name: str = "H100"
    energy_mj: int | Exception | Callable[[], int] = 0
    power_mw: int | Exception | Callable[[], int] = 100_000
    mig: int | Exception = pynvml.NVML_DEVICE_MIG_DISABLE
    busy_percent: tuple[int, int] = (0, 0)
    """Of its kernels and its memory."""


@dataclass
class FakeDriver:
    """Answers like the `pynvml` module; the errors are pynvml's own."""

    cards: list[FakeCard]
    init_error: Exception | None = None
    users: int = 0
    NVMLError: type[Exception] = field(default=pynvml.NVMLError)
    NVML_ERROR_NOT_SUPPORTED: int = pynvml.NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_FUNCTION_NOT_FOUND: int = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    NVML_DEVICE_MIG_ENABLE: int = pynvml.NVML_DEVICE_MIG_ENABLE
    NVML_CLOCK_MEM: int = pynvml.NVML_CLOCK_MEM

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise self.init_error
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:
        return self.cards[index]

    def nvmlDeviceGetUUID(self, card: FakeCard) -> str:
        return card.uuid

    def nvmlDeviceGetName(self, card: FakeCard) -> str:
        return card.name

    def nvmlDeviceGetMigMode(self, card: FakeCard) -> tuple[int, int]:
        return (_value(card.mig), 0)

    def nvmlDeviceGetTotalEnergyConsumption(self, card: FakeCard) -> int:
        return _value(card.energy_mj)

    def nvmlDeviceGetPowerUsage(self, card: FakeCard) -> int:
        return _value(card.power_mw)

    def nvmlDeviceGetUtilizationRates(self, card: FakeCard) -> SimpleNamespace:
        gpu, memory = card.busy_percent
        return SimpleNamespace(gpu=gpu, memory=memory)

    def nvmlDeviceGetMaxClockInfo(self, card: FakeCard, kind: int) -> int:
        assert kind == pynvml.NVML_CLOCK_MEM
        return 2619  # MHz, of an H100

    def nvmlDeviceGetMemoryBusWidth(self, card: FakeCard) -> int:
        return 5120


def _value(reading: int | Exception | Callable[[], int]) -> int:
    if isinstance(reading, Exception):
        raise reading
    return reading() if callable(reading) else reading


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """Two equal cards, and an environment that hides none of them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return FakeDriver([FakeCard("GPU-aaaa"), FakeCard("GPU-bbbb")])
