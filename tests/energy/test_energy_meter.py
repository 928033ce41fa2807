"""Windows, phases, idle power: the meter over replayed readings."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from clso.energy.backend import NullBackend, describe
from clso.energy.counter import CounterLimits
from clso.energy.cpu_time import CpuTime, read_cpu_time
from clso.energy.meter import EnergyMeter
from clso.energy.replay import ReplayClock, ReplayPower, replay_counter
from clso.errors import EnergyError

LIMITS = CounterLimits(resolution_s=0.1, max_w=2000.0)


def counter_meter(*recordings):
    clock = ReplayClock()
    return EnergyMeter(
        replay_counter(recordings, clock, LIMITS), clock=clock, sleep=clock.advance
    ), clock


def steady(power_w, seconds=100):
    return [(float(t), power_w * t) for t in range(seconds + 1)]


def test_window_holds_energy_and_time():
    meter, clock = counter_meter(steady(100.0))
    with meter.window("search") as window:
        assert window.energy_j is None
        assert window.reason == "the window is still open"
        clock.advance(5.0)
    assert (window.name, window.energy_j, window.time_s, window.reason) == (
        "search",
        500.0,
        5.0,
        None,
    )  # type: ignore[comparison-overlap]
    assert meter.windows == [window]


def test_the_meter_answers_for_its_source():
    meter, clock = counter_meter(steady(100.0), steady(50.0))
    assert (meter.resolution_s, meter.n_units) == (0.1, 2)
    assert meter.power_reader() is None
    with meter.window("search") as window:
        clock.advance(2.0)
        assert meter.so_far_j() == 300.0
        clock.advance(2.0)
    assert window.energy_j == 600.0
    nothing = EnergyMeter(NullBackend("none here"))
    assert (nothing.counter, nothing.so_far_j(), nothing.power_reader()) == (None, None, None)


def test_net_is_gross_minus_idle():
    meter, clock = counter_meter([(0.0, 0.0), (10.0, 1200.0), (15.0, 3700.0)])
    assert meter.measure_idle(10.0) == 120.0
    with meter.window("search") as window:
        clock.advance(5.0)
    assert window.energy_j == 2500.0
    assert window.energy_net_j == 2500.0 - 120.0 * 5.0
    assert [w.name for w in meter.windows] == ["search"]


def test_net_is_none_until_idle_is_measured_and_then_covers_earlier_windows():
    meter, clock = counter_meter([(0.0, 0.0), (5.0, 1000.0), (15.0, 2000.0), (25.0, 4000.0)])
    with meter.window("search") as window:
        clock.advance(5.0)
    assert window.energy_net_j is None
    assert meter.total()["energy_net_j"] is None
    assert meter.idle_reason == "idle power was not measured"
    meter.measure_idle(10.0)
    assert window.energy_net_j == 500.0
    assert meter.idle_reason is None
    # A later measurement does not rewrite what was already reported.
    assert meter.measure_idle(10.0) == 200.0
    assert (meter.idle_w, window.energy_net_j) == (200.0, 500.0)  # type: ignore[comparison-overlap]


def test_failed_idle_measurement_keeps_the_reason():
    meter, _ = counter_meter([(0.0, 500.0), (1.0, 3.0)])
    assert meter.measure_idle(2.0) is None
    assert meter.idle_w is None
    assert "went backwards" in meter.idle_reason


def test_idle_on_a_null_source_returns_at_once():
    meter = EnergyMeter(NullBackend("no counter"))
    assert meter.measure_idle(3600.0) is None
    assert meter.idle_reason == "no counter"


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_idle_needs_a_positive_time(seconds):
    meter, _ = counter_meter(steady(100.0))
    with pytest.raises(EnergyError, match="positive"):
        meter.measure_idle(seconds)


def test_by_phase_sums_windows_of_one_name():
    meter, clock = counter_meter(steady(100.0))
    meter.measure_idle(10.0)
    for name, seconds in [("search", 5.0), ("library", 1.0), ("search", 10.0)]:
        with meter.window(name):
            clock.advance(seconds)
        clock.advance(3.0)  # time between windows is in no phase
    phases = meter.by_phase()
    assert list(phases) == ["search", "library"]
    assert (phases["search"]["energy_j"], phases["search"]["time_s"]) == (1500.0, 15.0)
    assert phases["search"]["energy_net_j"] == pytest.approx(0.0)
    total = meter.total()
    assert (total["energy_j"], total["time_s"], total["reason"]) == (1600.0, 16.0, None)


def test_one_unmeasured_window_makes_its_phase_and_the_total_none():
    meter, clock = counter_meter([(0.0, 0.0), (5.0, 500.0), (6.0, 1.0), (11.0, 501.0)])
    for name, seconds in [("search", 5.0), ("search", 1.0), ("final", 5.0)]:
        with meter.window(name):
            clock.advance(seconds)
    phases = meter.by_phase()
    assert phases["search"]["energy_j"] is None
    assert "went backwards" in phases["search"]["reason"]
    assert phases["search"]["time_s"] == 6.0
    assert (phases["final"]["energy_j"], phases["final"]["reason"]) == (500.0, None)
    assert meter.total()["energy_j"] is None
    assert meter.total()["reason"] == phases["search"]["reason"]


def test_total_of_nothing_is_not_zero_joules():
    meter, _ = counter_meter(steady(100.0))
    assert meter.total()["energy_j"] is None
    assert meter.total()["reason"] == "no window was measured"
    assert EnergyMeter(NullBackend("no counter")).total()["reason"] == "no counter"


def test_exception_in_the_work_passes_through_and_the_window_is_kept():
    meter, clock = counter_meter(steady(100.0))

    def work() -> None:
        clock.advance(5.0)
        raise KeyError("work")

    with pytest.raises(KeyError, match="work"), meter.window("search"):
        work()
    assert [(w.name, w.energy_j) for w in meter.windows] == [("search", 500.0)]
    with meter.window("next"):
        clock.advance(1.0)


def test_windows_must_not_nest():
    meter, clock = counter_meter(steady(100.0))
    with meter.window("outer") as outer:
        clock.advance(2.0)
        with (
            pytest.raises(EnergyError, match="'outer' is open; got 'inner'"),
            meter.window("inner"),
        ):
            pytest.fail("the inner body ran")
        with pytest.raises(EnergyError, match="overlap"):
            meter.measure_idle(1.0)
        clock.advance(2.0)
    assert outer.energy_j == 400.0
    assert [w.name for w in meter.windows] == ["outer"]


def test_windows_of_two_threads_must_not_overlap():
    meter, _ = counter_meter(steady(100.0))
    errors = []

    def other() -> None:
        try:
            with meter.window("second"):
                pass
        except EnergyError as error:
            errors.append(error)

    with meter.window("first"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_closed_meter_opens_no_window_and_keeps_its_readings():
    meter, clock = counter_meter(steady(100.0))
    with meter, meter.window("search"):
        clock.advance(1.0)
    with pytest.raises(EnergyError, match="closed"), meter.window("late"):
        pass
    assert meter.total()["energy_j"] == 100.0


@pytest.mark.parametrize("when_s", [0.0, 3.0])
def test_reading_that_fails_at_either_end_spares_the_work(when_s):
    recording: list[Any] = [(0.0, 0.0), (3.0, 300.0), (4.0, 400.0)]
    meter, clock = counter_meter(recording)
    recording.insert(1 if when_s == 0.0 else 2, (when_s, PermissionError("denied")))
    worked = False
    with meter.window("search") as window:
        clock.advance(3.5 if when_s else 4.0)
        worked = True
    assert worked
    assert window.energy_j is None
    assert window.reason == "PermissionError: denied"


def test_error_that_cannot_even_be_printed_is_described():
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe(Mute()) == "Mute"


def test_replayed_power_is_integrated():
    clock = ReplayClock()
    recording = [(0.5 * i, 100.0 + 10.0 * i) for i in range(21)]
    meter = EnergyMeter(ReplayPower(recording, clock), clock=clock)
    clock.advance(1.0)
    with meter.window("search") as window:
        clock.advance(4.0)
    assert window.energy_j == pytest.approx(0.5 * (120.0 + 200.0) * 4.0)
    assert window.short


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        ([(0.0, 100.0), (1.0, 100.0), (3.0, 100.0)], "no power sample for 2.00 s"),
        (
            [(0.0, 100.0), (1.0, OSError("driver lost")), (2.0, 100.0), (3.0, 100.0)],
            "OSError: driver lost",
        ),
    ],
)
def test_replayed_power_with_a_hole(recording, reason):
    clock = ReplayClock()
    meter = EnergyMeter(ReplayPower(recording, clock), clock=clock)
    with meter.window("search") as window:
        clock.advance(3.0)
    assert window.energy_j is None
    assert reason in str(window.reason)


def fake_torch(calls, clock, *, initialized=True, fails=False):
    def synchronize(index: int) -> None:
        calls.append(index)
        clock.advance(2.0)
        if fails and len(calls) > 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    return SimpleNamespace(
        cuda=SimpleNamespace(is_initialized=lambda: initialized, synchronize=synchronize)
    )


def test_queued_work_belongs_to_the_window(monkeypatch):
    clock, calls = ReplayClock(), list[Any]()
    monkeypatch.setitem(sys.modules, "torch", fake_torch(calls, clock))
    meter = EnergyMeter(replay_counter([steady(100.0)], clock, LIMITS), [1], clock=clock)
    with meter.window("search") as window:
        clock.advance(1.0)
    assert calls == [1, 1]
    # The wait before the window is not counted, the one at its end is.
    assert (window.time_s, window.energy_j) == (3.0, 300.0)


def test_failed_synchronisation_is_a_reason_not_an_error(monkeypatch):
    clock, calls = ReplayClock(), list[Any]()
    monkeypatch.setitem(sys.modules, "torch", fake_torch(calls, clock, fails=True))
    meter = EnergyMeter(replay_counter([steady(100.0)], clock, LIMITS), [0], clock=clock)
    with meter.window("search") as window:
        clock.advance(1.0)
    assert window.energy_j is None
    assert "illegal memory access" in str(window.reason)


def test_cuda_is_never_started_by_the_meter(monkeypatch):
    clock, calls = ReplayClock(), list[Any]()
    monkeypatch.setitem(sys.modules, "torch", fake_torch(calls, clock, initialized=False))
    meter = EnergyMeter(replay_counter([steady(100.0)], clock, LIMITS), [0], clock=clock)
    with meter.window("search"):
        clock.advance(1.0)
    assert calls == []


def test_cpu_time_is_that_of_the_process_tree():
    readings = iter([CpuTime(1.0, 10.0), CpuTime(2.0, 14.0), CpuTime(2.0, 14.0), CpuTime(5.0, 9.0)])
    clock = ReplayClock()
    meter = EnergyMeter(NullBackend("none"), clock=clock, cpu_time=lambda: next(readings))
    for _ in range(2):
        with meter.window("search"):
            clock.advance(1.0)
    # In the second window a child left the tree: this process's own seconds are the least that
    # passed.
    assert [w.cpu_time_s for w in meter.windows] == [4.0, 3.0]
    assert meter.total()["cpu_time_s"] == 7.0


def test_cpu_time_sees_a_living_child():
    before = read_cpu_time()
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint('spent', flush=True)\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "spent\n"
        living = read_cpu_time()
        assert living.tree_s - living.own_s >= 0.25
        assert living.since(before) >= 0.25
    finally:
        child.communicate("\n")
    assert read_cpu_time().since(before) >= 0.25
