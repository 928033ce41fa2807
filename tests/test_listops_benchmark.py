"""`benchmarks/listops.py`: equal parameters, and a run that goes on where it was cut off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.listops import main
from clso.errors import ConfigError
from clso.models.modules import n_parameters
from clso.tasks.base import load_task
from clso.tasks.models import TOLERANCE, build_model, equal_widths

FAMILY = f"{Path(__file__).parent / 'tasks' / 'recurrent.py'}:Recurrent"


def test_parameters_are_equal(tmp_path: Path) -> None:
    deep = tmp_path / "deep.py"
    text = Path(FAMILY.removesuffix(":Recurrent")).read_text()
    deep.write_text(
        text.replace("config.d_model, config.n_layers", "config.d_model, 3 * config.n_layers")
    )
    names, sizes = [FAMILY, f"{deep}:Recurrent"], {"n_layers": 1, "n_heads": 2}
    task = load_task("listops")
    widths = equal_widths(names, task, sizes, 50_000)
    counts = [
        n_parameters(build_model(name, task, {**sizes, "d_model": widths[name]})) for name in names
    ]
    assert widths[names[0]] > widths[names[1]]
    assert max(counts) <= (1 + TOLERANCE) * min(counts)
    assert all(0.8 < n / 50_000 < 1.25 for n in counts)
    with pytest.raises(ConfigError, match="within 5 % of each other"):
        equal_widths(names, task, {"n_layers": 1, "n_heads": 64}, 50_000)


def test_a_run_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    options = "n_train=64,n_valid=16,n_test=16,max_length=20"
    arguments = [
        "--models",
        FAMILY,
        "--steps",
        "4",
        "--seeds",
        "2",
        "--parameters",
        "2000",
        "--task-options",
        options,
    ]

    def run(*more: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["listops.py", "--out", str(out), "--device", "cpu", *arguments, *more]
        )
        main()
        return capsys.readouterr().out

    shown = run()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["seed"], row["control"]) for row in rows] == [(0, False), (1, False), (0, True)]
    mean = (rows[0]["test_accuracy"] + rows[1]["test_accuracy"]) / 2
    assert f"| 2 | {mean:.4f} ± " in shown
    assert run().count("seed") == 1  # the table's head: nothing is trained again
    lines = out.read_text().splitlines(keepends=True)
    out.write_text(lines[0] + lines[1][:50])  # killed while it wrote
    run()
    again = [json.loads(line) for line in out.read_text().splitlines()]
    for one, two in zip(rows, again, strict=True):
        assert {k: v for k, v in one.items() if k[-2:] != "_s"} == {
            k: v for k, v in two.items() if k[-2:] != "_s"
        }
    with pytest.raises(SystemExit, match="other settings"):
        run("--steps", "5")
