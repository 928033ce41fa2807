"""docs/vsm.md and the README's lines on vsm are those of the record."""

from __future__ import annotations

from pathlib import Path

from benchmarks.vsm_tables import TABLES, Records, rewrite

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "vsm.md").read_text()
RECORDS = Records(ROOT / "runs" / "2026-11-29_vsm")
README = " ".join((ROOT / "README.md").read_text().split())


def test_the_tables_follow_from_the_record() -> None:
    assert rewrite(PAGE, RECORDS) == PAGE
    assert all(f"<!-- table: {name} -->" in PAGE for name in TABLES)


def test_what_is_asked_of_learning_holds_in_the_record() -> None:
    for name, five, eight in (("S1+S2", 0.90, 0.75), ("all", 0.95, 0.90)):
        assert len(RECORDS.of("levels", name, 5)) == 8
        assert RECORDS.median("levels", name, 5) >= five
        assert RECORDS.median("levels", name, 8) >= eight
    assert RECORDS.median("levels", "all, goal hidden", 5) <= 0.10
    assert RECORDS.median("levels", "S1+S2, credit shuffled", 5) <= 0.10
    for row in RECORDS.of("search", "evolved"):
        assert row["counts"]["episodes"] <= 100_000
        assert row["plan_ratio"] <= 1.10
    assert RECORDS.median("search", "evolved", 5) >= 0.99
    assert RECORDS.median("search", "evolved", 8) >= 0.95


def test_shapley_values_sum_to_the_whole() -> None:
    for run in RECORDS.of("shapley"):
        worth = {key: row["spl"] for key, row in run["coalitions"].items()}
        assert len(worth) == 64
        total = worth["S1+S2+S3+S4+S5+purple"] - worth[""]
        assert abs(sum(run["spl"].values()) - total) < 1e-9


def test_what_the_readme_says() -> None:
    learned, whole = (RECORDS.median("levels", name, 5) for name in ("S1+S2", "all"))
    rival = RECORDS.median("rivals", "shared-pg, 400", 5)
    assert f"{learned:.2f} of new problems with five blocks from what it counts" in README
    assert f"{whole:.2f} with all levels" in README
    assert f"policy gradient on the same facts {rival:.2f}" in README
