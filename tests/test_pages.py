"""The tables of README and docs are made from the committed records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from closeness import assert_same_page

from benchmarks.nsm_tables import PROFILES, profiles
from benchmarks.pages import PAGES, ROOT, rewritten
from benchmarks.probe_tables import RECORD, SUITE, by_valid
from clso.probe.folder import read_probe


@pytest.mark.parametrize("page", PAGES)
def test_tables_follow_from_the_records(page: str) -> None:
    """To make them anew: python -m benchmarks.pages."""
    assert_same_page(rewritten(page), (ROOT / page).read_text())


def test_what_is_said_of_simple_nsm_beside_the_transformer() -> None:
    page = " ".join((ROOT / "docs/nsm.md").read_text().split())
    cpu, gpu = (
        {(row["model"], row["length"]): row for row in json.loads(path.read_text())["rows"]}
        for path in (ROOT / "runs" / PROFILES[name] / "profile.json" for name in ("CPU", "H200"))
    )

    def times(rows: dict[tuple[str, int], Any], length: int, name: str = "simple-nsm") -> float:
        own, other = (
            rows[one, length]["forward_time_s"] + rows[one, length]["backward_time_s"]
            for one in (name, "transformer")
        )
        return float(own / other)

    def below(rows: dict[tuple[str, int], Any]) -> list[int]:
        """Lengths at which it takes less memory."""
        peaks = {key: row["peak_bytes"] for key, row in rows.items()}
        lengths = [n for name, n in peaks if name == "simple-nsm"]
        return [n for n in lengths if peaks["simple-nsm", n] < peaks["transformer", n]]

    on_cpu, on_gpu = (
        {n: f"{times(rows, n):.2f}" for n in (1024, 4096, 8192, 16384, 32768)}
        for rows in (cpu, gpu)
    )
    said = f"SimpleNSM takes {on_cpu[1024]} times the Transformer's time at 1,024 tokens, "
    said += f"{on_cpu[4096]} at 4,096, {on_cpu[8192]} at 8,192 and {on_cpu[32768]} at 32,768"
    assert said in page
    assert len(below(cpu)) == 5
    said = f"SimpleNSM takes {on_gpu[1024]} times the Transformer's time at 1,024, "
    said += f"{on_gpu[4096]} at 4,096, {on_gpu[8192]} at 8,192, {on_gpu[16384]} at 16,384 and "
    assert f"{said}{on_gpu[32768]} at 32,768, and less memory from {min(below(gpu)):,} on" in page
    said = f"SimpleNSM takes {on_gpu[4096]} times and AdvancedHybrid "
    said += f"{times(gpu, 4096, 'advanced-hybrid'):.1f} times; SequentialHybrid misses it with "
    said += f"{times(gpu, 4096, 'sequential-hybrid'):.1f}, and SimpleNSM at 8,192 with "
    assert f"{said}{on_gpu[8192]}." in page


def test_what_is_said_of_listops() -> None:
    page = " ".join((ROOT / "docs/probe.md").read_text().split())
    record = json.loads((ROOT / "runs/2026-11-29_nsm-tasks/listops/probe.json").read_text())
    found = {model["name"]: model["metrics"] for model in record["models"]}
    right = {name: metrics["accuracy"]["value"] for name, metrics in found.items()}
    spread = found["simple-nsm"]["accuracy"]["spread"]
    assert spread["n"] == 3
    assert f"SimpleNSM is right in {right['simple-nsm']:.3f} of cases" in page
    assert f"({spread['low']:.3f} to {spread['high']:.3f} by seed" in page
    said = f"the LSTM's {right['lstm']:.3f}, the Transformer's {right['transformer']:.3f} and "
    assert f"{said}ahead of Mamba's {right['mamba']:.3f}" in page
    ranges = {name: m["lr_sensitivity"]["value"] or 0.0 for name, m in found.items()}
    assert max(ranges, key=lambda name: ranges[name]) == "simple-nsm"
    assert f"varies by {ranges['simple-nsm']:.3f} between" in page
    assert f"has {right['evolved']:.3f}, more than MemN2N's {right['memn2n']:.3f}" in page


def test_what_is_said_of_many_tasks() -> None:
    page = " ".join((ROOT / "docs/probe.md").read_text().split())
    records = {path.parent.name: read_probe(path) for path in SUITE.glob("*/probe.json")}
    kinds = {record["task"]["options"]["kind"]: record for record in records.values()}
    assert set(kinds) == {1, 3, 8}
    right = {model["name"]: model["metrics"]["accuracy"] for model in kinds[1]["models"]}
    steps = {record["settings"]["steps"] for record in records.values()}
    own = f"{right['simple-nsm']['value']:.3f}"
    said = f"{max(steps):,} steps leave most models on a plateau: on kind 1 SimpleNSM has {own} of"
    assert steps == {3000}
    assert said in page
    alike = ("advanced-hybrid", "sequential-hybrid", "lstm", "transformer")
    others = sorted(right[name]["value"] for name in alike)
    assert f"the LSTM and the Transformer have {others[0]:.3f} to {others[-1]:.3f}" in page
    spread = right["mamba"]["spread"]
    said = f"where MemN2N has {right['memn2n']['value']:.3f} and Mamba {spread['low']:.3f} to "
    assert f"{said}{spread['high']:.3f} by seed" in page

    better: set[tuple[str, int | str]] = set()
    worse: set[tuple[str, int | str]] = set()
    for task, record in (*kinds.items(), ("listops", read_probe(RECORD / "listops"))):
        for one in record["comparisons"]:
            if (one["model"], one["metric"]) == ("simple-nsm", "accuracy") and one["p_holm"] < 0.05:
                (better if one["difference"] > 0 else worse).add((one["against"], task))
    ahead = {("advanced-hybrid", 3), ("advanced-hybrid", "listops"), ("memn2n", "listops")}
    assert better == ahead
    assert {task for name, task in worse if name == "rwkv"} == {*kinds, "listops"}


def test_what_is_said_of_trainings_on_valid() -> None:
    page = " ".join((ROOT / "docs/probe.md").read_text().split())
    rows = [json.loads(line) for line in (SUITE / "trainings.jsonl").read_text().splitlines()]
    cells: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in rows:
        at = row["seed"], row["valid_accuracy"]
        cells.setdefault((row["task"], row["model"]), []).append(at)
    assert all([seed for seed, _ in own] == [0, 1, 2] for own in cells.values())
    own = {
        model: sorted(value for _, value in own)
        for (task, model), own in cells.items()
        if task.startswith("pathfinder:size=16:length=8:distractors=1:n_valid=500")
    }
    said = f"every seed of SimpleNSM has at least {own['simple-nsm'][0]:.3f} right, of RWKV "
    said += f"{own['rwkv'][0]:.3f}, of Mamba {own['mamba'][0]:.3f} and of the LSTM "
    said += f"{own['lstm'][0]:.3f}; the Transformer's have {own['transformer'][0]:.3f} to "
    said += f"{own['transformer'][-1]:.3f}, MemN2N's {own['memn2n'][0]:.3f} to "
    assert f"{said}{own['memn2n'][-1]:.3f}:" in page
    table = [line.strip("| ").split(" | ") for line in by_valid().splitlines()]
    by_model = dict(zip(table[0], table[-1], strict=True))
    assert by_model["simple-nsm"].startswith(f"**{sum(own['simple-nsm']) / 3:.3f}** (")
    assert by_model["lstm"].startswith(f"{sum(own['lstm']) / 3:.3f} (")
    shown = [cell for row in table[2:] for cell in row[2:] if cell != "-"]
    assert len(shown) == len(cells)
    late = {model for task, model in cells if task.startswith("stories:kind=9:")}
    assert late == {"lstm"}
    assert not any(
        task.startswith(f"stories:kind={n}:") for n in range(10, 21) for task, _ in cells
    )


def test_the_profiles_are_whole() -> None:
    found = profiles()
    assert "CPU" in found
    for device, profile in found.items():
        assert not profile.interrupted
        assert len(profile.rows) == len(profile.models) * len(profile.settings.lengths)
        assert {32768, 1024} <= set(profile.settings.lengths)
        statuses = {row.status for row in profile.rows}
        assert statuses <= {"ok", "skipped", "out-of-memory"}
        recorded = json.loads((ROOT / "runs" / PROFILES[device] / "profile.json").read_text())
        assert recorded["settings"]["models"] == [model["name"] for model in profile.models]
        for row in profile.rows:  # what is counted is what the models state
            if row.flops_difference is not None:
                assert abs(row.flops_difference) < 1e-9, (device, row.model, row.length)
