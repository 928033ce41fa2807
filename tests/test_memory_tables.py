"""The tables of counted memory: joules if they were measured, and a word if there is no record."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks import memory_tables
from benchmarks.results import LARGER_PROOF, proof_rows

ROOT = Path(__file__).parents[1]

RUN: dict[str, Any] = {
    "best": {"test_loss": 2.5},
    "energy_j": {"gross": {"total": 12.3}},
    "time_s": {"search": 3.0},
    "n_bytes": {"memory.safetensors": 2_000_000},
}


def test_a_run_with_joules_and_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_tables, "ROOT", tmp_path)
    assert memory_tables.runs() == "No record yet."
    folder = tmp_path / "runs" / "2026_memory"
    folder.mkdir(parents=True)
    rows = {"gpt2-memory 0": RUN, "gpt2-memory 1": RUN | {"energy_j": None}}
    (folder / "text-h100.json").write_text(json.dumps({"runs": rows}))
    _, _, first, second = memory_tables.runs().splitlines()
    assert first == "| text-h100 | gpt2-memory 0 | 2.500 | 12 | 0.0 | 3.0 | 0.0 | 0.0 | 2 |"
    assert "| not measured |" in second


def test_the_readme_states_what_the_records_hold() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    for name in ("python-stdlib-cpu", "wikitext-2xh200"):  # the larger text is the proof's
        record = json.loads((ROOT / "runs" / "2026-11-29_memory" / f"{name}.json").read_text())
        best = median(run["best"]["test_loss"] for run in record["runs"].values())
        assert f" {best:.3f} " in readme or f" {best:.3f}," in readme, (name, best)


def test_parts_of_a_record_become_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_tables, "ROOT", tmp_path)
    folder = tmp_path / "runs" / "2026_memory"
    folder.mkdir(parents=True)

    def side(loss: float) -> dict[str, float]:
        return {"test_loss": loss, "spent": 100.0, "evaluations": 1200}

    record = {
        "sizes": {"10000": {"test_loss": 6.5, "n_bytes": 1_500_000}},
        "pruning": {
            "small": {"test_loss": 5.2, "n_bytes": 1e6},
            "large": {"test_loss": 5.1, "n_bytes": 2e6},
        },
        "search": {
            "calibration": {"unit": "J", "fixed": 1.0, "each": 0.1},
            "0": {"unit": "J", "evolved": side(5.0), "random_search": side(5.1)},
            "1": {"unit": "J", "evolved": side(5.0), "random_search": side(5.3)},
        },
        "samples": {"gpt2": {"prompt": "It\nwas", "text": "a day", "temperature": 0.8}},
    }
    (folder / "text.json").write_text(json.dumps(record))
    assert memory_tables.sizes().splitlines()[2] == "| text | 10,000 | 6.500 | 1.5 |"
    assert [line.split(" | ")[1] for line in memory_tables.pruning().splitlines()[2:]] == [
        "large",
        "small",
    ]
    row = memory_tables.search().splitlines()[2]
    assert row.startswith("| text | 2 | 5.0000 | 5.2000 | 100 J | 100 J | 1,200 | -0.2000 (")
    assert "It was | a day" in memory_tables.samples()
    assert memory_tables.orders() == memory_tables.genome() == "No record yet."


def test_seconds_on_two_cores() -> None:
    text = " ".join((ROOT / "docs/memory.md").read_text().split())
    default = json.loads((ROOT / "runs/2026-11-29_memory/python-stdlib-cpu.json").read_text())
    reference = json.loads((ROOT / "runs/2026-11-29_ref-2x128-cpu/result.json").read_text())
    for what, run in (
        ("default text takes", default["runs"]["gpt2-memory 0"]),
        ("takes", reference),
    ):
        s = run["time_s"]
        charged = s["library"] + s["search"] + s["validate"]
        said = f"{what} {charged:.0f} s up to the winner, and {charged + s['test']:.0f} s with its test"
        assert said in text


def test_the_page_states_what_the_proof_at_the_larger_text_holds() -> None:
    page = " ".join((ROOT / "docs" / "memory.md").read_text().split())
    verdict = json.loads((ROOT / "runs" / LARGER_PROOF / "verdict.json").read_text())
    (same,) = (row["adamw"] for row in verdict["targets"] if row["target"] == "CLSO")
    own = verdict["clso"]
    ratio = own["energy_j"] / same
    assert verdict["protocol_met"]
    assert f"takes {1 / ratio:.0f} times the joules" in page
    assert f"({same:,.0f} J by the sweep's" in page
    assert f"a ratio of {ratio:.3f}" in page
    assert f"Net of idle power CLSO takes {own['energy_net_j']:.0f} J" in page
    few = proof_rows(LARGER_PROOF)["curve/clso/3"]
    joules = few["energy_j"] / few["n_runs"]
    said = f"took {joules:.0f} J and came to the same {few['valid_loss']:.3f} on valid, a ratio of"
    assert f"{said} {joules / same:.3f}: two runs" in page
    assert few["n_runs"] == 2
