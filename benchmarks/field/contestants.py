"""Who takes part, under which settings, and in which part. Nothing of a rival's package is imported
here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from benchmarks.field import ours, rivals
from benchmarks.field.trajectory import Minimiser

__all__ = ["BY_NAME", "CONTESTANTS", "Contestant", "matching"]


@dataclass(frozen=True)
class Contestant:
    """`package` is the distribution whose version the manifest notes; `pbo` runs it on bits, None:
    not on PBO."""

    name: str
    label: str
    run: Minimiser
    settings: str
    package: str = ""
    pbo: Minimiser | None = None
    only_overhead: bool = False

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("clso")


CONTESTANTS = (
    Contestant("clso", "**CLSO**", ours.clso, "`Optimizer` as it comes", "clso", ours.clso),
    Contestant(
        "clso-no-surrogate",
        "CLSO, no surrogate",
        ours.clso_no_surrogate,
        "`Optimizer(surrogate=None)`",
        "clso",
        ours.clso_no_surrogate,
    ),
    Contestant(
        "clso-by-generation",
        "CLSO, no surrogate, by generation",
        partial(ours.scaled, pop=32),
        "`Engine`, population 32, asked for whole generations as `clso evolve` does",
        "clso",
        only_overhead=True,
    ),
    Contestant("random", "Random search", rivals.random_search, "uniform, with replacement"),
    Contestant(
        "regularized-evolution",
        "Regularized evolution (50, 25)",
        rivals.regularized_evolution,
        "own implementation of the paper's algorithm 1; population 50, sample 25, one gene mutated to another allele",
    ),
    Contestant(
        "regularized-evolution-20-5",
        "Regularized evolution (20, 5)",
        partial(rivals.regularized_evolution, pop=20, sample=5),
        "the same with population 20, sample 5",
    ),
    Contestant(
        "optuna-tpe",
        "Optuna TPE",
        rivals.optuna_tpe,
        "`TPESampler(multivariate=True)`, categorical parameters (univariate, the default, does worse)",
        "optuna",
    ),
    Contestant(
        "optuna-nsga2",
        "Optuna NSGA-II",
        rivals.optuna_nsga2,
        "`NSGAIISampler()`, population 50, one objective, categorical parameters",
        "optuna",
    ),
    Contestant(
        "pymoo-ga",
        "pymoo GA",
        rivals.pymoo_ga,
        "`MixedVariableGA` with `Choice` variables; on bits `GA` with two-point crossover and bit flips; population 20; "
        "duplicates eliminated",
        "pymoo",
        rivals.pymoo_ga,
    ),
    Contestant(
        "nevergrad-one-plus-one",
        "Nevergrad (1+1)",
        rivals.nevergrad_one_plus_one,
        "`DiscreteOnePlusOne`, `TransitionChoice` variables (`Choice` and integer arrays do worse); on bits signs of reals",
        "nevergrad",
        rivals.nevergrad_one_plus_one,
    ),
    Contestant(
        "nevergrad-ngopt",
        "Nevergrad NGOpt",
        rivals.nevergrad_ngopt,
        "`NGOpt`, `TransitionChoice`",
        "nevergrad",
    ),
    Contestant(
        "smac3",
        "SMAC3",
        rivals.smac3,
        "`HyperparameterOptimizationFacade` (random forest), deterministic, categorical parameters",
        "smac",
    ),
    Contestant(
        "deap-mu-plus-lambda",
        "DEAP mu+lambda",
        rivals.deap_mu_plus_lambda,
        "`eaMuPlusLambda`, 0.2 uniform crossover, 0.8 mutation; 10 + 20 at rate 2/n; on bits 3 + 6, flips at 1/n",
        "deap",
        partial(rivals.deap_mu_plus_lambda, mu=3, lambda_=6),
    ),
    Contestant(
        "deap-ea-simple",
        "DEAP eaSimple",
        rivals.deap_ea_simple,
        "`eaSimple`, uniform crossover 0.5; population 70, tournament 5, mutation 0.2 at rate 2/n; on bits population 20, "
        "tournament 3, mutation 0.8, flips at 1/n",
        "deap",
        partial(rivals.deap_ea_simple, pop=20, tournament=3, mutation=0.8),
    ),
)
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}


def matching(prefixes: str) -> list[str]:
    """Names that begin with one of the comma-separated `prefixes`; all for an empty string. Raises
    ValueError for none."""
    wanted = tuple(p for p in prefixes.split(",") if p)
    names = [name for name in BY_NAME if not wanted or name.startswith(wanted)]
    if not names:
        raise ValueError(f"{prefixes!r} names none of {', '.join(BY_NAME)}")
    return names
