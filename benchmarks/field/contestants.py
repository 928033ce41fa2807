"""Who takes part, and under which settings. Nothing of a rival's package is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from benchmarks.field import ours, rivals
from benchmarks.field.trajectory import Minimiser

__all__ = ["BY_NAME", "CONTESTANTS", "Contestant", "matching"]


@dataclass(frozen=True)
class Contestant:
    """`package` is the distribution whose version the manifest notes; `bits` runs it if all genes
    are bits, else `run`."""

    name: str
    label: str
    run: Minimiser
    settings: str
    package: str = ""
    bits: Minimiser | None = None

    @property
    def is_installed(self) -> bool:
        return not self.package or find_spec(self.package) is not None

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("clso")


CONTESTANTS = (
    Contestant("clso", "**CLSO**", ours.clso, "`Optimizer` as it comes", "clso"),
    Contestant(
        "clso-no-surrogate",
        "CLSO, no surrogate",
        partial(ours.clso, surrogate=None),
        "`Optimizer(surrogate=None)`",
        "clso",
    ),
    Contestant(
        "clso-8-out",
        "CLSO, 8 out",
        ours.clso_8_out,
        "`Optimizer` as it comes, each candidate asked for while 7 are out",
        "clso",
    ),
    Contestant(
        "clso-noisy",
        "CLSO, noisy",
        partial(ours.clso, noisy=True),
        "`Optimizer(noisy=True)`",
        "clso",
    ),
    Contestant(
        "clso-failures-unused",
        "CLSO, failures teach nothing",
        partial(ours.clso, failures=False),
        "`Optimizer(screening=ScreeningConfig(failures=False))`",
        "clso",
    ),
    Contestant(
        "clso-warm",
        "CLSO, warm start",
        partial(ours.clso, warm=True),
        "`Optimizer(warm_from=...)` of one run on a related problem",
        "clso",
    ),
    Contestant(
        "clso-finalists",
        "CLSO, low rung, then finalists",
        partial(ours.by_rungs, promote=False),
        "as `clso evolve` goes, population 32: generations on the lower rung, then the best 32 on "
        "the upper one",
        "clso",
    ),
    Contestant(
        "clso-promote",
        "CLSO, promoted in the search",
        partial(ours.by_rungs, promote=True),
        "as `clso evolve --promote` goes, population 32",
        "clso",
    ),
    Contestant(
        "clso-by-generation",
        "CLSO, no surrogate, by generation",
        partial(ours.scaled, pop=32),
        "`Engine`, population 32, asked for whole generations as `clso evolve` does",
        "clso",
    ),
    Contestant(
        "earlier-best",
        "The earlier run's best, in turn",
        rivals.earlier_best,
        "what the related problem's run measured, best first, measured again",
    ),
    Contestant("random", "Random search", rivals.random_search, "uniform, with replacement"),
    Contestant(
        "local-search",
        "Local search",
        rivals.local_search,
        "first better one-gene neighbour, in random order; a new start once there is none",
    ),
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
        "`TPESampler(multivariate=True)`, categorical parameters, or integers if their order is declared "
        "(univariate, the default, does worse)",
        "optuna",
    ),
    Contestant(
        "optuna-tpe-group",
        "Optuna TPE, group",
        partial(rivals.optuna_tpe, group=True),
        "`TPESampler(multivariate=True, group=True)`; genes that do not count are not suggested",
        "optuna",
    ),
    Contestant(
        "optuna-tpe-8-out",
        "Optuna TPE, 8 out",
        rivals.optuna_tpe_8_out,
        "the same with `constant_liar=True`, 8 trials asked for before they are told",
        "optuna",
    ),
    Contestant(
        "optuna-gp",
        "Optuna GPSampler",
        rivals.optuna_gp,
        "`GPSampler(deterministic_objective=True)`, categorical parameters",
        "optuna",
    ),
    Contestant(
        "optuna-nsga2",
        "Optuna NSGA-II",
        rivals.optuna_nsga2,
        "`NSGAIISampler()`, population 50, categorical parameters",
        "optuna",
    ),
    Contestant(
        "pymoo-ga",
        "pymoo GA",
        rivals.pymoo_ga,
        "`MixedVariableGA` with `Choice` variables; on bits `GA` with two-point crossover and bit flips; population 20; "
        "duplicates eliminated",
        "pymoo",
    ),
    Contestant(
        "nevergrad-one-plus-one",
        "Nevergrad (1+1)",
        rivals.nevergrad_one_plus_one,
        "`DiscreteOnePlusOne`, `TransitionChoice` variables (`Choice` and integer arrays do worse); on bits signs of reals",
        "nevergrad",
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
