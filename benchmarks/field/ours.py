"""CLSO in the same form as its rivals: the only file here that knows its interface."""

from __future__ import annotations

import random

from benchmarks.field.trajectory import Trajectory

__all__ = ["clso", "clso_no_surrogate", "mutation_only", "scaled"]


def clso(objective: Trajectory, seed: int, *, surrogate: str | None = "gp") -> None:
    """`Optimizer` as it comes."""
    from clso.search.optimizer import Optimizer

    optimizer = Optimizer(objective.n_choices, surrogate=surrogate, seed=seed)
    while asked := optimizer.ask():
        optimizer.tell(asked[0], objective(asked[0]))


def clso_no_surrogate(objective: Trajectory, seed: int) -> None:
    """`Optimizer(surrogate=None)`: the evolutionary engine alone."""
    clso(objective, seed, surrogate=None)


def scaled(objective: Trajectory, seed: int, *, pop: int) -> None:
    """The engine with a population of `pop`, a generation at a time."""
    from clso.engine import Engine, EngineConfig
    from clso.space.choices import Choices
    from clso.space.results import Evaluation

    engine = Engine(Choices(objective.n_choices), EngineConfig(pop_size=pop), seed=seed)
    while asked := engine.ask():
        engine.tell([Evaluation(genome, 0, (objective(genome),)) for genome in asked])


def mutation_only(objective: Trajectory, seed: int) -> None:
    """The textbook (1+1) evolutionary algorithm on the engine's own mutation, at rate 1/n:
    repetitions are evaluated."""
    from clso.engine.operators import make_toolbox

    rng = random.Random(seed)
    sizes = objective.n_choices
    toolbox = make_toolbox(sizes, tournament=1, mutation=1 / len(sizes), rng=rng)
    parent = [rng.randrange(n) for n in sizes]
    best = objective(parent)
    while True:
        child = list(parent)
        toolbox.mutate(child)
        value = objective(child)
        if value <= best:
            parent, best = child, value
