"""Cumulative counters: differences, wraps, resets, jumps and standstills."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clso.energy.backend import ReadingFault
from clso.energy.counter import CounterBackend, CounterLimits, step_j

PLAIN = CounterLimits(resolution_s=0.1, max_w=2000.0)
WRAPS = CounterLimits(resolution_s=0.001, max_w=1000.0, ranges_j=(5000.0,))


def test_step_is_the_difference():
    assert step_j(10.0, 310.5, 3.0, PLAIN) == 300.5


def test_step_back_is_a_reset():
    with pytest.raises(ReadingFault, match="went backwards"):
        step_j(310.0, 10.0, 3.0, PLAIN)


def test_step_beyond_any_card_is_refused_but_two_updates_of_slack_are_not():
    assert step_j(0.0, 400.0, 0.001, PLAIN) == 400.0
    with pytest.raises(ReadingFault, match="jumped"):
        step_j(0.0, 403.0, 0.001, PLAIN)


@given(
    start_j=st.floats(0.0, 4999.0),
    power_w=st.floats(0.0, 1000.0),
    elapsed_s=st.floats(0.0, 4.9),
)
def test_wrapped_step_recovers_the_true_energy(start_j, power_w, elapsed_s):
    true_j = power_w * elapsed_s
    assert step_j(start_j, (start_j + true_j) % 5000.0, elapsed_s, WRAPS) == pytest.approx(
        true_j, abs=1e-6
    )


def test_wrap_that_may_have_happened_twice_is_refused():
    with pytest.raises(ReadingFault, match="wrapped unseen"):
        step_j(0.0, 10.0, 5.1, WRAPS)


def test_wrapping_counter_that_was_reset_is_not_taken_for_a_wrap():
    # 3000 J to 10 J in one second would be a wrap at 2010 W.
    with pytest.raises(ReadingFault, match="jumped"):
        step_j(3000.0, 10.0, 1.0, WRAPS)


def test_units_are_summed_and_one_that_stands_still_is_a_fault():
    now_s, values = [0.0], [[0.0, 1000.0]]
    backend = CounterBackend("test", lambda: list(values[0]), PLAIN, lambda: now_s[0])
    backend.begin()
    now_s[0], values[0] = 2.0, [200.0, 1100.0]
    assert backend.end() == 300.0
    backend.begin()
    now_s[0], values[0] = 4.0, [400.0, 1100.0]
    with pytest.raises(ReadingFault, match=r"did not move in 2\.00 s"):
        backend.end()


def test_standing_still_for_a_moment_is_no_fault():
    now_s = [0.0]
    backend = CounterBackend("test", lambda: [7.0], PLAIN, lambda: now_s[0])
    backend.begin()
    now_s[0] = 0.5
    assert backend.end() == 0.0


def test_lost_unit_is_a_fault():
    values = [[1.0, 2.0]]
    backend = CounterBackend("test", lambda: list(values[0]), PLAIN, lambda: 0.0)
    backend.begin()
    values[0] = [1.0]
    with pytest.raises(ReadingFault, match="1 of 2"):
        backend.end()


def test_polling_catches_several_wraps_in_one_window():
    # Each reading comes 0.1 s after the last by this clock, at 50 W, on a counter that wraps every
    # 20 J.
    limits = CounterLimits(resolution_s=0.001, max_w=100.0, ranges_j=(20.0,), poll_s=0.001)
    reads = 0

    def read_j() -> list[float]:
        nonlocal reads
        reads += 1
        return [5.0 * reads % 20.0]

    backend = CounterBackend("test", read_j, limits, lambda: 0.1 * reads)
    first = reads + 1  # the reading that `begin` takes; the poller is at work as soon as it returns
    backend.begin()
    deadline_s = time.monotonic() + 10.0
    while reads < first + 20 and time.monotonic() < deadline_s:
        time.sleep(0.005)
    energy_j = backend.end()
    assert energy_j == pytest.approx(5.0 * (reads - first))
    assert energy_j >= 100.0


def test_failure_on_the_polling_thread_ends_in_the_window():
    limits = CounterLimits(resolution_s=0.001, max_w=1000.0, ranges_j=(1e6,), poll_s=0.005)
    calls: list[Any] = []

    def read_j() -> list[float]:
        calls.append(None)
        if len(calls) == 3:
            raise PermissionError("energy_uj")
        return [float(len(calls))]

    backend = CounterBackend("test", read_j, limits, time.perf_counter)
    backend.begin()
    time.sleep(0.1)
    with pytest.raises(ReadingFault, match="PermissionError: energy_uj"):
        backend.end()
