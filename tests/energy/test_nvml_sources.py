"""The NVML counter and NVML's sampled power, over a stand-in driver."""

from __future__ import annotations

import time

import pynvml
import pytest

from clso.energy import open_meter
from clso.energy.cards import open_cards
from clso.energy.meter import EnergyMeter
from clso.energy.nvml import NvmlCounter
from clso.energy.nvml_sampled import NvmlSampled
from clso.energy.replay import ReplayClock

LOST = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


def counter_meter(driver, device="cuda"):
    clock = ReplayClock()
    return open_meter("nvml", device, clock=clock, nvml=driver), clock


def test_counter_measures_millijoules_of_the_chosen_card(driver):
    meter, clock = counter_meter(driver, "cuda:1")
    with meter.window("search") as window:
        clock.advance(4.0)
        driver.cards[1].energy_mj += 1_200_500
        driver.cards[0].energy_mj += 77
    assert (window.energy_j, window.time_s, window.source) == (1200.5, 4.0, "nvml")
    assert window.reason is None
    assert not window.short


def test_counter_sums_several_cards(driver):
    meter, clock = counter_meter(driver, ["cuda:0", "cuda:1"])
    with meter.window("search") as window:
        clock.advance(2.0)
        driver.cards[0].energy_mj += 300_000
        driver.cards[1].energy_mj += 200_000
    assert window.energy_j == 500.0


def test_short_windows_are_marked_and_kept(driver):
    meter, clock = counter_meter(driver)
    with meter.window("blink") as window:
        clock.advance(0.9)
        driver.cards[0].energy_mj += 90_000
    assert window.short
    assert window.energy_j == 90.0


def test_counter_reset_is_none_with_a_reason(driver):
    driver.cards[0].energy_mj = 10_000_000
    meter, clock = counter_meter(driver)
    with meter.window("search") as window:
        clock.advance(2.0)
        driver.cards[0].energy_mj = 5_000
    assert window.energy_j is None
    assert "went backwards" in str(window.reason)


def test_reset_that_climbed_past_its_start_is_seen_by_polling(driver):
    driver.cards[0].energy_mj = 10_000
    meter = EnergyMeter(NvmlCounter(open_cards([0], driver), time.perf_counter, poll_s=0.01))
    with meter.window("search") as window:
        driver.cards[0].energy_mj = 0
        time.sleep(0.1)
        driver.cards[0].energy_mj = 30_000
    assert window.energy_j is None
    assert "went backwards" in str(window.reason)


def test_driver_lost_mid_run_spares_the_work_and_comes_back_only_with_the_driver(driver):
    meter, clock = counter_meter(driver)
    done = []
    with meter.window("search"):
        clock.advance(2.0)
        driver.cards[0].energy_mj = LOST
        done.append("first")
    with meter.window("search"):
        clock.advance(2.0)
        done.append("second")
    driver.cards[0].energy_mj = 0
    with meter.window("after"):
        clock.advance(2.0)
        driver.cards[0].energy_mj = 200_000
    assert done == ["first", "second"]
    assert [w.energy_j for w in meter.windows] == [None, None, 200.0]
    assert "GPU is lost" in meter.windows[0].reason
    assert "GPU is lost" in meter.windows[1].reason
    # A reading that comes back in the middle of a window cannot rescue it.
    driver.cards[0].energy_mj = LOST
    with meter.window("torn") as torn:
        clock.advance(2.0)
        driver.cards[0].energy_mj = 400_000
    assert torn.energy_j is None


def test_meter_gives_nvml_back_once(driver):
    with counter_meter(driver)[0] as meter:
        assert driver.users == 1
    meter.close()
    assert driver.users == 0


def test_sampled_power_integrates_on_its_thread(driver):
    meter = open_meter("nvml-sampled", "cuda", nvml=driver)
    with meter.window("search") as window:
        time.sleep(0.3)
    # The samples at the two ends lie just outside the window's own clock readings.
    assert window.read_j is not None
    assert 100.0 * window.time_s <= window.read_j <= 150.0 * window.time_s
    # its power readings may be averages over the last second, of which this is a third
    assert window.energy_j is None
    assert "too short" in str(window.reason)


def test_sampling_is_at_least_20_hz(driver):
    calls = []

    def power_mw() -> int:
        calls.append(time.perf_counter())
        return 100_000

    driver.cards[0].power_mw = power_mw
    meter = open_meter("nvml-sampled", "cuda", nvml=driver)
    with meter.window("search"):
        time.sleep(0.5)
    assert len(calls) >= 8  # 25 Hz, with room for a busy machine


def test_sampled_power_follows_a_ramp_by_the_trapezoid_rule(driver):
    clock = ReplayClock()
    driver.cards[0].power_mw = lambda: int(100_000 + 400_000 * clock.now_s)
    # A period longer than the window keeps the thread out: the two ends alone make the trapezoid.
    meter = EnergyMeter(NvmlSampled(open_cards([0], driver), clock, period_s=60.0), clock=clock)
    with meter.window("ramp") as window:
        clock.advance(0.5)
    assert window.read_j == pytest.approx(0.5 * (100.0 + 300.0) * 0.5)


def test_gap_between_samples_is_none_with_a_reason(driver):
    clock = ReplayClock()
    meter = EnergyMeter(NvmlSampled(open_cards([0], driver), clock, period_s=60.0), clock=clock)
    with meter.window("starved") as window:
        clock.advance(1.2)
    assert window.energy_j is None
    assert window.reason == "no power sample for 1.20 s (at most 1.00 s is allowed)"


def test_power_lost_on_the_thread_is_none_with_a_reason(driver):
    meter = open_meter("nvml-sampled", "cuda", nvml=driver)
    with meter.window("search") as window:
        driver.cards[0].power_mw = LOST
        time.sleep(0.2)
        driver.cards[0].power_mw = 100_000
    assert window.energy_j is None
    assert "GPU is lost" in str(window.reason)
    with meter.window("search") as window:
        time.sleep(0.05)
    assert window.read_j is not None
