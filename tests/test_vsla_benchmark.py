"""docs/vsla.md says what the records say, and the records meet the bars that were set for a CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.vsla.__main__ import PARTS, measure_part
from benchmarks.vsla.aims import aims, front_bar
from benchmarks.vsla.claims import judge
from benchmarks.vsla.records import SHARES, Rows, layout_ratio, of_part, read, records
from benchmarks.vsla.tables import PAGE, rewritten
from benchmarks.vsla.timing import in_turn

MIX = "choice:512,1024,2048,4096"


@pytest.fixture(scope="module")
def cpu() -> Rows:
    return read(records()["CPU"])


def test_tables_follow_from_the_records() -> None:
    assert PAGE.read_text() == rewritten(), "python -m benchmarks.vsla --tables"


def test_packed_is_faster_and_smaller_than_padded(cpu: Rows) -> None:
    assert (layout_ratio(cpu, MIX, 1, "time_s") or 0) >= 1.5
    assert (layout_ratio(cpu, MIX, 1, "peak_bytes") or 0) >= 1.7
    assert 1 / (layout_ratio(cpu, "choice:4096", 1, "time_s") or 0) <= 1.15


def test_the_front_has_small_members_of_as_many_evaluations(cpu: Rows) -> None:
    for row in of_part(cpu, "front"):
        for name, share in SHARES.items():
            assert row[name]["kv_bytes"] <= share * row["full"]["kv_bytes"]
        assert abs(row["evaluated"] - row["full_evaluated"]) < row["pop"]


def test_the_front_meets_its_bar_and_the_page_says_so(cpu: Rows) -> None:
    """At half of the bytes at most 0.005 nats more than full attention."""
    assert front_bar(cpu) == [True] * 5
    assert "is met on all 5" in PAGE.read_text()


def test_an_aim_that_is_missed_says_by_how_much() -> None:
    times = {"full": 4.0, "local:512": 1.0}
    rows: Rows = [
        {"part": "patterns", "pattern": pattern, "length": 32768, "time_s": time_s}
        for pattern, time_s in times.items()
    ]
    full, member = ({"test_loss": loss} for loss in (3.9, 3.9075))
    rows.append({"part": "front", "seed": 7, "full": full, "member": member, "small_member": None})
    assert [(a.measured, a.distance) for a in aims(rows)] == [
        ("4.00 times", "by 4.00"),
        ("on 0 of 1 seeds; +0.0075", "on seed 7 by 0.0025 nats"),
        ("on 0 of 1 seeds", "on seed 7: no member"),
    ]
    assert front_bar(rows) == [False]


def test_long_documents_are_cheaper_by_every_pattern(cpu: Rows) -> None:
    times = {
        (r["pattern"], r["length"]): r["time_s"] for r in of_part(cpu, "patterns") if "length" in r
    }
    for pattern in {pattern for pattern, _ in times} - {"full"}:
        assert times[pattern, 32768] < times["full", 32768] / 2
    assert times["local:512", 32768] < times["full", 32768] / 8


def test_every_published_figure_is_judged(cpu: Rows) -> None:
    claims = judge(cpu)
    assert len(claims) == 11
    assert all(c.published and c.measured and c.verdict for c in claims)


def test_a_way_that_fails_leaves_the_others() -> None:
    def fail() -> None:
        raise RuntimeError("no kernel")

    timed = in_turn({"good": lambda: None, "bad": fail}, "cpu", repeats=3)
    assert len(timed.seconds["good"]) == 3
    assert timed.median("bad") is None
    assert timed.failed == {"bad": "RuntimeError: no kernel"}


def test_a_part_that_fails_or_takes_too_long_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(device: str) -> Iterator[dict[str, Any]]:
        yield {"figure": 1}
        raise RuntimeError("the device is lost")

    def goes_on(device: str) -> Iterator[dict[str, Any]]:
        while True:
            yield {"figure": 2}

    monkeypatch.setitem(PARTS, "breaks", breaks)
    monkeypatch.setitem(PARTS, "goes on", goes_on)
    measure_part("breaks", "cpu", tmp_path, None)
    measure_part("goes on", "cpu", tmp_path, time.monotonic())
    rows = read(tmp_path)
    assert [r.get("reason") for r in rows] == [
        None,
        "RuntimeError: the device is lost",
        None,
        "its time is over",
    ]
    assert [r["figure"] for r in [*of_part(rows, "breaks"), *of_part(rows, "goes on")]] == [1, 2]
    measure_part("breaks", "cpu", tmp_path, None)
    assert len(read(tmp_path)) == 4, "a part that is measured again replaces its rows"


def test_contexts_have_three_seeds(cpu: Rows) -> None:
    trained = [r for r in of_part(cpu, "contexts") if "losses" in r]
    assert all(len(r["losses"]) == 3 for r in trained)
    adaptive = [r for r in trained if r["pattern"].startswith("adaptive")]
    assert adaptive
    for row in adaptive:
        fixed = f"local:{round(row['mean_context'])}"
        assert fixed in {r["pattern"] for r in trained}
