"""Several objectives and limits, in whole runs and alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import OneMax, Toy
from toys_pareto import Lotz, Measured, NoCost

from clso.config import RunConfig
from clso.energy.backend import NullBackend
from clso.energy.counter import CounterLimits
from clso.energy.meter import EnergyMeter
from clso.energy.replay import ReplayClock, replay_counter
from clso.errors import ClsoError, ConfigError, EvaluationError, PluginError
from clso.evaluation.evaluator import LocalEvaluator
from clso.report.reading import read_run
from clso.run import evolve, resume
from clso.run.folder import RunFolder
from clso.search.acquisition import ParetoOrder
from clso.search.generations import Interrupted, Listener, Search
from clso.space import Genome, Measure
from clso.space.objectives import Objectives
from clso.space.results import Evaluation
from clso.surrogates.linear import ridge

HERE = Path(__file__).parents[1]
LOTZ = f"{HERE / 'toys_pareto.py'}:Lotz"
BOTH = ("loss", "trailing")


@pytest.fixture
def config(tiny: RunConfig) -> RunConfig:
    return replace(tiny, space=LOTZ, objective=BOTH, surrogate="none", gens=45, pop=24, options={})


def evaluations(folder: Path) -> list[dict[str, Any]]:
    return [r for r in RunFolder.open(folder).records() if r["type"] == "evaluation"]


class StopAt(Listener):
    def __init__(self, n: int) -> None:
        self.left = n

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        self.left -= 1

    def stop(self) -> bool:
        return self.left <= 0


def test_a_run_finds_the_known_front_and_says_so(config: RunConfig, tmp_path: Path) -> None:
    result = evolve(config, tmp_path / "run")
    assert result["objectives"] == ["fitness", "trailing"]
    assert [tuple(m["values"].values()) for m in result["front"]] == Lotz().front
    measured = {tuple(r["genome"]): tuple(r["values"]) for r in evaluations(tmp_path / "run")}
    for member in result["front"]:
        assert measured[tuple(member["genome"])] == tuple(member["values"].values())
        assert member["alleles"] == {f"g{i}": str(a) for i, a in enumerate(member["genome"])}
    assert result["best"]["genome"] == result["front"][0]["genome"] == [1] * 12
    assert len(measured) == result["counts"]["evaluated"] == len(evaluations(tmp_path / "run"))
    growth = [
        r["hypervolume"]
        for r in RunFolder.open(tmp_path / "run").records()
        if r["type"] == "generation"
    ]
    assert growth == sorted(growth)
    assert growth[-1] == result["hypervolume"] > 0
    assert set(result["hypervolume_reference"]) == {"fitness", "trailing"}


@pytest.mark.parametrize("surrogate", ["none", "ridge"])
def test_values_that_a_space_measures_are_objectives_by_name(
    config: RunConfig, tmp_path: Path, surrogate: str
) -> None:
    names = ("leading", "not_trailing")
    settings = replace(config, space=f"{HERE / 'toys_pareto.py'}:Measured", surrogate=surrogate)
    result = evolve(replace(settings, objective=names), tmp_path / "both")
    assert (result["objectives"], result["directions"]) == (list(names), ["max", "min"])
    front = [tuple(member["values"].values()) for member in result["front"]]
    assert front == [(float(k), float(k)) for k in range(10, 0, -1)]  # k ones, then zeros
    assert result["best"]["values"] == {"leading": 10.0, "not_trailing": 10.0}
    assert result["best"]["fitness"] == -10.0
    assert result["measure"] == {"name": "leading", "direction": "max", "unit": "bits"}
    assert result["counts"]["failed"] > 0
    rows = [r["values"] for r in evaluations(tmp_path / "both") if r["status"] == "ok"]
    assert all(-10 <= values[0] <= 0 <= values[1] <= 10 for values in rows)  # minimised, both
    drawn = read_run(tmp_path / "both", []).front
    assert drawn is not None
    assert drawn.objectives == ("leading", "not_trailing")
    assert drawn.points.tolist() == [[float(k), float(k)] for k in range(10, 0, -1)]


def test_one_of_several_values_is_searched_for_alone(config: RunConfig, tmp_path: Path) -> None:
    settings = replace(config, space=f"{HERE / 'toys_pareto.py'}:Measured", gens=12)
    few = evolve(replace(settings, objective=("not_trailing",)), tmp_path / "few")
    assert few["best"]["values"] == {"not_trailing": 1.0}  # 0 would begin with 0, 0
    assert "front" not in few
    many = evolve(replace(settings, objective=()), tmp_path / "many")
    assert many["best"]["values"] == {"leading": 10.0}


class TooFew(Measured):
    measures = (*Measured.measures, Measure("third"))


class TwoAlike(Measured):
    measures = (Measure("leading"), Measure("leading"))


class LikeACost(Measured):
    cost_names = ("leading",)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("TooFew", "an evaluation holds 3 values: leading, not_trailing, third; got ("),
        ("TwoAlike", "each with a name of its own; got ['leading', 'leading']"),
        ("LikeACost", "measures and its costs have different names; got 'leading'"),
    ],
)
def test_what_is_declared_is_what_is_measured(
    config: RunConfig, tmp_path: Path, kind: str, message: str
) -> None:
    settings = replace(config, space=f"{__file__}:{kind}", objective=(), seed=3)
    with pytest.raises(ClsoError) as caught:
        evolve(settings, tmp_path / "run")
    assert message in str(caught.value)


def test_an_interrupted_run_ends_like_a_whole_one(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, gens=14, surrogate="ridge")
    whole = evolve(config, tmp_path / "whole")
    listener = StopAt(5)
    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "stopped", listener=listener, stop=listener.stop)
    result = resume(tmp_path / "stopped")
    for key in ("front", "hypervolume", "hypervolume_reference", "counts", "best"):
        assert result[key] == whole[key]
    assert (tmp_path / "stopped/records.jsonl").read_bytes() == (
        tmp_path / "whole/records.jsonl"
    ).read_bytes()
    assert whole["counts"]["screened_out"] > 0


def test_limits_hold_for_every_genome_evaluated(config: RunConfig, tmp_path: Path) -> None:
    result = evolve(replace(config, limits=("size=5", "trailing=-2"), gens=20), tmp_path / "two")
    space = Lotz()
    for row in evaluations(tmp_path / "two"):
        costs = space.costs(tuple(row["genome"]))
        assert costs["size"] <= 5
        assert costs["trailing"] <= -2
    assert min(m["values"]["fitness"] for m in result["front"]) == -5
    one = evolve(
        replace(config, limits=("size=5",), objective=("loss",), gens=20), tmp_path / "one"
    )
    assert all(sum(row["genome"]) <= 5 for row in evaluations(tmp_path / "one"))
    assert one["best"]["fitness"] == -5
    assert "front" not in one


def test_with_one_objective_nothing_changes(config: RunConfig, tmp_path: Path) -> None:
    plain = replace(
        config, space=f"{HERE / 'toys.py'}:OneMax", gens=8, surrogate="ridge", options={}
    )
    asked: dict[str, tuple[str, ...]] = {"by name": ("fitness",), "old": ("loss",), "none": ()}
    results = [evolve(replace(plain, objective=o), tmp_path / name) for name, o in asked.items()]
    assert results[0]["best"] == results[1]["best"] == results[2]["best"]
    records = [(tmp_path / name / "records.jsonl").read_bytes() for name in asked]
    assert records[0] == records[1] == records[2]
    assert b"hypervolume" not in records[0]


def test_patience_counts_generations_without_more_hypervolume(
    config: RunConfig, tmp_path: Path
) -> None:
    result = evolve(replace(config, patience=6, gens=400), tmp_path / "run")
    rows = [r for r in RunFolder.open(tmp_path / "run").records() if r["type"] == "generation"]
    assert len(rows) < 400 or result["counts"]["evaluated"] == 4096
    last = [r["hypervolume"] for r in rows[-7:]]
    assert len(set(last)) == 1


@pytest.mark.parametrize(
    ("objective", "limits", "message"),
    [
        (
            ("loss", "trialing"),
            (),
            "unknown objective; got 'trialing'. Did you mean 'trailing'? Space lotz offers fitness,",
        ),
        (("loss", "flops"), (), "offers fitness, trailing, constant, size, energy_j."),
        (
            ("trailing", "fitness"),
            (),
            "the first objective is measured, and not known before; got ['trailing', 'fitness']. "
            "Use --objective fitness,...",
        ),
        (("fitness", "size", "size"), (), "named once; got ['fitness', 'size', 'size']"),
        (("loss", "fitness"), (), "named once; got ['fitness', 'fitness']"),
        (
            ("loss", "constant"),
            (),
            "constant is 3 for all: an objective differs between genomes of space lotz",
        ),
        (
            ("loss", "energy_j"),
            (),
            "(energy measurement was switched off): objective energy_j needs an energy source",
        ),
        (BOTH, ("size",), "a limit is NAME=NUMBER; got 'size'"),
        (BOTH, ("size=nan",), "a limit is NAME=NUMBER; got 'size=nan'"),
        (BOTH, ("size=1e400",), "a limit is NAME=NUMBER"),
        (BOTH, ("size=5", "size=6"), "a limit is named once; got 'size'"),
        (BOTH, ("sise=5",), "unknown limit; got 'sise'. Did you mean 'size'?"),
        (BOTH, ("loss=5",), "unknown limit; got 'loss'"),
        (BOTH, ("energy_j=5",), "needs it measured. Use --objective fitness,energy_j."),
        (
            BOTH,
            ("size=-1",),
            "no genome drawn keeps size=-1: some genome keeps the limits. The least of 256 random genomes: size = ",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_leaves_nothing(
    config: RunConfig,
    tmp_path: Path,
    objective: tuple[str, ...],
    limits: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        evolve(replace(config, objective=objective, limits=limits), tmp_path / "run")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_space_that_names_a_cost_gives_it(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="have a finite constant"):
        evolve(
            replace(config, space=f"{HERE / 'toys_pareto.py'}:NoCost", options={}), tmp_path / "run"
        )
    assert NoCost.cost_names == Lotz.cost_names


def test_a_surrogate_ranks_by_predicted_loss_and_known_costs(config: RunConfig) -> None:
    space = Lotz()
    objectives = Objectives.of(config, space)
    acquisition = ParetoOrder(objectives.names, space.costs, space.cost_names)
    genomes: list[Genome] = [(1,) * 12, (0,) * 12, (1,) * 6 + (0,) * 6, (0, 1) * 6]
    predicted = np.array([[space.score(g)] for g in genomes], dtype=np.float64)
    order = acquisition.order(genomes, predicted)
    assert set(order[:3]) == {0, 1, 2}  # the last one is dominated
    # with another prediction it is not
    assert acquisition.order(genomes, np.array([[0.0], [0.0], [0.0], [-20.0]]))[-1] in (0, 2)


@pytest.mark.parametrize(
    ("space", "names", "n"),
    [
        (Lotz(), ("fitness", "trailing"), 1),
        (Measured(), ("leading", "not_trailing"), 2),
        (Measured(), ("leading",), 1),
    ],
)
def test_a_run_has_a_surrogate_for_each_objective_that_is_measured(
    space: Toy, names: tuple[str, ...], n: int
) -> None:
    settings = RunConfig(gens=2, pop=8, objective=names)
    evaluator = LocalEvaluator(Objectives.of(settings, space).complete(space.objective()))
    search = Search(space, evaluator, ridge, settings, Listener())
    assert search.screener.n_values == n


class Burner(OneMax):
    """Each evaluation takes 20 ms of a clock, and as many watts as the genome has ones."""

    def __init__(self, clock: ReplayClock) -> None:
        super().__init__()
        self.clock, self.counter_j, self.calls, self.dark = clock, [(0.0, 0.0)], 0, False

    def objective(self) -> BurnerObjective:  # type: ignore[override]
        return BurnerObjective(self)

    def meter(self) -> EnergyMeter:
        limits = CounterLimits(resolution_s=0.0099, max_w=1000.0)
        return EnergyMeter(replay_counter([self.counter_j], self.clock, limits), clock=self.clock)


class BurnerObjective:
    fidelities: tuple[int, ...] = (1, 2)

    def __init__(self, space: Burner) -> None:
        self.space = space

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        space, out = self.space, []
        for g in genomes:
            space.clock.advance(0.02)
            space.calls += 1
            power_w = 0 if space.dark else sum(g)
            space.counter_j.append((space.clock(), space.counter_j[-1][1] + 0.02 * power_w))
            out.append(Evaluation.measured(g, fidelity, (space.score(g),), 7))
        return out


@pytest.fixture
def burner() -> Burner:
    return Burner(ReplayClock())


def test_energy_is_measured_for_each_candidate_alone(config: RunConfig, burner: Burner) -> None:
    objectives = Objectives.of(
        replace(config, objective=("loss", "energy_j")), burner, burner.meter()
    )
    objective = objectives.complete(burner.objective())
    genomes: list[Genome] = [(1,) * 24, (1,) * 3 + (0,) * 21, (1,) * 12 + (0,) * 12]
    found = objective.evaluate(genomes, 0)
    for genome, e in zip(genomes, found, strict=True):
        assert e.values == pytest.approx((24 - sum(genome), 0.02 * sum(genome)))
        # five times 20 ms are ten updates of the counter; and once before
        assert e.n_tokens == 7 * 6
    assert burner.calls == 3 * 6
    # higher rungs are for the loss
    assert objective.evaluate(genomes, 1) == burner.objective().evaluate(genomes, 1)


def test_a_search_for_little_energy(config: RunConfig, burner: Burner) -> None:
    settings = replace(
        config, objective=("loss", "energy_j"), limits=("energy_j=0.2",), surrogate="ridge", gens=30
    )
    objectives = Objectives.of(settings, burner, burner.meter())

    search = Search(
        burner,
        LocalEvaluator(objectives.complete(burner.objective())),
        ridge,
        settings,
        Listener(),
        objectives,
    )
    while not search.done:
        search.generation()
    assert search.counts["screened_out"] > 0
    for e in search.contenders:
        assert e.values[1] <= 0.2
    assert search.contenders[0].values == pytest.approx((14.0, 0.2))
    assert search.engine.best is not None
    assert search.engine.best.value == 14


def test_limits_on_energy_that_nothing_keeps(config: RunConfig, burner: Burner) -> None:
    settings = replace(config, objective=("loss", "energy_j"), limits=("energy_j=-1",), gens=2)
    objectives = Objectives.of(settings, burner, burner.meter())
    evaluator = LocalEvaluator(objectives.complete(burner.objective()))
    search = Search(burner, evaluator, None, settings, Listener(), objectives)
    search.generation()
    with pytest.raises(EvaluationError, match="some candidate keeps the limits"):
        _ = search.contenders


def test_an_energy_that_cannot_be_read_is_a_failure(config: RunConfig, burner: Burner) -> None:
    objectives = Objectives.of(
        replace(config, objective=("loss", "energy_j")), burner, burner.meter()
    )
    objective = objectives.complete(burner.objective())
    burner.dark = True  # the counter stands still
    assert objective.evaluate([(1,) * 24], 0)[0].status == "failed"
    assert "energy_j was not measured: the energy counter did not move" in str(
        objective.evaluate([(1,) * 24], 0)[0].error
    )
    burner.dark = False
    assert objective.evaluate([(1,) * 24], 0)[0].ok


def test_a_meter_that_measures_nothing_is_refused(config: RunConfig, burner: Burner) -> None:
    settings = replace(config, objective=("loss", "energy_j"))
    for meter in (None, EnergyMeter(NullBackend("there is no counter"))):
        with pytest.raises(ConfigError, match="needs an energy source"):
            Objectives.of(settings, burner, meter)


class RarelyMeasured(Toy):
    """One genome in nine has a value; a generation has four candidates."""

    def __init__(self) -> None:
        super().__init__([3] * 6, lambda g: float(sum(g)) if g[:2] == (0, 0) else math.nan)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_first_generation_without_a_value_is_followed_by_another(
    seed: int, asynchronous: bool, tmp_path: Path
) -> None:
    settings = RunConfig(
        gens=40, pop=4, space=f"{__file__}:RarelyMeasured", energy="null", device="cpu", seed=seed
    )
    result = evolve(replace(settings, asynchronous=asynchronous), tmp_path / "run")
    assert result["best"]["fitness"] < 6
    rows = list(RunFolder.open(tmp_path / "run").records())
    assert sum(r["type"] == "evaluation" for r in rows) == result["counts"]["evaluated"]
    assert all(r["best"] is not None for r in rows if r["type"] == "generation")


def test_a_run_in_which_nothing_can_be_measured_stops_after_a_stated_number(tmp_path: Path) -> None:
    config = RunConfig(
        gens=400, pop=16, space=f"{HERE / 'toys.py'}:AlwaysNan", energy="null", device="cpu"
    )
    with pytest.raises(
        EvaluationError,
        match="all 128 candidates failed, the first with every loss was infinite or not a number",
    ):
        evolve(config, tmp_path / "run")


class TwoValues(OneMax):
    """Measures one value more than is wanted."""

    def objective(self) -> Any:
        inner = super().objective()

        class Generous:
            fidelities = (1,)

            def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
                return [
                    replace(e, values=(*e.values, 2.0)) for e in inner.evaluate(genomes, fidelity)
                ]

        return Generous()


class TwoValuesAndACost(TwoValues):
    cost_names = ("ones",)

    def costs(self, genome: Genome) -> dict[str, float]:
        return {"ones": sum(genome)}


@pytest.mark.parametrize(
    ("kind", "objective"), [("TwoValues", ("loss",)), ("TwoValuesAndACost", ("loss", "ones"))]
)
def test_values_that_nobody_asked_for_are_not_dropped_in_silence(
    kind: str, objective: tuple[str, ...], tmp_path: Path
) -> None:
    config = RunConfig(
        gens=2, pop=4, space=f"{__file__}:{kind}", objective=objective, energy="null", device="cpu"
    )
    with pytest.raises(EvaluationError, match="value"):
        evolve(config, tmp_path / "run")


class Permutations(Toy):
    """Nine places for nine things, each once: one genome in a thousand."""

    def __init__(self) -> None:
        super().__init__([9] * 9, lambda g: float(sum(abs(a - i) for i, a in enumerate(g))))

    def constraints(self, genome: Genome) -> tuple[float, ...]:
        return (9 - len(set(genome)),)


class NothingFeasible(Permutations):
    def constraints(self, genome: Genome) -> tuple[float, ...]:
        return (1,)


def test_a_run_over_rare_feasible_genomes_uses_its_budget(tmp_path: Path) -> None:
    config = RunConfig(
        gens=8,
        pop=8,
        space=f"{__file__}:Permutations",
        surrogate="none",
        energy="null",
        device="cpu",
    )
    assert evolve(config, tmp_path / "run")["counts"]["evaluated"] == 64


def test_a_run_without_a_feasible_genome_blames_the_constraints(tmp_path: Path) -> None:
    config = RunConfig(
        gens=8, pop=8, space=f"{__file__}:NothingFeasible", energy="null", device="cpu"
    )
    with pytest.raises(
        ConfigError,
        match=r"none of .* draws",
    ):
        evolve(config, tmp_path / "run")
