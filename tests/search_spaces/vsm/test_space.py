"""The space: conformance, options, result.json, and a winner that is measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clso.cli import cli
from clso.config import RunConfig
from clso.errors import ClsoError, ConfigError
from clso.run.folder import RunFolder
from clso.run.run import evolve, resume
from clso.search.generations import Interrupted
from clso.search_spaces.vsm.genes import DEFAULT, genome_of
from clso.search_spaces.vsm.space import VSMSpace
from clso.space import SearchSpace
from clso.space.options import make_options
from clso.testing import SpaceConformance
from clso.worlds.controllers import Request

OPTIONS = {"practice": 20, "window_s": 0.01}


class TestVSM(SpaceConformance):
    max_examples = 2

    def make_space(self) -> SearchSpace:
        return VSMSpace(VSMSpace.Options(blocks=3, practice=10))


class TestVSMRandom(SpaceConformance):
    max_examples = 2
    other_process = False

    def make_space(self) -> SearchSpace:
        return VSMSpace(VSMSpace.Options(blocks=3, practice=10, library="random"))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"blocks": 2}, "blocks is 3 to 20"),
        ({"blocks": 21}, "blocks is 3 to 20"),
        ({"practice": -1}, "practice is 0 to"),
        ({"parameters": -5}, "parameters is 0 to"),
        ({"goal": "secret"}, "goal is shown or hidden"),
        ({"credit": "false"}, "credit is true or shuffled"),
        ({"window_s": 0.0}, "window_s is above 0"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        make_options(VSMSpace.Options, options)


def test_the_random_library_counts_nothing() -> None:
    settings = VSMSpace(VSMSpace.Options(library="random")).decode(genome_of(DEFAULT))
    assert (settings.s1, settings.habits, settings.model) == ("random", False, False)
    with pytest.raises(ConfigError, match="library is grown or random"):
        VSMSpace.Options(library="warm")


def test_costs_are_upper_bounds() -> None:
    space = VSMSpace(VSMSpace.Options(practice=200))
    genome = genome_of(DEFAULT)
    memory = space.raised(space.decode(genome))
    stored = sum(tensor.nbytes for tensor in memory.tensors().values())
    assert stored <= space.costs(genome)["n_bytes"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    evolve(
        RunConfig(space="vsm", gens=2, pop=3, finalists=1, options=OPTIONS, energy="null"), folder
    )
    return folder


def test_the_result_says_what_was_found_and_what_it_cost(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    best, counts = result["best"], result["counts"]
    assert set(best["by_blocks"]) == set(map(str, range(3, 11)))
    assert best["test_success"] == best["by_blocks"]["5"]["success"]
    assert {"test_spl", "plan_ratio", "fitness"} <= best.keys()
    evaluations = result["tokens_forward"]
    assert counts["episodes"] == evaluations + 20 + 9 * 200
    assert result["parameters"]["total"] == sum(
        v for k, v in result["parameters"].items() if k != "total"
    )
    assert result["n_bytes"]["total"] == sum(p.stat().st_size for p in (run / "best").iterdir())
    assert result["n_bytes"]["total"] <= 1_000_000
    assert result["per_decision"]["operations"] > 0
    assert result["decisions_per_s"]["batched"] > 0
    joules = result["joules_per_1000_decisions"]
    assert (joules["value"] is None) == bool(joules["reason"])


def test_the_winner_is_measured_again(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    found = _evaluate(run)
    assert found["spl"] == result["best"]["test_spl"]
    assert {"success", "plan_ratio", "n_problems", "operations"} <= found.keys()
    assert _evaluate(run, "--blocks", "8")["success"] == result["best"]["by_blocks"]["8"]["success"]
    assert _evaluate(run, "--without", "S1,S2,S3,S4,S5,purple")["success"] <= 0.1
    again = _evaluate(run, "--without", "S4,purple", "--raise-again")
    assert again["n_problems"] == 200


def test_problems_and_plans_are_files(run: Path, tmp_path: Path) -> None:
    problems, plans = tmp_path / "p.jsonl", tmp_path / "plans.jsonl"
    rows = [
        {"id": "three", "start": [-1, 0, 1], "goal": [1, 2, -1]},
        {"id": "twelve", "start": [-1] * 12, "goal": [-1, 0, *range(1, 11)]},
    ]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = _evaluate(run, "--problems", str(problems), "--plans", str(plans))
    assert found["n_problems"] == 2
    assert found["spl"] is None  # twelve blocks: the least is not known
    assert found["split"] is None  # of no split
    written = [json.loads(line) for line in plans.read_text().splitlines()]
    assert [row["id"] for row in written] == ["three", "twelve"]
    assert [row["optimal"] for row in written] == [3, None]
    assert all(len(m) == 2 for row in written for m in row["moves"])


def _evaluate(run: Path, *args: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["evaluate", str(run), "--json", *args], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        (["--blocks", "2"], "3 to 20 blocks"),
        (["--without", "S9"], "unknown level"),
        (["--raise-again"], "--raise-again is for"),
        (["--data", "text:x"], "measured on problems"),
        (["--split", "train"], "unknown split"),
        (["--problems", "/nowhere"], "cannot be read"),
        (["--problems", "x", "--blocks", "5"], "one of the two"),
    ],
)
def test_what_cannot_be_asked_is_one_line(run: Path, args: list[str], rule: str) -> None:
    with pytest.raises(ClsoError, match=rule):
        CliRunner().invoke(
            cli, ["evaluate", str(run), *args], catch_exceptions=False, standalone_mode=False
        )


def test_the_same_seed_gives_the_same_run_interrupted_or_not(run: Path, tmp_path: Path) -> None:
    config, folder = RunFolder.open(run).config, tmp_path / "run"
    with pytest.raises(Interrupted):
        evolve(config, folder, stop=lambda: (folder / "records.jsonl").exists())
    found = resume(folder)
    expected = json.loads((run / "result.json").read_text())
    assert found["best"] == expected["best"]
    assert found["counts"] == expected["counts"]
    for name in ("controller.json", "controller.safetensors"):
        assert (folder / "best" / name).read_bytes() == (run / "best" / name).read_bytes()


def test_coalitions_are_raised_anew() -> None:
    space = VSMSpace(VSMSpace.Options(blocks=3, practice=10))
    found = space.shapley(space.decode(genome_of(DEFAULT)))
    worth = {key: row["spl"] for key, row in found["coalitions"].items()}
    assert len(worth) == 64
    total = worth["S1+S2+S3+S4+S5+purple"] - worth[""]
    assert sum(found["spl"].values()) == pytest.approx(total, abs=1e-9)


def test_a_request_for_a_winner_is_checked() -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        Request(blocks=5, problems=Path("x"))
