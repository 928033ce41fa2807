"""docs/vsm.md and the README's lines on vsm are those of the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.vsm_records import Records, interval
from benchmarks.vsm_tables import TABLES, rewrite
from benchmarks.vsm_verdict import verdict

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "vsm.md").read_text()
RECORDS = Records(ROOT / "runs" / "2026-11-29_vsm")
README = " ".join((ROOT / "README.md").read_text().split())


def test_the_tables_follow_from_the_record() -> None:
    assert rewrite(PAGE, RECORDS) == PAGE
    assert all(f"<!-- table: {name} -->" in PAGE for name in TABLES)


def test_what_is_asked_of_learning_holds_in_the_record() -> None:
    for name, five, eight in (("S1+S2", 0.90, 0.75), ("all", 0.95, 0.90)):
        for section in ("levels", "fresh"):
            assert len(RECORDS.of(section, name, 5)) == 8
            assert RECORDS.median(section, name, 5) >= five
            assert RECORDS.median(section, name, 8) >= eight
    for section in ("levels", "fresh"):
        assert RECORDS.median(section, "all, goal hidden", 5) <= 0.10
        assert RECORDS.median(section, "S1+S2, credit shuffled", 5) <= 0.10
    assert len(RECORDS.of("search", "evolved", 5)) == 8
    for row in RECORDS.of("search", "evolved"):
        assert row["counts"]["episodes"] <= 100_000
        assert row["plan_ratio"] <= 1.10
    assert RECORDS.median("search", "evolved", 5) >= 0.99
    assert RECORDS.median("search", "evolved", 8) >= 0.95


def test_winners_raised_again_are_those_of_the_searches() -> None:
    for key in ("success", "spl_low"):
        assert RECORDS.values("large", "evolved", 5, key) == RECORDS.values(
            "search", "evolved", 5, key
        )
    for n in (12, 16, 20):
        assert RECORDS.median("large", "evolved", n) >= 0.99
        assert RECORDS.median("large", "evolved", n, "gn1_ratio") <= 1.02


def test_no_row_of_the_record_is_there_twice() -> None:
    rows = [
        (r["section"], r["name"], r["seed"], r.get("blocks"), r.get("member")) for r in RECORDS.rows
    ]
    assert len(set(rows)) == len(rows)


def test_shapley_values_sum_to_the_whole() -> None:
    for run in RECORDS.of("shapley"):
        worth = {key: row["spl"] for key, row in run["coalitions"].items()}
        assert len(worth) == 64
        total = worth["S1+S2+S3+S4+S5+purple"] - worth[""]
        assert abs(sum(run["spl"].values()) - total) < 1e-9


def test_what_the_readme_says() -> None:
    learned, whole = (RECORDS.median("fresh", name, 5) for name in ("S1+S2", "all"))
    rival = RECORDS.median("rivals", "shared-pg, 400", 5)
    assert f"{learned:.2f} of new problems with five blocks from what it counts" in README
    assert f"{whole:.2f} with all levels" in README
    assert f"policy gradient on the same facts {rival:.2f}" in README


def test_verdicts_follow_from_the_figures(tmp_path: Path) -> None:
    """With other figures the wording is another one."""
    rows = []
    for row in RECORDS.rows:
        if row["section"] == "ablations" and row["name"] == "explosive off":
            row = {**row, "spl_low": 0.1}
        if row["section"] == "practice" and row["name"] == "all, 400":
            row = {**row, "success": 0.5}
        if row["section"] == "rivals" and row["name"] == "gn1":
            row = {**row, "success": 0.1}
        rows.append(json.dumps(row) + "\n")
    (tmp_path / "records.jsonl").write_text("".join(rows))
    before, after = verdict(RECORDS), verdict(Records(tmp_path))
    for one, other in (
        ("needed: habits, model; not shown: explosive", "needed: habits, model, explosive"),
        ("within 0.02 at 400: all, shared-pg;", "within 0.02 at 400: shared-pg; not: all"),
        ("holds over random, untrained; not", "holds over random, untrained, GN1; not"),
    ):
        assert one in before
        assert one not in after
        assert other in after


def test_intervals_are_of_students_t() -> None:
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, high - mean) == pytest.approx((2.0, 4.302653 / 3**0.5), rel=1e-6)
    assert low == pytest.approx(4.0 - high)
