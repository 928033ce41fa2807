"""S1, operations: a score for every action from its facts.

`table`   chosen / offered, counted for each bit pattern in solved episodes with loops erased.
`crystal` a ridge read-out of those shares on random crystal features of the bits, in closed form.
`random`  the control: a fixed random score for each pattern.
off       uniform.
"""

from __future__ import annotations

import numpy as np

from clso.crystals import make_crystal
from clso.search_spaces.vsm.choice import Floats
from clso.worlds.batched import Ints
from clso.worlds.draws import uniform_array
from clso.worlds.facts import N_BITS

__all__ = ["DEFAULT_WIDTH", "CrystalReadOut", "counted_scores", "random_scores", "width_for"]

DEFAULT_WIDTH = 64
_DENSITY = 0.5
_RIDGE = 1e-3
_CHUNK = 8192  # features at a time: a wide crystal's features of all patterns do not fit in memory
_LEAST = 1e-4
"""A fitted share may be negative; a score is not."""
_DIGITS = 6
"""Scores are rounded, so that one pattern's does not depend on how many were asked for at once."""


def counted_scores(chosen: Ints, offered: Ints, prior: float) -> Floats:
    """The share of its offers in which a pattern was chosen, all patterns having had `prior` offers before, with
    the mean share. Where nothing was counted, all are 1."""
    total = int(offered.sum())
    mean = float(chosen.sum()) / total if total else 1.0
    scores: Floats = (chosen + prior * mean) / (offered + prior)
    return np.maximum(scores, _LEAST)


def random_scores(stream: int, patterns: Ints) -> Floats:
    """A number in (0, 1] for each pattern, that nothing is learned into."""
    words = np.full(patterns.shape, stream, dtype=np.uint64)
    return 1.0 - uniform_array(words, patterns)


def width_for(parameters: int) -> int:
    """Features whose crystal and read-out have about so many parameters; the default's for 0."""
    if not parameters:
        return DEFAULT_WIDTH
    return max(1, round(parameters / ((N_BITS + 1) * _DENSITY + 1)))


class CrystalReadOut:
    """Scores by a linear read-out (width,) of relu(W x), W a sparse random crystal, x the bits as -1 and 1, and a 1."""

    def __init__(self, width: int, seed: int, weights: Floats | None = None) -> None:
        self.width, self.seed = width, seed
        self.crystal = make_crystal(
            "sparse_random", (width, N_BITS + 1), seed, {"density": _DENSITY}
        )
        self._dense = self.crystal.to_dense().numpy()
        self.weights = np.zeros(width) if weights is None else weights
        self.fitted = weights is not None

    @property
    def n_parameters(self) -> int:
        """Of the crystal and the read-out."""
        return self.crystal.n_params + self.width

    @property
    def flops(self) -> int:
        """Of one action's score."""
        return self.crystal.flops(1) + 3 * self.width

    def fit(self, chosen: Ints, offered: Ints) -> None:
        """Ridge regression of the counted shares, weighted by offers, over the patterns that were offered.

        There are fewer patterns than features as a rule, so it is solved among the patterns.
        """
        patterns = np.flatnonzero(offered)
        if not len(patterns):
            return
        root = np.sqrt(offered[patterns] / offered.sum())
        share = chosen[patterns] / offered[patterns]
        gram = np.zeros((len(patterns), len(patterns)))
        for start in range(0, self.width, _CHUNK):
            part = self._features(patterns, start)
            gram += part @ part.T
        gram *= root[:, None] * root
        ridge = _RIDGE * float(np.trace(gram)) / len(patterns)
        dual = root * np.linalg.solve(gram + ridge * np.eye(len(patterns)), root * share)
        for start in range(0, self.width, _CHUNK):
            part = self._features(patterns, start)
            self.weights[start : start + part.shape[1]] = part.T @ dual
        self.weights = self.weights.astype(np.float32).astype(np.float64)  # as it is stored
        self.fitted = True

    def scores(self, patterns: Ints) -> Floats:
        """Of patterns (k,), all 1 before anything was fitted."""
        if not self.fitted:
            return np.ones(len(patterns))
        out = np.zeros(len(patterns))
        for start in range(0, self.width, _CHUNK):
            part = self._features(patterns, start)
            out += part @ self.weights[start : start + part.shape[1]]
        return np.clip(np.round(out, _DIGITS), _LEAST, 1.0)

    def _features(self, patterns: Ints, start: int) -> Floats:
        bits = patterns[:, None] >> np.arange(N_BITS) & 1
        x = np.ones((len(patterns), N_BITS + 1))
        x[:, :N_BITS] = 2 * bits - 1
        crystal = self._dense[start : start + _CHUNK].astype(np.float64)
        return np.maximum(x @ crystal.T, 0.0)
