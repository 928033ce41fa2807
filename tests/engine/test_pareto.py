from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from toys_pareto import Lotz, Priced, Thrifty

from clso.engine import (
    EngineConfig,
    ParetoEngine,
    crowded_order,
)
from clso.errors import EvaluationError
from clso.space.results import Evaluation

FREE = (math.inf, math.inf)


def dominated(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(y <= x for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_front_of_lotz_is_found(seed: int) -> None:
    space = Lotz(12)
    engine = ParetoEngine(space, EngineConfig(pop_size=24, tournament=2), upper=FREE, seed=seed)
    asked = []
    while [e.values for e in engine.front] != space.front:
        assert engine.n_evaluated < 1600  # of 4096; 400 to 1000 are needed
        batch = engine.ask()
        asked += batch
        engine.tell(space.both(batch))
    assert len(set(asked)) == len(asked) == engine.n_evaluated
    assert {e.genome for e in engine.front} == {(1,) * k + (0,) * (12 - k) for k in range(13)}
    # Area under a staircase of unit steps, against the first generation's worst and a margin.
    x, y = engine.reference or ()
    steps = [
        max(0, x + k) * max(0, min(1, y + 12 - k)) if k < 12 else (x + 12) * max(0, y)
        for k in range(13)
    ]
    assert engine.hypervolume == pytest.approx(sum(steps))


def test_random_search_does_not_find_it() -> None:
    space, rng = Lotz(12), random.Random(0)
    values = {e.values for e in space.both([space.sample(rng) for _ in range(1600)])}
    assert not set(space.front) <= values


def test_the_front_is_what_nothing_measured_dominates() -> None:
    rng = random.Random(3)
    space = Lotz(10)
    engine = ParetoEngine(space, EngineConfig(pop_size=8), upper=(math.inf,) * 3, seed=0)
    points: list[tuple[float, ...]] = []
    before = 0.0
    for _ in range(8):
        new = [
            Evaluation.measured(g, 0, tuple(float(rng.randrange(6)) for _ in range(3)), 1)
            for g in engine.ask(8)
        ]
        engine.tell(new)
        points += [e.values for e in new]
        best = sorted({p for p in points if not any(dominated(p, q) for q in points)})
        assert [e.values for e in engine.front] == best
        assert engine.hypervolume is not None
        assert engine.hypervolume >= before
        before = engine.hypervolume
        assert engine.best is not None
        assert engine.best.value == min(p[0] for p in points)


def test_survivors_are_the_first_fronts_and_repetitions_go_first() -> None:
    space = Lotz(8)
    engine = ParetoEngine(space, EngineConfig(pop_size=6), upper=FREE, seed=0)
    batch = engine.ask(10)
    # the front, one point twice
    values = [
        (0.0, 5.0),
        (1.0, 3.0),
        (1.0, 3.0),
        (2.0, 2.0),
        (3.0, 1.0),
        (5.0, 0.0),
    ]
    values += [(6.0, 6.0), (4.0, 4.0), (7.0, 7.0), (8.0, 8.0)]
    engine.tell(Evaluation.measured(g, 0, v, 1) for g, v in zip(batch, values, strict=True))
    assert {i.genome for i in engine.population} == set(batch[:6])
    engine.tell([Evaluation.measured(engine.ask(1)[0], 0, (2.5, 1.5), 1)])
    kept = [engine.lookup(i.genome) for i in engine.population]
    assert sorted(e.values for e in kept if e) == sorted({*values[:6], (2.5, 1.5)})


def crowding(point: tuple[float, ...], front: set[tuple[float, ...]]) -> float:
    """Deb et al. 2002, section III B, over distinct points."""
    total = 0.0
    for k, value in enumerate(point):
        axis = sorted(p[k] for p in front)
        below = [p for p in axis if p < value]
        above = [p for p in axis if p > value]
        if not below or not above:
            return math.inf
        total += (above[0] - below[-1]) / (axis[-1] - axis[0])
    return total


def test_the_order_is_by_rank_then_by_crowding() -> None:
    rng = np.random.default_rng(0)
    rows: list[tuple[float, ...]] = [(float(a), float(b)) for a, b in rng.integers(0, 12, (40, 2))]
    order = crowded_order(np.array(rows))
    assert sorted(order) == list(range(40))
    left = set(rows)
    while left:
        front = {p for p in left if not any(dominated(p, q) for q in left)}
        members, order = (
            [i for i in order if rows[i] in front],
            [i for i in order if rows[i] not in front],
        )
        first = [rows[i] for i in members[: len(front)]]
        assert set(first) == front  # repetitions come last
        distances = [crowding(p, front) for p in first]
        assert distances == sorted(distances, reverse=True)
        left -= front


def test_what_breaks_a_measured_limit_ranks_behind_by_how_far() -> None:
    space = Lotz(8)
    engine = ParetoEngine(space, EngineConfig(pop_size=4), upper=(math.inf, 2.0), seed=0)
    batch = engine.ask(5)
    values = [(0.0, 9.0), (9.0, 2.0), (1.0, 4.0), (10.0, 1.0), (0.5, 3.0)]
    engine.tell(Evaluation.measured(g, 0, v, 1) for g, v in zip(batch, values, strict=True))
    kept = [engine.lookup(i.genome).values for i in engine.population]  # type: ignore[union-attr]
    assert set(kept[:2]) == {(9.0, 2.0), (10.0, 1.0)}  # within the limit, neither dominates
    assert kept[2:] == [(0.5, 3.0), (1.0, 4.0)]  # then the least violation
    assert [e.values for e in engine.front] == [(9.0, 2.0), (10.0, 1.0)]
    assert engine.best is not None
    assert engine.best.values == (9.0, 2.0)


def test_without_a_feasible_evaluation_there_is_no_front() -> None:
    space = Lotz(8)
    engine = ParetoEngine(space, EngineConfig(pop_size=4), upper=(math.inf, -100.0), seed=0)
    engine.tell(space.both(engine.ask()))
    assert engine.front == []
    assert engine.hypervolume == 0
    assert len(engine.ask()) == 4


@pytest.mark.parametrize("with_cache", [True, False])
@pytest.mark.parametrize("knows_costs", [True, False])
def test_state_as_json_continues_bit_for_bit(with_cache: bool, knows_costs: bool) -> None:
    space = Priced() if knows_costs else Lotz(14)
    costs = space.known if isinstance(space, Priced) else None
    settings = EngineConfig(pop_size=12, tournament=2)
    engine = ParetoEngine(space, settings, upper=FREE, seed=5, costs=costs)
    everything: list[Evaluation] = []
    for generation in range(12):
        state = json.loads(json.dumps(engine.state_dict(with_cache=with_cache)))
        other = ParetoEngine(space, settings, upper=FREE, seed=99, costs=costs)
        other.load_state_dict(state, None if with_cache else everything)
        batch = engine.ask()
        assert other.ask() == batch
        told = space.both(batch)
        for e in (engine, other):
            e.tell(told)
        everything += told
        assert other.state_dict() == engine.state_dict(), generation
        assert other.front == engine.front
        assert other.hypervolume == engine.hypervolume


def test_a_population_of_thousands_stays_usable() -> None:
    space = Lotz(40)
    engine = ParetoEngine(space, EngineConfig(pop_size=3000, tournament=2), upper=FREE, seed=0)
    for _ in range(3):
        engine.tell(space.both(engine.ask()))
    assert len(engine.population) == 3000


def test_another_number_of_values_is_refused() -> None:
    space = Lotz(8)
    engine = ParetoEngine(space, EngineConfig(pop_size=4), upper=FREE)
    with pytest.raises(EvaluationError, match="2 values are minimised, 1 were measured"):
        engine.tell(space.measure(engine.ask()))
    assert engine.n_evaluated == 0


def test_failures_never_reach_the_front() -> None:
    space = Lotz(8)
    engine = ParetoEngine(space, EngineConfig(pop_size=4), upper=FREE)
    a, b, c = engine.ask(3)
    engine.tell(
        [Evaluation(a, 0, (-9.0, -9.0), "failed"), Evaluation.measured(b, 0, (math.nan, 0.0), 1)]
    )
    assert engine.reference is None
    assert engine.front == []
    engine.tell(space.both([c]))
    assert [e.genome for e in engine.front] == [c]
    assert engine.reference is not None


def front_of(points: Sequence[tuple[float, ...]], unit: float) -> ParetoEngine:
    """An engine that was told a generation of two worse points, and `points` after it, in a
    `unit`."""
    engine = ParetoEngine(Lotz(8), EngineConfig(pop_size=8), upper=FREE)
    genomes = (tuple(int(b) for b in f"{i:08b}") for i in range(256))
    for generation in ([(10.0, 10.0), (9.0, 11.0)], points):
        engine.tell(
            [Evaluation(next(genomes), 0, tuple(unit * v for v in point)) for point in generation]
        )
    return engine


@pytest.mark.parametrize("unit", [1e-200, 1e-3, 1.0, 1e100, 1e160, 1e307])
def test_no_unit_of_the_objectives_hides_progress_or_ends_a_run(unit: float) -> None:
    points = [(8.0, 9.0), (6.0, 9.5), (7.0, 7.0), (9.9, 1.0), (5.0, 5.0)]
    for n in range(1, len(points)):
        before, after = front_of(points[:n], unit), front_of(points[: n + 1], unit)
        assert before.counting != after.counting
        json.dumps([after.state_dict(), after.hypervolume], allow_nan=False)


def test_a_hypervolume_beyond_a_floats_range_is_none() -> None:
    points = [(8.0, 9.0), (6.0, 9.5), (7.0, 7.0)]
    plain = front_of(points, 1.0).hypervolume
    assert plain is not None
    assert front_of(points, 1e160).hypervolume is None
    assert front_of(points, 1e-200).hypervolume is None
    assert front_of(points, 2.0**100).hypervolume == pytest.approx(plain * 2.0**200, rel=1e-12)


def test_equal_crowding_distances_stay_equal_in_any_unit() -> None:
    ladder = np.array([[float(i), float(20 - i)] for i in range(21)])
    assert crowded_order(ladder * 0.1) == crowded_order(ladder * 1e-200) == crowded_order(ladder)


def test_the_reference_lies_behind_an_objective_that_is_flat_at_first_and_of_equal_ones_the_first_is_best() -> (
    None
):
    engine = ParetoEngine(Lotz(6), EngineConfig(pop_size=4), upper=FREE, seed=0)
    first, second = engine.ask(2)
    engine.tell([Evaluation(first, 0, (1.0, -5.0)), Evaluation(second, 0, (1.0, -5.0))])
    assert engine.reference == pytest.approx((1.0 + 0.1, -5.0 + 0.5))
    assert engine.hypervolume == pytest.approx(0.1 * 0.5)
    assert engine.best is not None
    assert engine.best.genome == first


def priced(seed: int, *, knows_costs: bool) -> list[tuple[float, ...]]:
    """The front of 400 evaluations."""
    space = Priced()
    engine = ParetoEngine(
        space,
        EngineConfig(pop_size=16, tournament=2),
        upper=FREE,
        seed=seed,
        costs=space.known if knows_costs else None,
    )
    while engine.n_evaluated < 400:
        engine.tell(space.both(engine.ask()))
    return [e.values for e in engine.front]


def test_known_costs_make_the_front_better_at_what_is_measured() -> None:
    with_costs, without = (
        [priced(seed, knows_costs=known) for seed in range(6)] for known in (True, False)
    )
    best, best_without = (sum(front[0][0] for front in fronts) for fronts in (with_costs, without))
    assert best <= 0.8 * best_without
    # and at all prices together
    at, at_without = (
        sum(
            min((value for value, its in front if its <= price), default=32.0)
            for front in fronts
            for price in range(Priced.N_SWITCHES + 1)
        )
        for fronts in (with_costs, without)
    )
    assert at <= 0.9 * at_without


def test_what_costs_nothing_is_carried_from_the_best_genome_to_every_cost() -> None:
    space = Priced()
    engine = ParetoEngine(
        space,
        EngineConfig(pop_size=4, local_search=1.0),
        upper=(math.inf, 5.0),
        limits=lambda genome: (space.known(genome)[0] - 5.0,),
        costs=space.known,
    )
    dear = (0,) * 15 + (1,) + (1, 1, 1, 1, 1, 0)  # the best by far
    cheap, between = (3,) * 16 + (0,) * 6, (2,) * 16 + (0, 1, 0, 1, 0, 0)
    engine.tell(space.both([dear, cheap, between]))
    assert len(engine.front) == 3
    asked = engine.ask(40)
    assert dear[:16] + cheap[16:] in asked
    assert dear[:16] + between[16:] in asked
    assert all(space.known(genome)[0] <= 5 for genome in asked)


def test_much_of_the_local_search_changes_genes_that_only_save_costs() -> None:
    space = Thrifty()

    def saved(n: int, seed: int, *, knows_costs: bool) -> int:
        """How many children have the best genome's free genes."""
        engine = ParetoEngine(
            space,
            EngineConfig(pop_size=n, local_search=1.0),
            upper=FREE,
            seed=seed,
            costs=space.known if knows_costs else None,
        )
        best = (0,) * 22
        engine.tell(space.both([best, (1,) * 16 + (0,) * 6]))
        return sum(genome[:16] == best[:16] for genome in engine.ask(n))

    few, many = (
        sum(saved(16, seed, knows_costs=known) for seed in range(8)) for known in (False, True)
    )
    assert many >= 2 * few
