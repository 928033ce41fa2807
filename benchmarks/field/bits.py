"""200 bits that pull at each other: maximum cuts and quadratic functions, drawn by a generator.

Their optima are not known: `REFERENCE` holds the best value that long local searches from many
starts found (`python -m benchmarks.field.bits`), and a regret is counted from there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.field.invited import BITS
from benchmarks.field.problem import Genome, Problem, Suite

__all__ = ["SUITE", "local_optimum", "weights"]

_N = 200
_DEGREE = 6  # edges a node of a cut
_DENSITY = 0.1  # of the quadratic functions
_RANGE = 100  # of their weights, as in Beasley's instances (OR-Library)
_INSTANCES = 4
_REFERENCE = Path(__file__).with_name("bits.json")

Weights = npt.NDArray[np.float64]


def weights(name: str) -> Weights:
    """The symmetric matrix W (n, n) of an instance; its value is x W x, to be small.

    A cut of a random graph: an edge counts -1 if its ends differ, 2 x_i x_j - x_i - x_j.
    """
    family, _, instance = name.partition("/")
    rng = np.random.default_rng([len(family), int(instance)])
    upper = np.triu(rng.random((_N, _N)), 1)
    if family == "maxcut":
        density = _DEGREE / (_N - 1)
        edges = ((upper > 0) & (upper < density)).astype(np.float64)
        cut: Weights = edges + edges.T
        return cut - np.diag(cut.sum(axis=1))
    drawn = rng.integers(-_RANGE, _RANGE + 1, (_N, _N)).astype(float)
    pairs = np.where((upper > 0) & (upper < _DENSITY), drawn, 0.0)
    quadratic: Weights = (pairs + pairs.T) / 2 + np.diag(np.diag(drawn))
    return quadratic


def local_optimum(w: Weights, start: npt.NDArray[np.int64], rng: np.random.Generator) -> float:
    """The value that single flips, taken in random order if they help, end at from `start`."""
    x = start.copy()
    pull = 2 * (w @ x)
    improved = True
    while improved:
        improved = False
        for i in rng.permutation(len(x)):
            step = 1 - 2 * x[i]
            if step * pull[i] + w[i, i] < 0:  # what the flip adds, for step * step is 1
                x[i] += step
                pull += 2 * step * w[:, i]
                improved = True
    return float(x @ w @ x)


@cache
def _reference() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(_REFERENCE.read_text())
    return found


@cache
def _instance(name: str) -> Problem:
    w = weights(name)
    known = _reference()[name]

    def evaluate(genome: Sequence[int]) -> float:
        x = np.asarray(genome, dtype=np.float64)
        return float(x @ w @ x)

    return Problem(name, (2,) * _N, evaluate, known["best"], scale=known["random"] - known["best"])


def load(name: str, seed: int) -> Problem:
    """An instance, its bits masked by `seed` so that no optimiser gains by its first point."""
    inner = _instance(name)
    mask = np.random.default_rng(seed).integers(0, 2, _N).tolist()

    def evaluate(genome: Genome) -> float:
        value = inner.evaluate(tuple(bit ^ flip for bit, flip in zip(genome, mask, strict=True)))
        assert isinstance(value, float)
        return value

    return Problem(name, inner.n_choices, evaluate, inner.optimum, scale=inner.scale)


SUITE = Suite(
    "bits",
    "200 bits",
    "Maximum cuts of random graphs (6 edges a node) and quadratic functions of bits (a tenth of the "
    "pairs, weights to 100), drawn by a generator; regret against the best of 2,000 local searches.",
    tuple(f"{kind}/{i}" for kind in ("maxcut", "qubo") for i in range(_INSTANCES)),
    load,
    n_evaluations=1000,
    seeds=3,
    rivals=BITS,
)


def _search(name: str, starts: int) -> dict[str, float]:
    w, rng = weights(name), np.random.default_rng(0)
    draws = rng.integers(0, 2, (starts, _N))
    values = np.einsum("ki,ij,kj->k", draws, w, draws)
    best = min(local_optimum(w, start, rng) for start in draws)
    return {"best": best, "random": float(np.median(values))}


if __name__ == "__main__":
    found = {name: _search(name, 2000) for name in SUITE.problems}
    _REFERENCE.write_text(json.dumps(found, indent=1) + "\n")
