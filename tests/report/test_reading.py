from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clso.errors import RunFolderError
from clso.report import draw_report
from clso.report.reading import read_run

from .folders import write_baseline, write_run


def test_what_is_read_is_what_the_record_holds(tmp_path: Path) -> None:
    written = write_run(tmp_path / "run")
    data = read_run(written.path, [])
    rows = written.generations
    assert data.best.tolist() == [r["best"] for r in rows]
    for g, row in enumerate(rows):
        assert data.spread[:, g].tolist() == np.percentile(row["population"], [10, 50, 90]).tolist()
    assert data.audits.pairs.tolist() == [
        [r["generation"], p, t] for r in rows for p, t in r["audits"]
    ]
    assert data.finalists[1][1] is None
    assert data.is_language


def test_allele_shares_are_those_of_the_population(tmp_path: Path) -> None:
    written = write_run(tmp_path / "run")
    data = read_run(written.path, [])
    genomes = {e["values"][0]: e["genome"] for e in written.evaluations}
    for g, row in enumerate(written.generations):
        population = np.array([genomes[v] for v in row["population"]])
        assert data.held[:, g] == pytest.approx((population == 0).mean(axis=0))
        assert data.best_holds[:, g].tolist() == [a == 0 for a in genomes[row["best"]]]


def test_genomes_of_equal_value_count_in_proportion(tmp_path: Path) -> None:
    written = write_run(tmp_path / "run", n_generations=1, n_genes=2)
    rows = written.rows
    first = [r for r in rows if r["type"] == "evaluation" and r["generation"] == 1][:3]
    for row, genome in zip(first, ([0, 0], [0, 5], [7, 5]), strict=True):
        row["values"], row["genome"] = [5.5], genome
    generation = written.generations[0] | {"best": 5.5, "population": [5.5, 5.5]}
    _rewrite(written.path, [*first, generation])
    data = read_run(written.path, [])
    assert data.held[:, 0] == pytest.approx([2 / 3, 1 / 3])
    assert data.best_holds[:, 0].tolist() == [True, True]  # the first of them is the engine's best


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda rows: [{**r, "best": None} if r["type"] == "generation" else r for r in rows],
            "finite number",
        ),
        (
            lambda rows: [
                {**r, "best": float("nan")} if r["type"] == "generation" else r for r in rows
            ],
            "finite number",
        ),
        (
            lambda rows: [{**r, "best": 1.25} if r["type"] == "generation" else r for r in rows],
            "KeyError: 1.25",
        ),
        (
            lambda rows: [{**r, "genome": [0]} if r["type"] == "evaluation" else r for r in rows],
            "a genome of 1 genes",
        ),
        (lambda rows: [r for r in rows if r["type"] != "evaluation"], "KeyError"),
        (lambda rows: rows[:-20], "12 generations"),
        (lambda rows: rows[15:], "after generation 0"),
        (lambda rows: [*rows, {"no": "type"}], "type is a text"),
        (lambda rows: [], "12 generations"),
    ],
)
def test_a_damaged_record_is_one_line_of_error(
    tmp_path: Path, damage: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], message: str
) -> None:
    written = write_run(tmp_path / "run")
    _rewrite(written.path, damage(written.rows))
    with pytest.raises(RunFolderError, match=message) as caught:
        draw_report(written.path, [], None)
    assert "\n" not in str(caught.value)
    assert not (written.path / "report").exists()


def test_bytes_that_are_no_text_and_broken_json(tmp_path: Path) -> None:
    for i, junk in enumerate((b"\xff\xfe\n", b'{"type":\n', b"[]\n")):
        path = write_run(tmp_path / str(i)).path
        with open(path / "records.jsonl", "ab") as file:
            file.write(junk)
        with pytest.raises(RunFolderError, match="is whole"):
            read_run(path, [])


@pytest.mark.parametrize(
    "change",
    [
        {"best": {"genome": [0, 0]}},
        {"best": {"genome": ["x"], "alleles": {"g": "a"}, "fitness": 1.0}},
        {"counts": {}},
        {"surrogate": None},
        {"energy_j": {"gross": {}}},
        {"time_s": {"total": "long"}},
        {"log_vocabulary": "many"},
    ],
)
def test_a_foreign_result(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_run(tmp_path / "run").path
    _change(path / "result.json", change)
    with pytest.raises(RunFolderError, match=r"result\.json"):
        read_run(path, [])


def test_folders_that_cannot_be_reported(tmp_path: Path) -> None:
    unfinished = write_run(tmp_path / "unfinished", finished=False).path
    with pytest.raises(RunFolderError, match=r"finished run.*clso resume"):
        read_run(unfinished, [])
    with pytest.raises(RunFolderError, match=r"config\.toml"):
        read_run(tmp_path / "nothing", [])
    baseline = write_baseline(tmp_path / "adamw")
    with pytest.raises(RunFolderError, match="clso evolve"):
        read_run(baseline, [])
    run = write_run(tmp_path / "run").path
    (run / "config.toml").write_text("gens = 'many'")
    with pytest.raises(RunFolderError, match=r"config\.toml is a run's"):
        read_run(run, [])


def test_a_baseline_over_another_text_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run").path
    with pytest.raises(RunFolderError, match="one text and tokenizer"):
        read_run(run, [write_baseline(tmp_path / "other", text="another")])
    with pytest.raises(RunFolderError, match=r"result\.json"):
        read_run(run, [write_run(tmp_path / "unfinished", finished=False).path])
    with pytest.raises(RunFolderError, match="is a file"):
        draw_report(run, [], tmp_path)


def test_baselines_of_one_name_are_told_apart(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run").path
    others = [write_baseline(tmp_path / name) for name in ("a", "b")]
    assert [e.name for e in read_run(run, others).baselines] == ["adamw a", "adamw b"]


def _rewrite(path: Path, rows: list[dict[str, Any]]) -> None:
    (path / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def _change(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
