"""The tables of README and docs are made from the committed records."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from closeness import assert_same_page

from benchmarks.nsm_tables import PROFILES, RECURRENCES, TOGETHER, profiles
from benchmarks.pages import PAGES, ROOT, rewritten
from benchmarks.probe_tables import SOLVED, SUITE
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
    assert f"{said}{on_gpu[32768]} at 32,768, and less memory at every length" in page
    assert len(below(gpu)) == 5
    hybrids = [times(gpu, 4096, name) for name in ("advanced-hybrid", "sequential-hybrid")]
    assert f"The hybrids take {hybrids[0]:.2f} and {hybrids[1]:.2f} times at 4,096" in page
    assert max(hybrids) < 3
    assert times(gpu, 4096) < 1.5
    assert times(gpu, 8192) < 1
    record = json.loads((RECURRENCES / "recurrences-h200.json").read_text())
    both = {(row["model"], row["form"], row["length"]): row["time_s"] for row in record["rows"]}
    share = both["simple-nsm", "kernels", 4096] / both["transformer", "torch", 4096]
    own, other = (
        f"{1e3 * sum(row['by_kind_s'].values()):.2f}"
        for name in ("simple-nsm", "transformer")
        for row in record["spent"]
        if (row["model"], row["length"]) == (name, 4096)
    )
    said = f"By the record of both forms SimpleNSM takes {share:.2f} times at 4,096, though its kernels take "
    assert f"{said}{own} ms and the Transformer's {other}" in page


def test_what_is_said_of_an_evolved_nsm() -> None:
    page = " ".join((ROOT / "docs/nsm.md").read_text().split())
    runs = [json.loads(path.read_text()) for path in TOGETHER.glob("grown-*/result.json")]
    (first,) = (run for run in runs if run["seed"] == 0)
    assert f"seed 0 takes {first['time_s']['total']:.0f} s" in page
    gpt2 = json.loads((ROOT / "runs/2026-11-22_default-cpu/result.json").read_text())
    losses = [run["best"]["test_loss"] for run in runs]
    assert f"{sum(losses) / len(losses):.2f}" == f"{gpt2['best']['test_loss']:.2f}" == "3.96"


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
    records = [read_probe(path) for path in SUITE.glob("*/probe.json")]
    right = {}
    for record in records:
        options = record["task"]["options"]
        named = options.get("kind") or (record["task"]["task"], options["n_train"])
        models = {
            model["name"]: model["metrics"]["accuracy"]["value"] for model in record["models"]
        }
        right[named] = {name: f"{value:.3f}" for name, value in models.items()}
    kinds = [named for named in right if isinstance(named, int)]
    assert sorted(kinds) == list(range(1, 21))
    assert max(float(right[kind]["simple-nsm"]) for kind in kinds) < SOLVED
    said = f"on kind 1 it has {right[1]['simple-nsm']} of test right, as many as the Transformer "
    assert f"{said}({right[1]['transformer']}), where Mamba has {right[1]['mamba']}, and" in page
    mean = {
        name: sum(float(right[kind][name]) for kind in kinds) / len(kinds)
        for name in ("simple-nsm", "transformer")
    }
    said = f"its mean over all is {mean['simple-nsm']:.3f}, as the Transformer's "
    assert f"{said}({mean['transformer']:.3f})" in page
    said = f"On Pathfinder it has {right['pathfinder', 4000]['simple-nsm']}, on ListOps "
    said += (
        f"{right['listops', 10000]['simple-nsm']}, and {right['listops', 96000]['simple-nsm']} with"
    )
    assert said in page

    better: Counter[str] = Counter()
    worse: Counter[str] = Counter()
    for record in records:
        for one in record["comparisons"]:
            if (one["model"], one["metric"]) == ("simple-nsm", "accuracy") and one["p_holm"] < 0.05:
                (better if one["difference"] > 0 else worse)[one["against"]] += 1
    said = f"RWKV is significantly ahead of it on {worse['rwkv']} of the {len(records)} tasks, "
    said += f"AdvancedHybrid on {worse['advanced-hybrid']} and behind it on "
    assert f"{said}{better['advanced-hybrid']}:" in page


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
