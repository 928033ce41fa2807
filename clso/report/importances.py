"""Which genes matter: what a random forest of the measured trials says, in two ways.

*Permutation* (Breiman 2001, doi:10.1023/A:1010933404324): how much of the variance that a forest
explains on trials it has not seen is lost when a gene's column is shuffled there. *Variance*, after
functional ANOVA (Hutter, Hoos & Leyton-Brown 2014): the share of the forest's variance, over
genomes drawn evenly, that is due to the gene alone; what is missing to 1 is due to genes acting
together.

Both are of ranks, not of values: a search cares which of two genomes is better, and one diverged
model would otherwise be all of the variance. Importances are of the trials that a search chose to
measure, and no proof of a cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError
from clso.space.conditions import Conditions
from clso.space.genome import Gene
from clso.space.trials import Trials

__all__ = ["Importances", "gene_importances"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_TRIALS = 16
"""Fewer say nothing."""
_TREES, _FOLDS, _REPEATS = 60, 5, 3
_MOST = 4000  # trials that a forest is fitted to: the last ones
_PREDICTIONS = 40_000  # of a forest for the shares of variance, about
_OFF = -1  # the allele of a gene that makes no difference


@dataclass(frozen=True)
class Importances:
    """By gene, in the order of the genome. `r2` is how much of the variance of ranks forests
    explain on trials that they have not seen, from 1 (all) down to below 0 (worse than a constant);
    where it is low importances mean little."""

    genes: tuple[str, ...]
    permutation: tuple[float, ...]
    variance: tuple[float, ...]
    objective: str
    n_trials: int
    r2: float
    seed: int

    @property
    def order(self) -> list[int]:
        """The genes' places, most important first, by permutation, then by variance."""
        keys = [
            (-p, -v, i)
            for i, (p, v) in enumerate(zip(self.permutation, self.variance, strict=True))
        ]
        return [i for *_, i in sorted(keys)]

    def rows(self) -> list[dict[str, Any]]:
        """Most important first: `gene`, `permutation`, `variance`."""
        return [
            {
                "gene": self.genes[i],
                "permutation": self.permutation[i],
                "variance": self.variance[i],
            }
            for i in self.order
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "objective": self.objective,
            "n_trials": self.n_trials,
            "r2": self.r2,
            "seed": self.seed,
            "importances": self.rows(),
        }


class _Code:
    """Genomes as a forest sees them: allele indices, and one value for all alleles of a gene that
    is off."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        self._conditions = Conditions(genes)

    def __call__(self, genomes: Ints) -> Ints:
        return np.where(self._conditions.mask(genomes), _OFF, genomes)


def gene_importances(trials: Trials, *, objective: str | None = None, seed: int = 0) -> Importances:
    """Importances of the genes for one of the objectives, the first by default, from all trials of
    the first rung that gave a value.

    Parameters
    ----------
    trials
        What was measured.
    objective
        The name of a value.
    seed
        Of the forests, shuffles and draws: equal seeds give equal importances.

    Raises
    ------
    ConfigError
        No such objective, too few trials, or trials that all have the same value.
    """
    from sklearn.ensemble import RandomForestRegressor

    name = trials.objectives[0] if objective is None else objective
    if name not in trials.objectives:
        raise ConfigError(f"an objective is one of {', '.join(trials.objectives)}", got=name)
    column = trials.objectives.index(name)
    measured = [
        t.evaluation for t in trials.trials if t.evaluation.ok and not t.evaluation.fidelity
    ]
    measured = measured[-_MOST:]
    if len(measured) < MIN_TRIALS:
        raise ConfigError(
            f"importances need {MIN_TRIALS} trials that gave a value",
            got=len(measured),
            remedy="Measure more candidates.",
        )
    genomes = np.array([e.genome for e in measured], dtype=np.int64)
    ranks = _ranks(np.array([e.values[column] for e in measured]))
    if not ranks.any():
        raise ConfigError("importances need trials that differ", problem=f"all have one {name}")
    sizes = [max(len(g), int(top) + 1) for g, top in zip(trials.genes, genomes.max(0), strict=True)]
    code = _Code(trials.genes)

    def forest() -> Any:
        return RandomForestRegressor(
            _TREES, min_samples_leaf=2, max_features=0.5, random_state=seed, n_jobs=1
        )

    rng = np.random.default_rng(seed)
    permutation, r2 = _permutation(forest, code, genomes, ranks, rng)
    whole = forest().fit(code(genomes), ranks)
    return Importances(
        genes=tuple(g.name for g in trials.genes),
        permutation=tuple(permutation.tolist()),
        variance=tuple(_variance(whole, code, sizes, rng).tolist()),
        objective=name,
        n_trials=len(measured),
        r2=r2,
        seed=seed,
    )


def _ranks(values: Floats) -> Floats:
    """Ranks around 0, those of equal values averaged, from -1/2 to 1/2."""
    from scipy.stats import rankdata

    ranks = rankdata(values)
    return np.asarray((ranks - ranks.mean()) / max(len(values) - 1, 1), dtype=np.float64)


def _permutation(
    forest: Any, code: _Code, genomes: Ints, ranks: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """The loss of explained variance by gene, and what is explained, on trials left out of the
    fit."""
    n, n_genes = genomes.shape
    fold = rng.permutation(n) % _FOLDS
    predicted = np.empty(n)
    shuffled = np.zeros((n_genes, n))  # squared errors, summed over repeats
    for k in range(_FOLDS):
        out = fold == k
        fitted = forest().fit(code(genomes[~out]), ranks[~out])
        held = genomes[out]
        predicted[out] = fitted.predict(code(held))
        tables = []
        for gene in range(n_genes):
            for _ in range(_REPEATS):
                table = held.copy()
                table[:, gene] = rng.permutation(table[:, gene])
                tables.append(code(table))
        many = fitted.predict(np.concatenate(tables)).reshape(n_genes, _REPEATS, -1)
        shuffled[:, out] = ((many - ranks[out]) ** 2).mean(axis=1)
    error = (predicted - ranks) ** 2
    total = float((ranks**2).mean())
    return (shuffled.mean(axis=1) - error.mean()) / total, float(1 - error.mean() / total)


def _variance(forest: Any, code: _Code, sizes: list[int], rng: np.random.Generator) -> Floats:
    """The share of the forest's variance that each gene has alone.

    The mean over the other genes is taken over the same draws for all alleles of a gene, so that
    what the others do on their own cancels."""
    n = int(np.clip(_PREDICTIONS // sum(sizes), 16, 1024))
    draws = np.stack([rng.integers(0, size, n) for size in sizes], axis=1)
    total = float(np.var(forest.predict(code(draws))))
    out = np.zeros(len(sizes))
    if total == 0:
        return out
    for gene, size in enumerate(sizes):
        if size > 1:
            tables = np.repeat(draws[None], size, axis=0)
            tables[:, :, gene] = np.arange(size)[:, None]
            means = (
                forest.predict(code(tables.reshape(-1, len(sizes)))).reshape(size, n).mean(axis=1)
            )
            out[gene] = np.var(means) / total
    return out
