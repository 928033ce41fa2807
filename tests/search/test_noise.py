"""Values that are drawn anew at each measurement: the leader is measured again, and means count."""

from __future__ import annotations

import json
import random
from statistics import fmean, stdev
from typing import Any

import pytest

from clso import Measure, Optimizer, minimize
from clso.errors import ConfigError
from clso.search.repeats import Repeats
from clso.space import Genome
from clso.space.repeated import MOST_REPEATS
from clso.space.results import Evaluation

SIZES = [6] * 4
NOISE = 3.0


def truth(genome: Genome) -> float:
    return float(sum((a - 2) ** 2 for a in genome))


class Draws:
    """A new value of a genome at each call, the same in every run."""

    def __init__(self, seed: int) -> None:
        self.seed, self.n = seed, 0

    def __call__(self, genome: Genome) -> float:
        self.n += 1
        return truth(genome) + random.Random(f"{self.seed} {self.n}").gauss(0, NOISE)


def search(optimizer: Optimizer, draws: Draws, n: int, ask: int = 1) -> list[tuple[Genome, float]]:
    done: list[tuple[Genome, float]] = []
    while len(done) < n:
        for genome in optimizer.ask(ask):
            value = draws(genome)
            optimizer.tell(genome, value)
            done.append((genome, value))
    return done


def test_a_quarter_is_measured_again_and_the_best_is_a_mean() -> None:
    optimizer = Optimizer(SIZES, seed=0, noisy=True)
    done = search(optimizer, Draws(0), 200)
    assert optimizer.n_evaluated == len({genome for genome, _ in done}) == 160
    assert optimizer.repeats is not None
    assert optimizer.repeats.n_repeats == 40
    best = optimizer.best
    assert best is not None
    values = [value for genome, value in done if genome == best.genome]
    assert 2 <= len(values) <= MOST_REPEATS
    assert best.value == pytest.approx(fmean(values))
    found = optimizer.estimate(best.genome)
    assert found.mean == best.value
    assert found.n == len(values)
    assert found.low < truth(best.genome) < found.high


def test_what_is_reported_is_nearer_to_the_truth_than_the_lowest_value() -> None:
    too_good: dict[bool, list[float]] = {True: [], False: []}
    regret: dict[bool, list[float]] = {True: [], False: []}
    for noisy in too_good:
        for seed in range(6):
            optimizer = Optimizer(SIZES, seed=seed, noisy=noisy)
            search(optimizer, Draws(seed), 150)
            best = optimizer.best
            assert best is not None
            too_good[noisy].append(truth(best.genome) - best.value)
            regret[noisy].append(truth(best.genome))
    assert fmean(too_good[False]) > NOISE
    assert abs(fmean(too_good[True])) < 0.6 * fmean(too_good[False])
    assert fmean(regret[True]) < fmean(regret[False])


@pytest.mark.parametrize("with_evaluations", [True, False])
@pytest.mark.parametrize("stop", [45, 90])
def test_a_restored_search_goes_on_as_it_would_have(with_evaluations: bool, stop: int) -> None:
    whole = search(Optimizer(SIZES, seed=1, noisy=True), Draws(1), 150, ask=3)
    first, draws = Optimizer(SIZES, seed=1, noisy=True), Draws(1)
    begun = search(first, draws, stop, ask=3)
    state = json.loads(json.dumps(first.state_dict(with_evaluations=with_evaluations)))
    again = Optimizer(SIZES, seed=1, noisy=True)
    evaluations = [Evaluation(genome, 0, (value,)) for genome, value in begun]
    again.load_state_dict(state, None if with_evaluations else evaluations)
    assert again.best == first.best
    assert begun + search(again, draws, 150 - stop, ask=3) == whole


def test_a_batch_holds_no_genome_twice() -> None:
    optimizer = Optimizer(SIZES, seed=2, noisy=True)
    search(optimizer, Draws(2), 40)
    for _ in range(5):
        batch = optimizer.ask(16)
        assert len(set(batch)) == 16
        known = [genome for genome in batch if optimizer.engine.lookup(genome)]
        assert len(known) == 4
        for genome in batch:
            optimizer.tell(genome, truth(genome))


def test_where_nothing_new_is_left_the_rest_is_measured_again() -> None:
    optimizer = Optimizer([3], seed=0, noisy=True)
    assert len(search(optimizer, Draws(0), 3 + 3 * (MOST_REPEATS - 1))) == 3 * MOST_REPEATS
    assert optimizer.ask() == []


def test_a_repetition_that_fails_leaves_the_mean_as_it_is() -> None:
    optimizer = Optimizer([3], seed=0, noisy=True)
    search(optimizer, Draws(0), 3)
    (genome,) = optimizer.ask()
    before = optimizer.estimate(genome).mean
    optimizer.tell(genome, float("nan"))
    assert optimizer.estimate(genome).mean == before


def test_intervals_are_pooled_over_genomes() -> None:
    repeats = Repeats()
    for genome, value in [((0,), 1.0), ((0,), 3.0), ((1,), 10.0), ((1,), 14.0), ((2,), 0.9)]:
        repeats.add(genome, value)
    assert repeats.leader() == (2,)
    assert repeats.best() == (0,)  # 2 + 2 * 1.58, against 0.9 + 2 * 2.24 of a single one
    variance = (stdev([1.0, 3.0]) ** 2 + stdev([10.0, 14.0]) ** 2) / 2
    found = repeats.estimate((0,))
    assert (found.high - found.low) / 2 == pytest.approx(4.3027 * (variance / 2) ** 0.5, rel=1e-4)


def test_minimize_counts_repetitions_and_says_how_sure_it_is() -> None:
    draws = Draws(3)

    def loss(x: dict[str, int]) -> float:
        return -draws(tuple(x.values()))

    space = {f"g{i}": range(6) for i in range(4)}
    objectives = [Measure("score", "max")]
    found = minimize(loss, space, 150, noisy=True, objectives=objectives, seed=0)
    assert len(found.evaluations) == draws.n == 150
    assert found.interval is not None
    low, high = found.interval
    assert low < found.value < high
    assert low < -truth(found.genome) < high
    assert minimize(lambda x: sum(x.values()), space, 20).interval is None


def test_several_noisy_objectives_are_refused() -> None:
    settings: dict[str, Any] = {"noisy": True, "objectives": ("a", "b")}
    with pytest.raises(ConfigError, match="one noisy objective"):
        Optimizer(SIZES, **settings)
