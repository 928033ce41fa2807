"""The other optimisers, each in the form that its documentation gives for categorical or binary
variables.

A rival's package is imported when it runs. Default arguments are those that did best on
NAS-Bench-201 in a pilot, where the packages' own are meant for longer runs."""

from __future__ import annotations

import random
import tempfile
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

from benchmarks.field.parallel import in_flight
from benchmarks.field.problem import Genome
from benchmarks.field.trajectory import Trajectory


def random_search(objective: Trajectory, seed: int) -> None:
    rng = random.Random(seed)
    while True:
        objective([rng.randrange(n) for n in objective.n_choices])


def regularized_evolution(
    objective: Trajectory, seed: int, *, pop: int = 50, sample: int = 25
) -> None:
    """Ageing evolution (Real et al. 2019, arXiv:1802.01548, algorithm 1): mutate one gene of a
    sample's best."""
    rng = random.Random(seed)
    alive: deque[tuple[float, list[int]]] = deque(maxlen=pop)
    while len(alive) < pop:
        genome = [rng.randrange(n) for n in objective.n_choices]
        alive.append((objective.number(genome), genome))
    while True:
        _, parent = min(rng.sample(list(alive), sample))
        child = list(parent)
        gene = rng.randrange(len(child))
        child[gene] = rng.choice([a for a in range(objective.n_choices[gene]) if a != child[gene]])
        alive.append((objective.number(child), child))


def _study(objective: Trajectory, sampler: Any) -> tuple[Any, Callable[[Any], Genome]]:
    """A study, and what suggests a trial's genome: genes that do not count are not asked for."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    problem = objective.problem
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * problem.n_values)
    choices = [list(range(n)) for n in objective.n_choices]
    ordered = problem.ordered or (False,) * len(choices)

    def suggest(trial: Any) -> Genome:
        genome = [0] * len(choices)
        for i, values in enumerate(choices):
            if not problem.active(tuple(genome), i):
                continue
            if ordered[i]:
                genome[i] = trial.suggest_int(f"g{i}", 0, len(values) - 1)
            else:
                genome[i] = trial.suggest_categorical(f"g{i}", values)
        return tuple(genome)

    return study, suggest


def _optuna(objective: Trajectory, sampler: Any) -> None:
    """A failure of one objective counts as the worst so far: failed trials teach Optuna nothing."""
    study, suggest = _study(objective, sampler)
    evaluate = objective if objective.problem.n_values > 1 else objective.number
    while True:
        trial = study.ask()
        study.tell(trial, evaluate(suggest(trial)))


def optuna_tpe(objective: Trajectory, seed: int, *, group: bool = False) -> None:
    import optuna

    _optuna(objective, optuna.samplers.TPESampler(seed=seed, multivariate=True, group=group))


def optuna_tpe_8_out(objective: Trajectory, seed: int) -> None:
    """Those that are out count as bad ones (`constant_liar`)."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    study, suggest = _study(objective, sampler)

    def ask() -> tuple[object, Genome]:
        trial = study.ask()
        return trial, suggest(trial)

    in_flight(objective, seed, ask, study.tell)


def optuna_gp(objective: Trajectory, seed: int) -> None:
    import optuna

    _optuna(objective, optuna.samplers.GPSampler(seed=seed, deterministic_objective=True))


def optuna_nsga2(objective: Trajectory, seed: int, *, pop: int = 50) -> None:
    import optuna

    _optuna(objective, optuna.samplers.NSGAIISampler(seed=seed, population_size=pop))


def earlier_best(objective: Trajectory, seed: int) -> None:
    """What a run on a related problem measured, best first."""
    for genome, _ in sorted(objective.problem.earlier, key=lambda pair: pair[1]):
        objective(genome)


def local_search(objective: Trajectory, seed: int) -> None:
    """First improvement over the one-gene neighbours in random order, from a new random genome
    once none is better."""
    rng = random.Random(seed)
    while True:
        at = [rng.randrange(n) for n in objective.n_choices]
        value, improved = objective.number(at), True
        while improved:
            improved = False
            moves = [(g, a) for g, n in enumerate(objective.n_choices) for a in range(n)]
            rng.shuffle(moves)
            for gene, allele in moves:
                before = at[gene]
                if allele == before:
                    continue
                at[gene] = allele
                found = objective.number(at)
                if found < value:
                    value, improved = found, True
                else:
                    at[gene] = before


def pymoo_ga(objective: Trajectory, seed: int, *, pop: int = 20) -> None:
    """`GA` with binary operators on bits, else `MixedVariableGA` with `Choice` variables;
    duplicates eliminated. With several objectives the survival of NSGA-II."""
    import numpy as np
    from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Choice
    from pymoo.operators.crossover.pntx import TwoPointCrossover
    from pymoo.operators.mutation.bitflip import BitflipMutation
    from pymoo.operators.sampling.rnd import BinaryRandomSampling
    from pymoo.optimize import minimize

    n, n_values = len(objective.n_choices), objective.problem.n_values
    binary = max(objective.n_choices) == 2 and n_values == 1

    class Wrapped(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            if binary:
                super().__init__(n_var=n, n_obj=1, xl=0, xu=1, vtype=bool)
            else:
                super().__init__(
                    vars={
                        f"g{i}": Choice(options=range(c)) for i, c in enumerate(objective.n_choices)
                    },
                    n_obj=n_values,
                )

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            genome = x.astype(int).tolist() if binary else [int(x[f"g{i}"]) for i in range(n)]
            value = objective(genome) if n_values > 1 else objective.number(genome)
            out["F"] = np.atleast_1d(value)

    if binary:
        algorithm: Any = GA(
            pop_size=pop,
            sampling=BinaryRandomSampling(),
            crossover=TwoPointCrossover(),
            mutation=BitflipMutation(),
            eliminate_duplicates=True,
        )
    elif n_values > 1:
        algorithm = MixedVariableGA(pop_size=pop, survival=RankAndCrowdingSurvival())
    else:
        algorithm = MixedVariableGA(pop_size=pop)
    minimize(
        Wrapped(), algorithm, ("n_eval", objective.n_evaluations + pop), seed=seed, verbose=False
    )


def _nevergrad(objective: Trajectory, seed: int, optimizer: str) -> None:
    import nevergrad as ng
    import numpy as np

    sizes = objective.n_choices
    binary = max(sizes) == 2
    parametrization: Any
    if binary:
        # Bits are the signs of reals: half the evaluations on OneMax, and a sixth of the time, of
        # TransitionChoice.
        parametrization = ng.p.Array(shape=(len(sizes),))
    elif len(set(sizes)) == 1:  # far faster than a tuple of variables
        parametrization = ng.p.TransitionChoice(range(sizes[0]), repetitions=len(sizes))
    else:
        parametrization = ng.p.Tuple(*(ng.p.TransitionChoice(range(n)) for n in sizes))
    parametrization.random_state = np.random.RandomState(seed)
    warnings.simplefilter("ignore")
    found = ng.optimizers.registry[optimizer](parametrization, budget=objective.n_evaluations)
    while True:
        candidate = found.ask()
        genome = (
            (candidate.value > 0).astype(int).tolist()
            if binary
            else [int(a) for a in candidate.value]
        )
        found.tell(candidate, objective.number(genome))


def nevergrad_one_plus_one(objective: Trajectory, seed: int) -> None:
    _nevergrad(objective, seed, "DiscreteOnePlusOne")


def nevergrad_ngopt(objective: Trajectory, seed: int) -> None:
    _nevergrad(objective, seed, "NGOpt")


def smac3(objective: Trajectory, seed: int) -> None:
    """`HyperparameterOptimizationFacade`: random forest, log expected improvement, its own initial
    design."""
    from ConfigSpace import Categorical, ConfigurationSpace
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    warnings.simplefilter("ignore")
    space = ConfigurationSpace(seed=seed)
    space.add([Categorical(f"g{i}", list(range(n))) for i, n in enumerate(objective.n_choices)])
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=objective.n_evaluations,
            seed=seed,
            output_directory=folder,
        )
        facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, logging_level=False
        )
        while True:
            trial = facade.ask()
            genome = [int(trial.config[f"g{i}"]) for i in range(len(objective.n_choices))]
            facade.tell(trial, TrialValue(cost=objective.number(genome)), save=False)


def _deap(objective: Trajectory, seed: int) -> Any:
    from deap import base, tools

    class Fitness(base.Fitness):  # type: ignore[misc]
        weights = (-1.0,)

    class Individual(list[int]):
        def __init__(self, genome: list[int]) -> None:
            super().__init__(genome)
            self.fitness = Fitness()

    random.seed(seed)  # DEAP draws from the global generator
    sizes = objective.n_choices
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda: Individual([random.randrange(n) for n in sizes]))
    toolbox.register("evaluate", lambda individual: (objective.number(individual),))
    toolbox.register("mate", tools.cxUniform, indpb=0.5)
    if max(sizes) == 2:
        toolbox.register("mutate", tools.mutFlipBit, indpb=1 / len(sizes))
    else:
        toolbox.register(
            "mutate", tools.mutUniformInt, low=0, up=[n - 1 for n in sizes], indpb=2 / len(sizes)
        )
    return toolbox


def deap_mu_plus_lambda(
    objective: Trajectory, seed: int, *, mu: int = 10, lambda_: int = 20
) -> None:
    """`eaMuPlusLambda`: a fifth of the children by uniform crossover, the others by mutation."""
    from deap import algorithms, tools

    toolbox = _deap(objective, seed)
    toolbox.register("select", tools.selBest)
    population = [toolbox.individual() for _ in range(mu)]
    algorithms.eaMuPlusLambda(population, toolbox, mu, lambda_, 0.2, 0.8, ngen=10**9, verbose=False)


def deap_ea_simple(
    objective: Trajectory, seed: int, *, pop: int = 70, tournament: int = 5, mutation: float = 0.2
) -> None:
    """`eaSimple`: uniform crossover for half of the pairs."""
    from deap import algorithms, tools

    toolbox = _deap(objective, seed)
    toolbox.register("select", tools.selTournament, tournsize=tournament)
    population = [toolbox.individual() for _ in range(pop)]
    algorithms.eaSimple(population, toolbox, 0.5, mutation, ngen=10**9, verbose=False)
