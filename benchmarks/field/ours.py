"""CLSO in the same form as its rivals: the only file here that knows its interface."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.field.parallel import in_flight
from benchmarks.field.problem import Genome
from benchmarks.field.trajectory import Trajectory

__all__ = ["clso", "clso_8_out", "clso_no_surrogate", "mutation_only", "scaled"]


def _optimizer(objective: Trajectory, seed: int, surrogate: str | None = "gp") -> Any:
    from clso.search.optimizer import Optimizer

    names = [f"value {i}" for i in range(objective.problem.n_values)]
    return Optimizer(objective.n_choices, surrogate=surrogate, seed=seed, objectives=names)


def clso(objective: Trajectory, seed: int, *, surrogate: str | None = "gp") -> None:
    """`Optimizer` as it comes."""
    optimizer = _optimizer(objective, seed, surrogate)
    while asked := optimizer.ask():
        optimizer.tell(asked[0], objective(asked[0]))


def clso_no_surrogate(objective: Trajectory, seed: int) -> None:
    """`Optimizer(surrogate=None)`: the evolutionary engine alone."""
    clso(objective, seed, surrogate=None)


def clso_8_out(objective: Trajectory, seed: int) -> None:
    """`Optimizer` with 8 candidates out, told as they arrive."""
    optimizer = _optimizer(objective, seed)

    def ask() -> tuple[object, Genome] | None:
        asked = optimizer.ask()
        return (asked[0], asked[0]) if asked else None

    in_flight(objective, seed, ask, optimizer.tell)


def scaled(objective: Trajectory, seed: int, *, pop: int) -> None:
    """The engine with a population of `pop`, a generation at a time."""
    from clso.engine import Engine, EngineConfig
    from clso.space.choices import Choices
    from clso.space.results import Evaluation

    engine = Engine(Choices(objective.n_choices), EngineConfig(pop_size=pop), seed=seed)
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
