from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from searches import write_sides

from clso.run.sides import compare_searches


def test_runs_trials_importances_and_watch(clso: Any, finished_run: Path) -> None:
    assert finished_run.name in clso("runs", finished_run.parent).out
    (row,) = (r for r in json.loads(clso("runs", finished_run, "--json").out))
    assert row["state"] == "finished"
    shown = clso("trials", finished_run)
    assert shown.out.startswith("trial,generation,rung,status,loss,")
    rows = json.loads(clso("trials", finished_run, "--json").out)
    assert len(rows) == len(shown.out.splitlines()) - 1
    found = json.loads(clso("importances", finished_run, "--json").out)
    assert len(found["importances"]) == len(
        json.loads((finished_run / "manifest.json").read_text())["genes"]
    )
    ended = clso("watch", finished_run)
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith(f"{finished_run.name}: finished; see `clso report")


def test_mistakes_are_one_line(clso: Any, finished_run: Path, tmp_path: Path) -> None:
    assert "name it with -o" in clso("trials", finished_run, "--parquet").error
    assert "config.toml" in clso("watch", tmp_path).error
    assert "one of loss" in clso("importances", finished_run, "--objective", "los").error
    assert "in a folder" in clso("runs", tmp_path / "none").error


def test_searches_are_compared_over_seeds(clso: Any, tmp_path: Path) -> None:
    paths = write_sides(tmp_path)
    shown = clso("compare", *paths).out
    assert "40" in shown
    assert "of hits more is better" in shown
    assert "95 % interval -1.5504" in shown
    assert shown.rstrip().endswith("(paired by seed): worse")
    found = json.loads(clso("compare", *paths, "--json").out)
    assert found == compare_searches(paths)
