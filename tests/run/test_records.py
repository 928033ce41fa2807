"""Records as tables: trials, lists of runs, progress, importances."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from pathlib import Path

import pytest

from clso import Gene, Optimizer, minimize
from clso.errors import ConfigError
from clso.report.importances import gene_importances
from clso.run.folder import RunFolder
from clso.run.listing import list_runs
from clso.run.progress import read_progress
from clso.run.trials import read_trials
from clso.space.results import Evaluation
from clso.space.trials import Trial, Trials


def table(n: int = 120) -> Trials:
    """The first gene decides, the second a little, the third nothing; one trial failed."""
    genes = tuple(Gene(name, ("a", "b", "c", "d")) for name in ("much", "little", "status"))
    trials = []
    for i in range(n):
        genome = (i % 4, i // 4 % 4, i // 16 % 4)
        trials.append(Trial(Evaluation(genome, 0, (10.0 * genome[0] + genome[1],)), 1 + i // 10))
    trials.append(
        Trial(Evaluation((0, 0, 0), 0, (), "failed", error="Traceback\nValueError: no"), 13)
    )
    return Trials(genes, ("loss",), tuple(trials))


def test_rows_hold_genes_by_name_and_failures_with_their_reason() -> None:
    rows = list(csv.DictReader(io.StringIO(table().to_csv())))
    assert (rows[1]["much"], rows[1]["loss"], rows[1]["status"]) == ("b", "10.0", "ok")
    assert rows[1]["gene.status"] == "a"  # a gene with the name of another column
    assert (rows[-1]["status"], rows[-1]["loss"], rows[-1]["error"]) == (
        "failed",
        "",
        "ValueError: no",
    )
    assert json.loads(table().to_json())[1]["generation"] == 1


def test_frames_and_parquet_hold_the_same(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    frame = table().to_frame()
    assert frame.groupby("much")["loss"].mean()["d"] == pytest.approx(31.5, abs=1)
    table().write_parquet(tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == table().rows()


def test_importances_find_the_gene_that_decides() -> None:
    found = gene_importances(table(), seed=3)
    assert [row["gene"] for row in found.rows()] == ["much", "little", "status"]
    assert found.permutation[0] > 5 * abs(found.permutation[2])
    assert found.variance[0] > 0.7 > found.variance[1]
    assert found.r2 > 0.8
    assert gene_importances(table(), seed=3) == found
    with pytest.raises(ConfigError, match="16 trials"):
        gene_importances(table(3))
    with pytest.raises(ConfigError, match="one of loss"):
        gene_importances(table(), objective="flops")


def test_a_run_is_read_listed_and_watched(finished_run: Path) -> None:
    found = read_trials(finished_run)
    assert found.objectives == ("loss",)
    searched = [t for t in found.trials if t.generation is not None]
    times = [t.time_s for t in searched]
    assert times == sorted(t for t in times if t is not None)
    result = RunFolder.open(finished_run).read_result()
    labels = found.labels(tuple(result["best"]["genome"]))
    assert labels == list(result["best"]["alleles"].values())
    (line,) = list_runs(finished_run)
    assert (line.state, line.measure, line.best) == (
        "finished",
        "test_loss",
        result["best"]["test_loss"],
    )
    assert line.evaluations == len(searched) == read_progress(finished_run).n_evaluated


def test_a_killed_run_is_told_from_one_that_goes_on(tmp_path: Path, finished_run: Path) -> None:
    for name in ("config.toml", "records.jsonl", "manifest.json"):
        (tmp_path / name).write_bytes((finished_run / name).read_bytes())
    assert read_progress(tmp_path).state == "stopped"
    fd = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert read_progress(tmp_path).state == "running"
    assert list_runs(tmp_path)[0].state == "running"
    os.close(fd)  # as a kill does
    assert read_progress(tmp_path).state == "stopped"


def test_results_are_short_in_a_shell_and_escaped_in_a_notebook() -> None:
    result = minimize(lambda x: float(x["<b>"]), {"<b>": range(4)}, 4, surrogate=None)
    assert repr(result) == "<Result: value 0, x {'<b>': 0}, 4 evaluations>"
    assert "&lt;b&gt;" in result._repr_html_()
    assert "<b>" not in result._repr_html_()
    assert [row["<b>"] for row in result.trials().rows()].count("0") == 1
    optimizer = Optimizer({"a": range(3)})
    assert repr(optimizer) == "<Optimizer: space choices evaluated 0>"
