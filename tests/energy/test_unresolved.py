"""Joules that no source can have read: windows shorter than its updates, readings that are no
numbers, sums of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from clso.energy import open_meter
from clso.energy.backend import Backend
from clso.energy.counter import CounterLimits
from clso.energy.ledger import Ledger
from clso.energy.meter import EnergyMeter
from clso.energy.replay import ReplayClock, ReplayPower, replay_counter
from clso.energy.window import add_totals, sum_optional, unmeasured
from clso.errors import EnergyError

LIMITS = CounterLimits(resolution_s=0.1, max_w=2000.0)
STEADY = [(i / 10, 30.0 * i) for i in range(400)]  # 300 W, shown every 0.1 s


def replayed(recording=STEADY, start_s=0.02):
    clock = ReplayClock()
    meter = EnergyMeter(
        replay_counter([recording], clock, LIMITS), clock=clock, sleep=clock.advance
    )
    clock.advance(start_s)
    return meter, clock


def spend(meter, clock, *seconds, name="search"):
    for time_s in seconds:
        with meter.window(name):
            clock.advance(time_s)


@pytest.mark.parametrize(("start_s", "read_j"), [(0.02, 0.0), (0.08, 30.0)])
def test_a_window_between_two_updates_is_none_whatever_was_read(start_s, read_j):
    meter, clock = replayed(start_s=start_s)
    spend(meter, clock, 0.04)
    (window,) = meter.windows
    assert window.read_j == read_j  # 12 J were spent
    assert window.energy_j is None
    assert (
        window.reason == "0.04 s is too short for the energy source: its readings may be 0.1 s old"
    )
    assert window.short


def test_a_counter_that_stood_still_for_longer_than_its_update_is_none():
    meter, clock = replayed([(0.0, 5.0)])
    spend(meter, clock, 0.15)
    assert meter.windows[0].energy_j is None
    assert (
        meter.windows[0].reason == "the energy source gained 0 J in 0.15 s, which no device draws"
    )


def test_short_windows_are_long_enough_together_once_their_ends_are():
    meter, clock = replayed()
    spend(meter, clock, *[0.04] * 50)  # 2 s, of which each of 50 windows may be 0.1 s off
    assert meter.by_phase()["search"]["energy_j"] is None
    assert "2 s is too short" in meter.by_phase()["search"]["reason"]
    spend(meter, clock, 1.02, 1.0, 1.0, 1.0)
    total = meter.by_phase()["search"]
    assert total["reason"] is None
    assert total["energy_j"] == pytest.approx(300.0 * 6.02, abs=30.0)


def test_a_sum_adds_what_was_read_and_not_what_could_be_stated():
    meter, clock = replayed()
    spend(meter, clock, 0.05, name="library")
    spend(meter, clock, 2.0, name="search")
    phases = meter.by_phase()
    assert phases["library"]["energy_j"] is None
    both = add_totals(list(phases.values()))
    assert both["energy_j"] == pytest.approx(300.0 * 2.05, abs=30.0)
    again = add_totals([add_totals([phases["library"]]), phases["search"]])  # as after a resume
    assert again == both


def test_idle_power_is_not_taken_from_a_window_that_says_nothing():
    meter, _ = replayed()
    assert meter.measure_idle(0.05) is None
    assert "too short" in meter.idle_reason


def ledger_of(*phases, recording=STEADY):
    meter, clock = replayed(recording)
    ledger = Ledger(meter)
    for name, time_s in phases:
        with ledger.phase(name):
            clock.advance(time_s)
    return ledger


def test_a_run_too_short_for_the_counter_has_no_joules_and_says_why():
    summary = ledger_of(("library", 0.03), ("search", 0.03)).summary()
    assert summary["energy_j"] is None
    assert (
        summary["energy_reason"]
        == "0.06 s is too short for the energy source: its readings may be 0.2 s old"
    )


def test_a_phase_too_short_for_the_counter_is_none_with_its_reason_beside_a_known_total():
    summary = ledger_of(("data", 0.01), ("library", 0.04), ("search", 5.0)).summary()
    energy = summary["energy_j"]
    assert (energy["gross"]["data"], energy["gross"]["library"]) == (None, None)
    assert energy["gross"]["search"] == pytest.approx(1500.0, abs=30.0)
    assert energy["gross"]["total"] == pytest.approx(1512.0, abs=30.0)
    assert list(energy["reasons"]) == ["data", "library"]
    assert "too short" in energy["reasons"]["library"]
    assert energy["resolution_s"] == 0.1
    assert summary["energy_reason"] is None


def test_a_lost_phase_makes_the_total_none_and_its_reason_survives_a_sum():
    ledger = ledger_of(("library", 1.0), ("search", 5.0))
    ledger.lost("search")
    summary = ledger.summary()
    assert summary["energy_j"] is None
    assert "killed" in summary["energy_reason"]
    assert summary["time_s"]["total"] == pytest.approx(6.0)


def test_missing_parts_are_not_nothing():
    assert sum_optional([1.0, None, 2.0]) is None
    assert sum_optional([1.0, 2.0]) == 3.0
    assert add_totals([])["energy_j"] is None
    assert add_totals([unmeasured(None, "why")])["reason"] == "why"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
@pytest.mark.parametrize("kind", ["counter", "power"])
@pytest.mark.parametrize("when_s", [0.0, 1.0])
def test_a_reading_that_is_no_amount_of_energy_is_none_with_a_reason(kind, value, when_s):
    clock = ReplayClock()
    backend: Backend
    if kind == "counter":
        good = [(0.0, 7.0), (1.0, 107.0), (2.0, 207.0)]
        backend = replay_counter([good], clock, LIMITS)
    else:
        good = [(t / 2, 100.0) for t in range(5)]
        backend = ReplayPower(good, clock)
    meter = EnergyMeter(backend, clock=clock, sleep=clock.advance)
    good[:] = [(t, value if t == when_s else v) for t, v in good]
    with meter.window("search") as window:
        clock.advance(1.0)
    assert window.energy_j is None
    assert str(value) in str(window.reason)


@pytest.mark.parametrize("value", [math.nan, -3.0])
def test_a_source_of_another_kind_is_not_believed_either(value):
    class Foreign:
        source, reason, resolution_s, n_units = "foreign", None, 0.0, 1

        def begin(self) -> None: ...
        def end(self) -> float:
            return value

        def close(self) -> None: ...

    meter = EnergyMeter(Foreign())
    with meter.window("search") as window:
        pass
    assert window.energy_j is None
    assert window.reason == f"the energy source read {value} J, which cannot be"


def test_a_card_that_draws_more_than_any_card_can_is_misread(driver):
    clock = ReplayClock()
    meter = open_meter("nvml-sampled", "cuda", clock=clock, nvml=driver)
    with meter.window("search") as window:
        driver.cards[0].power_mw = 4_294_967_295
    assert window.energy_j is None
    assert "4294967.295 W" in str(window.reason)


@pytest.mark.parametrize("text", ["0", "-1", "9000000"])
def test_rapl_with_a_range_that_cannot_be_watched(tmp_path: Path, text: str):
    domain = tmp_path / "intel-rapl:0"
    domain.mkdir()
    for name, content in (("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", text)):
        (domain / name).write_text(content + "\n")
    with pytest.raises(EnergyError, match="cannot be read often enough"):
        open_meter("rapl", "cpu", rapl_root=tmp_path)
    meter = open_meter("auto", "cpu", rapl_root=tmp_path)
    assert meter.source == "null"
    assert "RAPL cannot be read" in str(meter.reason)


@pytest.mark.parametrize("text", ["-5", "300000000000"])
def test_rapl_with_a_reading_outside_its_range(tmp_path: Path, text: str):
    domain = tmp_path / "intel-rapl:0"
    domain.mkdir()
    for name, content in (
        ("name", "package-0"),
        ("energy_uj", "5"),
        ("max_energy_range_uj", "262143328850"),
    ):
        (domain / name).write_text(content + "\n")
    clock = ReplayClock()
    meter = open_meter("rapl", "cpu", clock=clock, rapl_root=tmp_path)
    with meter.window("search") as window:
        clock.advance(1.0)
        (domain / "energy_uj").write_text(text + "\n")
    assert window.energy_j is None
    assert "cannot be" in str(window.reason)
