"""The self-test passes honest sources and fails lying ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clso.energy import self_test
from clso.energy.backend import NullBackend
from clso.energy.cards import open_cards
from clso.energy.counter import CounterLimits
from clso.energy.meter import EnergyMeter
from clso.energy.nvml import NvmlCounter
from clso.energy.replay import ReplayClock, ReplayPower, replay_counter
from clso.errors import EnergyError

LIMITS = CounterLimits(resolution_s=0.1, max_w=2000.0)


def replayed(power_w, *, reference_w=None, reset_at_s=None):
    clock = ReplayClock()
    counter = []
    for i in range(200):
        time_s = i / 10
        base_j = power_w * reset_at_s if reset_at_s is not None and time_s >= reset_at_s else 0.0
        counter.append((time_s, power_w * time_s - base_j))
    meter = EnergyMeter(replay_counter([counter], clock, LIMITS), clock=clock, sleep=clock.advance)
    reference = None
    if reference_w is not None:
        reference = ReplayPower([(i / 10, reference_w) for i in range(200)], clock)
    return self_test(meter, 5.0, reference=reference), meter


def test_honest_counter_passes():
    result, meter = replayed(300.0, reference_w=305.0)
    assert result["ok"] is True
    assert {name: check["ok"] for name, check in result["checks"].items()} == {
        "counter_monotonic": True,
        "plausible_watts": True,
        "counter_agrees_with_power": True,
    }
    assert result["checks"]["plausible_watts"]["value"] == pytest.approx(300.0, rel=0.05)
    assert meter.windows == []
    json.dumps(result)


def test_counter_that_disagrees_with_the_power_fails():
    result, _ = replayed(300.0, reference_w=340.0)
    assert result["ok"] is False
    assert result["checks"]["counter_agrees_with_power"]["ok"] is False


@pytest.mark.parametrize("power_w", [0.2, 0.0])
def test_implausible_power_fails(power_w):
    result, _ = replayed(power_w)
    assert result["checks"]["plausible_watts"]["ok"] is False
    assert result["checks"]["counter_agrees_with_power"]["ok"] is None
    assert result["ok"] is False


def test_reset_fails():
    result, _ = replayed(300.0, reset_at_s=4.0)
    assert result["checks"]["counter_monotonic"]["ok"] is False
    assert result["ok"] is False


def test_null_source_is_neither_good_nor_bad():
    result = self_test(EnergyMeter(NullBackend("no counter")))
    assert (result["ok"], result["reason"]) == (None, "no counter")
    assert all(check["ok"] is None for check in result["checks"].values())


def test_sampled_source_has_no_counter_to_check():
    clock = ReplayClock()
    recording = [(i / 10, 250.0) for i in range(200)]
    meter = EnergyMeter(ReplayPower(recording, clock), clock=clock, sleep=clock.advance)
    result = self_test(meter)
    assert result["ok"] is True
    assert result["checks"]["counter_monotonic"]["ok"] is None


def test_nvml_counter_is_compared_with_the_same_cards_power_under_load(driver):
    clock = ReplayClock()
    for card, watts in zip(driver.cards, (400, 200), strict=True):
        card.energy_mj = lambda watts=watts: int(watts * 1000 * clock.now_s)
        card.power_mw = watts * 1000
    meter = EnergyMeter(NvmlCounter(open_cards([0, 1], driver), clock), clock=clock)
    calls: list[Any] = []

    def work() -> None:
        calls.append(None)
        clock.advance(1 / 16)

    # as long as a power reading's average, and no gap is longer
    result = self_test(meter, 1.0, work)
    assert result["ok"] is True
    assert result["checks"]["counter_agrees_with_power"]["value"] == pytest.approx(1.0, abs=0.01)
    assert result["checks"]["plausible_watts"]["value"] == pytest.approx(300.0, rel=0.01)
    assert len(calls) >= 40
    assert driver.users == 1


def test_error_of_the_work_passes_and_leaves_the_meter_usable():
    clock = ReplayClock()
    meter = EnergyMeter(
        replay_counter([[(float(t), 100.0 * t) for t in range(30)]], clock, LIMITS),
        clock=clock,
        sleep=clock.advance,
    )

    def work() -> None:
        raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        self_test(meter, work=work)
    assert meter.measure_idle(5.0) == 100.0


def test_open_window_is_refused():
    clock = ReplayClock()
    meter = EnergyMeter(
        replay_counter([[(0.0, 0.0)]], clock, LIMITS), clock=clock, sleep=clock.advance
    )
    with meter.window("search"), pytest.raises(EnergyError, match="overlap"):
        self_test(meter)
