"""CLSO in the same form as its rivals: the only file here that knows its interface."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.field.parallel import in_flight
from benchmarks.field.problem import Problem
from benchmarks.field.trajectory import Trajectory
from clso.space import Gene, Genome, SearchSpace
from clso.space.functions import FunctionObjective

__all__ = ["Space", "by_rungs", "clso", "clso_8_out", "mutation_only", "scaled"]

_POP, _FINALISTS = 32, 8  # as `clso evolve` has them


class Space(SearchSpace):
    """Genes of labels, but for what the problem declares: which are numbers, which count when."""

    name = "field"

    def __init__(self, problem: Problem) -> None:
        self._problem, self._genes = problem, list[Gene]()
        ordered = problem.ordered or (False,) * len(problem.n_choices)
        for i, (n, is_scale) in enumerate(zip(problem.n_choices, ordered, strict=True)):
            parent, alleles = problem.when.get(i, (0, ()))
            when = (f"g{parent}", tuple(map(str, alleles))) if alleles else ()
            self._genes.append(Gene(f"g{i}", map(str, range(n)), when=when, ordered=is_scale))

    @property
    def genes(self) -> tuple[Gene, ...]:
        return tuple(self._genes)

    def decode(self, genome: Genome) -> Genome:
        return self.validate(genome)

    def objective(self) -> FunctionObjective:
        evaluate = self._problem.evaluate
        return FunctionObjective(lambda genomes: np.array([evaluate(g) for g in genomes]))


def _optimizer(objective: Trajectory, seed: int, **settings: Any) -> Any:
    from clso.search.optimizer import Optimizer

    names = [f"value {i}" for i in range(objective.problem.n_values)]
    return Optimizer(Space(objective.problem), seed=seed, objectives=names, **settings)


def clso(
    objective: Trajectory,
    seed: int,
    *,
    failures: bool = True,
    warm: bool = False,
    **settings: Any,
) -> None:
    """`Optimizer` with `settings`. It notes in which share of the evaluations the surrogate was
    believed, and the microseconds that one of these cost the optimizer itself."""
    from clso.screening.config import ScreeningConfig
    from clso.space.results import Evaluation

    if warm:
        found = [Evaluation(genome, 0, (value,)) for genome, value in objective.problem.earlier]
        settings["warm_from"] = [found]
    screening = ScreeningConfig(failures=failures)
    optimizer = _optimizer(objective, seed, screening=screening, **settings)
    trust, begin_s = _Trust(objective), time.process_time()
    while asked := optimizer.ask():
        trust.note(optimizer.screener.trusted, time.process_time() - begin_s)
        if settings.get("noisy") and optimizer.best is not None:
            objective.stated = optimizer.best.genome, optimizer.best.value
        value = objective(asked[0])
        begin_s = time.process_time()
        optimizer.tell(asked[0], value)


class _Trust:
    """When the surrogate was believed, and what an evaluation cost then, for the record."""

    def __init__(self, objective: Trajectory) -> None:
        self._notes, self._last_from = objective.notes, 0.8 * objective.n_evaluations
        self._n = self._n_last = self._n_trusted = self._n_trusted_last = 0
        self._trusted_s, self._before = 0.0, False

    def note(self, trusted: bool, cpu_s: float) -> None:
        last = self._n >= self._last_from
        self._n += 1
        self._n_last += last
        self._n_trusted += trusted
        self._n_trusted_last += trusted and last
        self._trusted_s += cpu_s * trusted
        notes = self._notes
        if self._before and not trusted:
            notes["n_lost"] = notes.get("n_lost", 0) + 1
        if trusted and not self._before and "n_lost" in notes:
            notes["n_won_back"] = notes.get("n_won_back", 0) + 1
        self._before = trusted
        notes["trusted"] = round(self._n_trusted / self._n, 4)
        notes["trusted_last"] = round(self._n_trusted_last / max(1, self._n_last), 4)
        notes["trusted_us"] = round(1e6 * self._trusted_s / max(1, self._n_trusted), 1)


def clso_8_out(objective: Trajectory, seed: int) -> None:
    """`Optimizer` with 8 candidates out, told as they arrive."""
    optimizer = _optimizer(objective, seed)

    def ask() -> tuple[object, Genome] | None:
        asked = optimizer.ask()
        return (asked[0], asked[0]) if asked else None

    in_flight(objective, seed, ask, optimizer.tell)


def by_rungs(objective: Trajectory, seed: int, *, promote: bool) -> None:
    """Generations on the lower rung, as `clso evolve` goes up from it: with `promote` in the
    search, else its finalists at the end, for whom a part of the budget is kept."""
    from clso import plugins
    from clso.config import RunConfig
    from clso.run.finish import successive_halving
    from clso.search.generations import Listener, Search
    from clso.search.promotion import KEPT

    evaluator = _rungs(objective)
    config = RunConfig(pop=_POP, seed=seed, promote=promote, finalists=_FINALISTS)
    make = plugins.load("surrogates", config.surrogate).value
    search = Search(Space(objective.problem), evaluator, make, config, Listener())
    assert objective.problem.cheap is not None
    kept = 0 if promote else _FINALISTS * KEPT + _POP * objective.problem.cheap[0]
    while objective.left >= kept and not search.done:
        search.generation()
    successive_halving(evaluator, search.contenders, _FINALISTS, search.promotion)


def _rungs(objective: Trajectory) -> Any:
    from clso.evaluation.evaluator import Evaluator
    from clso.space.results import Evaluation

    assert objective.problem.cheap is not None
    cost, _ = objective.problem.cheap

    class Rungs(Evaluator):
        """Both rungs of the trajectory."""

        fidelities = (1, round(1 / cost))

        def __init__(self) -> None:
            self._done: list[Evaluation] = []

        def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
            measure: Callable[[Genome], float] = (objective.cheaply, objective.number)[fidelity]
            self._done += [Evaluation(g, fidelity, (measure(g),)) for g in genomes]

        def completed(self) -> list[Evaluation]:
            done, self._done = self._done, []
            return done

    return Rungs()


def scaled(objective: Trajectory, seed: int, *, pop: int) -> None:
    """The engine with a population of `pop`, a generation at a time."""
    from clso.engine import Engine, EngineConfig
    from clso.space.results import Evaluation

    engine = Engine(Space(objective.problem), EngineConfig(pop_size=pop), seed=seed)
    while asked := engine.ask():
        engine.tell([Evaluation(genome, 0, (objective.number(genome),)) for genome in asked])


def mutation_only(objective: Trajectory, seed: int) -> None:
    """The textbook (1+1) evolutionary algorithm on the engine's own mutation, at rate 1/n:
    repetitions are evaluated."""
    from clso.engine.operators import make_toolbox

    rng = random.Random(seed)
    sizes = objective.n_choices
    toolbox = make_toolbox(sizes, tournament=1, mutation=1 / len(sizes), rng=rng)
    parent = [rng.randrange(n) for n in sizes]
    best = objective.number(parent)
    while True:
        child = list(parent)
        toolbox.mutate(child)
        value = objective.number(child)
        if value <= best:
            parent, best = child, value
