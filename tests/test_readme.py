"""The figures in README are those of the committed records."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _record(path: str) -> Any:
    return json.loads((ROOT / "runs" / path).read_text())


@pytest.mark.parametrize(("name", "n_seeds"), [("gpt2", 16), ("gpt2-pointer", 8)])
def test_evolved_losses(name: str, n_seeds: int) -> None:
    rows = _record(f"2026-11-22_evolution-matters/{name}.json")["rows"]
    evolved = [r["evolved"] for r in rows]
    assert len(rows) == n_seeds
    assert f"| **{median(evolved):.3f}** |" in README
    assert f"({min(evolved):.3f} to {max(evolved):.3f})" in README


def test_evolution_against_its_controls() -> None:
    gpt2 = _record("2026-11-22_evolution-matters/gpt2.json")
    pointer = _record("2026-11-22_evolution-matters/gpt2-pointer.json")
    assert f"| {gpt2['rows'][0]['hand_set']:.3f} |" in README
    assert f"| {median(r['random_search'] for r in gpt2['rows']):.3f} |" in README
    against_random = gpt2["evolved_minus_random_search"]
    assert f"by {-against_random['mean']:.4f} nats" in README
    assert f"interval {-against_random['high']:.4f} to {-against_random['low']:.4f}" in README
    assert against_random["high"] < 0
    assert pointer["evolved_minus_random_search"]["high"] < 0
    for record in (gpt2, pointer):
        assert f"{-record['evolved_minus_hand_set']['mean']:.3f}" in README
        assert record["evolved_minus_hand_set"]["high"] < 0


def test_costs_and_controls() -> None:
    ablation = _record("2026-11-22_ablation/ablation.json")
    assert f"| {ablation['rank']['47']:.3f} |" in README
    assert f"takes {ablation['cost']['whole library of one genome']['energy_j']:.0f} J" in README
    assert f"reaches {_record('2026-11-22_default-cpu/result.json')['best']['test_loss']:.2f}" in README
    random = _record("2026-11-22_random-cpu/result.json")["best"]["test_loss"]
    assert f"true loss of {random:.3f}" in README.replace("\n", " ")


@pytest.mark.parametrize("arm", ["adamw_reference", "adamw_best"])
def test_adamw_losses(arm: str) -> None:
    models = _record("2026-11-22_adamw-losses/models.json")["models"]
    assert f"| {median(m['test_loss'] for m in models if m['arm'] == arm):.3f} |" in README


def test_speed() -> None:
    speed = _record("2026-11-22_throughput/throughput.json")
    assert f"{speed['batched_tokens_per_s'] / 1e6:.1f} M candidate-tokens" in README
    assert f"{speed['speed_up']:.1f} times one candidate" in README
    assert f"{speed['share_of_matrix_rate'] * 100:.0f} % of the" in README


def test_no_placeholder_is_left() -> None:
    assert "@" not in README.replace("Kneser-Ney @", "")
