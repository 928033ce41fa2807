"""README is short, its commands are those that CI runs, and its sentences are the records'."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks import nsm_tables
from benchmarks.plot_crossover import joules_to_reach
from benchmarks.results import (
    FIRST_PROOF,
    LARGER_PROOF,
    PROOF,
    cheapest_in_sweep,
    proof_rows,
    record,
)
from clso.profiling.claims import judge

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEXT = README.replace("\n", " ")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

TESTS = "python -m pytest -n logical --maxprocesses 4 --dist worksteal -q"


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 120
    assert sum(len(block.splitlines()) for block in PYTHON) <= 10


def test_setting_up_and_testing_are_one_command_each() -> None:
    """Word for word: whoever copies them has a checkout and nothing else."""
    assert SHELL[0] == (
        "python3 -m venv .venv && . .venv/bin/activate && "
        "pip install -c constraints.txt -e '.[test]' && clso evolve --gens 50\n"
    )
    assert SHELL[1] == f". .venv/bin/activate && {TESTS}\n"


def test_ci_does_what_it_says() -> None:
    ran = (ROOT / ".ci/run").read_text()
    for command in ("python3 -m venv", "-c constraints.txt -e ", "clso evolve --gens"):
        assert command in SHELL[0]
        assert command in ran
    assert f"\n{TESTS} " in ran  # with folders that another process tests beside it
    left, beside = "${shared//tests/--ignore=tests}", "python -m pytest -q $shared\n"
    assert left in ran
    assert beside in ran


def test_no_placeholder_is_left() -> None:
    assert "@" not in README


def test_the_search_from_python_runs() -> None:
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(PYTHON[1], names)
    assert names["result"].value == 0


def test_the_line_from_python_prints_what_a_result_holds(finished_run: Path) -> None:
    """All but the run itself, which takes half a minute."""
    from clso.run import resume

    shown: list[tuple[Any, ...]] = []
    names: dict[str, Any] = {"print": lambda *items: shown.append(items)}
    for statement in PYTHON[0].strip().splitlines():
        if statement.startswith("result ="):
            compile(statement, "README.md", "exec")
            names["result"] = resume(finished_run)
        else:
            exec(statement, names)
    loss, energy = shown[0]
    assert loss > 0
    assert "switched off" in energy


def test_the_proof() -> None:
    verdict = record(f"{PROOF}/verdict.json")
    own, other = (verdict[side]["test_loss_by_seed"] for side in ("clso", "adamw_best"))
    lower = sum(a < b for a, b in zip(own, other, strict=True))
    assert f"lower one on {lower} of {len(own)} seeds" in TEXT
    speed = verdict["adamw_best"]["time_s"] / verdict["clso"]["time_s"]
    assert f"{speed:.1f} times as fast" in TEXT
    (same,) = (row for row in verdict["targets"] if row["target"] == "strongest AdamW")
    few, best = proof_rows()["curve/clso/1"]["valid_loss"], verdict["adamw_best"]
    assert f"takes {same['clso']:.0f} J, {same['clso'] / best['energy_j']:.2f} of the" in TEXT
    assert f"at {few:.3f} on valid where AdamW ends at {best['valid_loss']:.3f}" in TEXT
    first = record(f"{FIRST_PROOF}/verdict.json")["energy_ratio"]["value"]
    assert f"first proof's ratio, {first:.3f}," in TEXT


def test_the_larger_text() -> None:
    found = record("2026-11-22_crossover/crossover.json")
    own_j, loss = (median(r[key] for r in found["clso"]) for key in ("energy_j", "test_loss"))
    points = [(r["energy_j"], r["test_loss"]) for r in found["adamw"]]
    assert f"({min(loss for _, loss in points):.2f} against {loss:.3f})" in TEXT
    ratio = f"{joules_to_reach(points, loss) / own_j:.0f} times the joules"
    assert f"{ratio} at batch {found['adamw_settings']['batch']}" in TEXT
    joules, _, key = cheapest_in_sweep(LARGER_PROOF, loss)
    assert "batch=16" in key
    assert f"about {joules / own_j:.0f} times at batch 16" in TEXT
    verdict = record(f"{LARGER_PROOF}/verdict.json")
    own, best = verdict["clso"], verdict["adamw_best"]
    (same,) = (row["adamw"] for row in verdict["targets"] if row["target"] == "CLSO")
    assert f"{own['test_loss']:.3f} on the larger one for {own['energy_j']:.0f} J" in TEXT
    assert f"needs {same / 1000:.1f} kJ for that, and goes on to {best['test_loss']:.3f}" in TEXT
    assert f"for {best['energy_j'] / 1000:.1f} kJ" in TEXT


def test_the_controls_and_the_limits() -> None:
    gain = -record("2026-11-22_evolution-matters/gpt2.json")["evolved_minus_random_search"]["mean"]
    assert f"worth {gain:.4f} nats over random search with as many evaluations" in TEXT
    random = record("2026-11-22_random-cpu/result.json")
    loss, chance = random["best"]["test_loss"], random["log_vocabulary"]
    assert f"learn nothing, {loss:.3f} where ln(vocabulary) is {chance:.3f}" in TEXT
    assert loss == pytest.approx(chance, abs=0.01)
    evolved = record("2026-11-22_default-cpu/result.json")["best"]["test_loss"]
    trigram = record("2026-11-22_nsm/ngram/result.json")["kn3"]["test_loss"]
    assert f"trigram reaches {trigram:.2f} where the evolved GPT-2 reaches {evolved:.2f}" in TEXT


def test_the_published_figures() -> None:
    """A figure did not hold if it did so on no device."""
    judged = [judge(profile.rows) for profile in nsm_tables.profiles().values()]
    verdicts = list(zip(*([one.verdict for one in found] for found in judged), strict=True))
    refuted = sum(set(found) == {"did not hold"} for found in verdicts)
    assert f"Of {len(verdicts)} figures published" in TEXT
    assert f", {refuted} did not hold when measured" in TEXT
