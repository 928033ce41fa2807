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


LOGGER = """
from clso.loggers import Logger

class Lines(Logger):
    def __init__(self, folder, config):
        self.file = folder.with_suffix(".log").open("a")
        print("config", config["gens"], file=self.file)

    def values(self, step, values):
        print(step, *sorted(values), file=self.file)

    def winner(self, values, alleles):
        print("winner", len(alleles), file=self.file)

    def close(self):
        self.file.close()
"""


def test_runs_are_logged_and_go_on_being_logged(clso: Any, tmp_path: Path) -> None:
    (tmp_path / "my_logger.py").write_text(LOGGER)
    log = ("--log", "my_logger.py:Lines")
    small = ("--space", "nk", "--pop", "8", "--surrogate", "none", "--energy", "null")
    assert clso("evolve", *small, "--gens", "2", "--out", "run", "--json", *log).code == 0
    assert clso("resume", "run", "--gens", "3", "--json", *log).code == 0
    lines = (tmp_path / "run.log").read_text().splitlines()
    values = "best/fitness evaluated failed"
    assert [line for line in lines if not line.startswith("winner")] == [
        "config 2",
        f"1 {values}",
        f"2 {values}",
        "config 3",
        f"3 {values}",
    ]
    assert [line.split()[0] for line in lines].count("winner") == 2
    assert clso("evolve", *small, "--log", "my_logger.py:Line").code == 2
