from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clso.errors import EvaluationError, GenomeError, RunFolderError
from clso.screening.config import GENERATIONAL
from clso.screening.encoding import Encoder
from clso.screening.packing import unpack_rows
from clso.screening.screener import Estimator, Prediction, Screener, Screening
from clso.surrogates.linear import ridge

N_GENES, N_CHOICES, POPULATION = 6, 8, 32
EFFECTS = np.random.default_rng(7).normal(scale=0.05, size=(N_GENES, N_CHOICES))

Genome = tuple[int, ...]
Objective = Callable[[Genome, int], float]


def linear(genome: Genome, generation: int) -> float:
    """A toy loss near 10.8 nats, the range of the original bug's true losses."""
    return 10.8 + float(sum(EFFECTS[g, a] for g, a in enumerate(genome)))


@dataclasses.dataclass
class Constant:
    """The original bug's setting: far below any true loss, whatever the candidate."""

    value: float = 1.65

    def fit(self, X: Any, y: Any) -> None: ...
    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.value)


@dataclasses.dataclass
class Noise:
    seed: int

    def fit(self, X: Any, y: Any) -> None:
        self.rng_ = np.random.default_rng([self.seed, len(y)])

    def predict(self, X: Any) -> Any:
        return self.rng_.normal(1.65, 0.1, len(X))


class FollowsTheTrend:
    """Knows how well the last candidates did and nothing about which candidate is better."""

    def fit(self, X: Any, y: Any) -> None:
        self.level_ = np.mean(y[-POPULATION:])
        self.rng_ = np.random.default_rng(len(y))

    def predict(self, X: Any) -> Any:
        return self.level_ + self.rng_.normal(scale=1e-3, size=len(X))


class FarTooLow:
    """Ranks well, 9 nats below the truth."""

    def fit(self, X: Any, y: Any) -> None:
        self.model_ = ridge(0).fit(X, y)

    def predict(self, X: Any) -> Any:
        return self.model_.predict(X) - 9.0


class Breaks:
    def __init__(self, in_fit: bool, answer: Any) -> None:
        self.in_fit, self.answer = in_fit, answer

    def fit(self, X: Any, y: Any) -> None:
        if self.in_fit:
            raise np.linalg.LinAlgError("singular matrix")

    def predict(self, X: Any) -> Any:
        return self.answer


def make(
    estimator: Callable[[int], Estimator] | None, *, seed: int = 0, refit_every: int = 1
) -> Screener:
    config = dataclasses.replace(GENERATIONAL, min_observations=32, refit_every=refit_every)
    return Screener(estimator, Encoder([N_CHOICES] * N_GENES), config, seed=seed)


def candidates(generation: int) -> list[Genome]:
    rng = random.Random(generation)
    return [tuple(rng.randrange(N_CHOICES) for _ in range(N_GENES)) for _ in range(POPULATION)]


def step(
    screener: Screener, generation: int, objective: Objective = linear
) -> tuple[Screening, list[float]]:
    population = candidates(generation)
    screening = screener.screen(population)
    chosen = [population[i] for i in screening.chosen]
    values = [objective(genome, generation) for genome in chosen]
    screener.observe(chosen, values)
    return screening, values


def run(screener: Screener, n_generations: int, objective: Objective = linear) -> list[Screening]:
    return [step(screener, generation, objective)[0] for generation in range(n_generations)]


def test_useful_surrogate_screens_four_fifths_and_finds_better_candidates() -> None:
    screener = make(ridge)
    log = run(screener, 30)
    assert screener.trusted
    assert not screener.disabled
    assert screener.disabled_reason is None
    assert log[0].predictions == []  # nothing known yet
    assert len(log[1].predictions) == POPULATION
    assert len(log[1].chosen) == POPULATION  # not trusted yet
    assert log[1].audits == log[1].chosen
    screened = [s for s in log if len(s.chosen) < POPULATION]
    assert len(screened) >= 26
    assert 1 - np.mean([len(s.chosen) for s in screened]) / POPULATION == pytest.approx(
        0.8, abs=0.02
    )
    assert screener.n_screened_out == sum(POPULATION - len(s.chosen) for s in log)
    assert screener.n_audits == sum(len(s.audits) for s in log)
    assert screener.audit_correlation is not None
    assert screener.audit_correlation > 0.6
    assert screener.fit_time_s > 0
    for generation, s in enumerate(log):
        population = candidates(generation)
        assert sorted(set(s.chosen)) == s.chosen
        assert set(s.audits) <= set(s.chosen)
        if s in screened:
            assert 1 <= len(s.audits) < len(s.chosen)
            picked = set(s.chosen) - set(s.audits)
            better_half = sorted(range(POPULATION), key=lambda i: s.predictions[i].value)[
                : POPULATION // 2
            ]
            assert picked <= set(better_half)
            assert [p.genome for p in s.predictions] == population
    late = [
        np.mean([linear(candidates(g)[i], g) for i in set(log[g].chosen) - set(log[g].audits)])
        for g in range(20, 30)
    ]
    every = [np.mean([linear(c, g) for c in candidates(g)]) for g in range(20, 30)]
    assert np.mean(late) < np.mean(every) - 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("estimator", [Noise, lambda seed: Constant()])
def test_useless_surrogate_is_switched_off(
    estimator: Callable[[int], Estimator], seed: int
) -> None:
    screener = make(lambda _: estimator(seed), seed=seed)
    best = min(min(step(screener, generation)[1]) for generation in range(60))
    assert screener.disabled
    assert not screener.trusted
    assert screener.disabled_reason is not None
    assert "rank correlation" in screener.disabled_reason
    assert best > 10  # predictions are near 1.65
    screening, _ = step(screener, 60)
    assert screening == Screening(list(range(POPULATION)), [], [])


def test_following_the_trend_of_a_search_is_not_ranking() -> None:
    noise = random.Random(3)
    screener = make(lambda _: FollowsTheTrend())
    run(screener, 60, lambda genome, generation: 10.8 - 0.1 * generation + noise.gauss(0, 0.01))
    assert screener.disabled
    assert screener.n_screened_out < 60 * POPULATION / 4


def test_surrogate_that_stops_ranking_is_switched_off_while_trusted() -> None:
    screener = make(ridge)
    run(screener, 8)
    assert screener.trusted
    for generation in range(8, 60):
        step(
            screener,
            generation,
            lambda genome, g: 10.8 + 0.1 * random.Random(str((genome, g))).random(),
        )
    assert screener.disabled
    assert screener.disabled_reason is not None
    assert "below 0.2" in screener.disabled_reason


def test_predictions_far_below_the_truth_never_become_values() -> None:
    screener = make(lambda _: FarTooLow())
    observed: list[float] = []
    for generation in range(20):
        screening, values = step(screener, generation)
        observed += values
        assert all(p.value < 5 for p in screening.predictions)
    assert screener.trusted  # the ranking is right, and nothing else is used
    assert min(observed) > 10
    assert {f.name for f in dataclasses.fields(Prediction)} == {"genome", "value"}
    assert not hasattr(Prediction((0,), 1.65), "loss")
    with pytest.raises(EvaluationError):
        screener.observe([candidates(0)[0]], [screening.predictions[0]])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        min([10.8, screening.predictions[0]])  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (Breaks(True, None), "LinAlgError: singular matrix"),
        (Breaks(False, None), "not 32 finite numbers"),
        (Breaks(False, np.full(POPULATION, np.nan)), "not 32 finite numbers"),
        (Breaks(False, np.zeros(3)), "not 32 finite numbers"),
        (Breaks(False, "text"), "ValueError"),
    ],
)
def test_broken_surrogate_is_switched_off_and_the_run_goes_on(
    estimator: Estimator, reason: str
) -> None:
    screener = make(lambda _: estimator)
    log = run(screener, 4)
    assert screener.disabled
    assert reason in str(screener.disabled_reason)
    assert all(len(s.chosen) == POPULATION and s.predictions == [] for s in log)
    assert screener.n_screened_out == 0


def test_no_surrogate_chooses_everything() -> None:
    screener = make(None)
    assert run(screener, 5) == [Screening(list(range(POPULATION)), [], [])] * 5
    assert (screener.trusted, screener.disabled, screener.audit_correlation) == (False, False, None)


def test_same_seed_same_screenings_and_global_generators_untouched() -> None:
    def states() -> list[Any]:
        return [random.getstate(), str(np.random.get_state())]

    before = states()
    first = run(make(ridge, seed=1), 12)
    assert states() == before
    assert run(make(ridge, seed=1), 12) == first
    assert run(make(ridge, seed=2), 12) != first


@pytest.mark.parametrize("refit_every", [1, 3])
@pytest.mark.parametrize("stop", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("midway", [False, True])
def test_resumed_screener_screens_as_the_uninterrupted_one(
    refit_every: int, stop: int, midway: bool
) -> None:
    whole = make(ridge, refit_every=refit_every)
    expected = run(whole, 14)
    first = make(ridge, refit_every=refit_every)
    run(first, stop)
    resumed = make(ridge, refit_every=refit_every)
    start = stop
    if midway:  # killed between the choice and the second half of the evaluations
        population = candidates(stop)
        chosen = [population[i] for i in first.screen(population).chosen]
        values = [linear(genome, stop) for genome in chosen]
        first.observe(chosen[:3], values[:3])
        resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
        resumed.observe(chosen[3:], values[3:])
        start += 1
    else:
        resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [step(resumed, generation)[0] for generation in range(start, 14)] == expected[start:]
    a, b = whole.state_dict(), resumed.state_dict()
    assert {**a, "fit_time_s": 0} == {**b, "fit_time_s": 0}


@pytest.mark.parametrize(("refit_every", "fits"), [(1, 9), (3, 3)])
def test_refits_every_so_many_screenings(refit_every: int, fits: int) -> None:
    made: list[int] = []

    def counted(seed: int) -> Estimator:
        made.append(seed)
        return ridge(seed)  # type: ignore[no-any-return]

    run(make(counted, seed=4, refit_every=refit_every), 10)  # the first one predicts nothing
    assert made == [4] * fits


def test_a_fit_while_a_batch_is_measured_takes_the_place_of_the_next() -> None:
    made: list[int] = []

    def counted(seed: int) -> Estimator:
        made.append(seed)
        return ridge(seed)

    screener = make(counted)
    run(screener, 2)  # of which the second predicts
    assert len(made) == 1
    screener.refit()
    assert len(made) == 2
    screener.screen(candidates(2))
    assert len(made) == 2


def test_what_is_switched_off_keeps_no_rows() -> None:
    screener = make(lambda _: Constant())
    run(screener, 8)
    assert screener.disabled
    assert unpack_rows(screener.state_dict()["rows"], N_GENES) == []


def test_switched_off_stays_switched_off_after_a_resume() -> None:
    screener, resumed = make(lambda _: Constant()), make(ridge)
    run(screener, 8)
    assert screener.disabled
    resumed.load_state_dict(screener.state_dict())
    assert resumed.disabled_reason == screener.disabled_reason
    assert all(len(s.chosen) == POPULATION for s in run(resumed, 3))


def test_order_of_arrival_changes_nothing() -> None:
    a, b = make(ridge), make(ridge)
    for generation in range(10):
        screening, values = step(a, generation)
        population = candidates(generation)
        assert b.screen(population) == screening
        arrivals = list(zip([population[i] for i in screening.chosen], values, strict=True))
        random.Random(generation).shuffle(arrivals)
        for genome, value in arrivals:
            b.observe([genome], [value])
    assert {**a.state_dict(), "fit_time_s": 0} == {**b.state_dict(), "fit_time_s": 0}


def test_failed_evaluations_are_left_out() -> None:
    screener = make(ridge)
    n_audits = 0
    for generation in range(10):
        population = candidates(generation)
        screening = screener.screen(population)
        survivors = [i for i in screening.chosen if i % 4]
        screener.observe(
            [population[i] for i in survivors], [linear(population[i], 0) for i in survivors]
        )
        n_audits += len(set(screening.audits) & set(survivors))
    screener.screen([])
    assert screener.trusted
    assert screener.n_audits == n_audits


def test_minimum_and_small_populations() -> None:
    screener = make(ridge)
    run(screener, 4)
    assert screener.trusted
    assert len(screener.screen(candidates(50), minimum=20).chosen) == 20
    assert len(screener.screen(candidates(50), minimum=100).chosen) == POPULATION
    pair = screener.screen(candidates(50)[:5])
    assert (len(pair.chosen), len(pair.audits)) == (2, 1)  # one for its prediction, one audit
    assert screener.screen(candidates(50)[:1]).chosen == [0]
    assert screener.screen([]) == Screening([], [], [])


def test_audits_are_spread_over_all_that_was_not_picked() -> None:
    screener = make(ridge)
    run(screener, 4)
    population = candidates(50)
    picks = [
        (set(s.audits), s.predictions) for s in (screener.screen(population) for _ in range(300))
    ]
    counts = np.bincount([i for audits, _ in picks for i in audits], minlength=POPULATION)
    best = min(range(POPULATION), key=lambda i: picks[0][1][i].value)
    assert counts[best] == 0
    worse = sorted(range(POPULATION), key=lambda i: picks[0][1][i].value)[POPULATION // 2 :]
    assert min(counts[i] for i in worse) > 5  # 600 draws of 28: 21 each


def test_screening_takes_a_surrogate_that_ranks_every_value() -> None:
    def trusted(second: Callable[[Genome], float]) -> Screener:
        encoder, config = Encoder([N_CHOICES] * N_GENES), GENERATIONAL
        screener = Screener(ridge, encoder, config, seed=0, n_values=2)
        for generation in range(8):
            population = candidates(generation)
            rank = lambda predicted: np.argsort(predicted.sum(axis=1)).tolist()  # noqa: E731
            screening = screener.screen(population, rank=rank)
            chosen = [population[i] for i in screening.chosen]
            screener.observe(chosen, [(linear(g, 0), second(g)) for g in chosen])
        resumed = Screener(ridge, encoder, config, seed=0, n_values=2)
        resumed.load_state_dict(json.loads(json.dumps(screener.state_dict())))
        assert resumed.state_dict() == screener.state_dict()
        assert resumed.screen(candidates(9), rank=rank) == screener.screen(candidates(9), rank=rank)
        return screener

    assert trusted(lambda genome: -linear(genome, 0) + genome[0] / 20).trusted
    assert not trusted(lambda genome: random.Random(str(genome)).random()).trusted


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_only_finite_values_are_observed(value: float) -> None:
    with pytest.raises(EvaluationError, match="finite"):
        make(ridge).observe([candidates(0)[0]], [value])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(EvaluationError):
        make(ridge).observe(candidates(0), [1.0])
    with pytest.raises(EvaluationError, match="1 values of a genome"):
        make(ridge).observe([candidates(0)[0]], [(1.0, 2.0)])
    with pytest.raises(GenomeError):
        make(ridge).observe([(N_CHOICES,) * N_GENES], [1.0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("rows"),
        lambda state: state.update(n_fit=None),
        lambda state: state["rows"].update(genomes="AAAA"),
        lambda state: state["rng"].update(bit_generator="MT19937"),
        lambda state: state.update(audits=[[1.0]]),
        lambda state: state["allocation"].update(wins=[1.0]),
    ],
)
def test_damaged_state_is_refused(damage: Callable[[dict[str, Any]], Any]) -> None:
    screener = make(ridge)
    run(screener, 5)
    state = screener.state_dict()
    damage(state)
    with pytest.raises(RunFolderError, match="damaged"):
        make(ridge).load_state_dict(state)
