"""Small search spaces and surrogates for tests; also loaded as plugins, by FILE.py:NAME."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clso.space import Gene, Genome, SearchSpace
from clso.space.functions import FunctionObjective
from clso.space.results import Evaluation

Score = Callable[[Genome], float]


class ScoreObjective(FunctionObjective):
    """Measures one genome after another; keeps a log of what it was asked."""

    def __init__(self, score: Score) -> None:
        super().__init__(lambda genomes: np.array([score(g) for g in genomes]))
        self.asked: list[Genome] = []

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        self.asked += genomes
        return super().evaluate(genomes, fidelity)


class Toy(SearchSpace):
    """Genes of given sizes and a score to be minimised."""

    name = "toy"

    def __init__(
        self,
        sizes: Sequence[int],
        score: Score = lambda g: float(sum(g)),
        seeds: Sequence[Genome] = (),
    ) -> None:
        self._genes = tuple(Gene(f"g{i}", tuple(map(str, range(n)))) for i, n in enumerate(sizes))
        self.score, self._seeds = score, list(seeds)

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def seeds(self) -> list[Genome]:
        return self._seeds

    def decode(self, genome: Genome) -> Genome:
        return self.validate(genome)

    def objective(self) -> ScoreObjective:
        return ScoreObjective(self.score)

    def measure(self, genomes: Sequence[Genome]) -> list[Evaluation]:
        return self.objective().evaluate(genomes, 0)


class OneMax(Toy):
    """24 bits, as few zeros as possible."""

    name = "onemax"

    def __init__(self) -> None:
        super().__init__([2] * 24, lambda g: float(len(g) - sum(g)))


class FourGenomes(Toy):
    """A space that any run exhausts."""

    def __init__(self) -> None:
        super().__init__([2, 2])


class AlwaysNan(Toy):
    """No genome can be measured."""

    def __init__(self) -> None:
        super().__init__([4] * 4, lambda g: math.nan)


class Useless:
    """A surrogate whose predictions are noise, and far below anything true."""

    def __init__(self, random_state: int) -> None:
        self._rng = random.Random(random_state)

    def fit(self, X: np.ndarray, y: np.ndarray) -> Useless:
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.array([1.65 + 1e-6 * self._rng.random() for _ in X])


def deceiver(random_state: int) -> Any:
    """A surrogate that ranks well, so that it is trusted, and predicts losses far below any true
    one."""
    from sklearn.linear_model import Ridge  # here, for workers load this file, too

    class Deceiver(Ridge):  # type: ignore[misc]
        def predict(self, X: np.ndarray) -> np.ndarray:
            return super().predict(X) - 4.05

    return Deceiver(alpha=3.0)


class Raises:
    """A surrogate with a fault."""

    def __init__(self, random_state: int) -> None:
        pass

    def fit(self, X: np.ndarray, y: np.ndarray) -> Raises:
        raise RuntimeError("no fit today")

    def predict(self, X: np.ndarray) -> np.ndarray:
        raise AssertionError


class Moody(OneMax):
    """OneMax in which one genome in four fails or is no number."""

    def objective(self) -> ScoreObjective:
        return MoodyObjective(self.score)


class MoodyObjective(ScoreObjective):
    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        out = super().evaluate(genomes, fidelity)
        for i, e in enumerate(out):
            if e.genome[:2] == (1, 1):
                out[i] = Evaluation(
                    e.genome, fidelity, (-5.0,), "failed", 1, "Traceback: a bad day"
                )
            elif e.genome[:3] == (1, 0, 1):
                out[i] = Evaluation.measured(e.genome, fidelity, (math.nan,), 1)
        return out


NOT_A_SPACE = 3


class Kernels(SearchSpace):
    """Conditional genes: 36 candidates among 360 genomes. The best one is cubic."""

    name = "kernels"
    genes = (
        Gene("kernel", ("linear", "poly", "rbf")),
        Gene("degree", (2, 3, 4, 5), when=("kernel", "poly"), ordered=True),
        Gene("coef", ("zero", "some"), when=(("kernel", "poly"), ("degree", (4, 5)))),
        Gene(
            "gamma", ("1", "0.1", "0.01", "0.001", "0.0001"), unless=("kernel", ("linear", "poly"))
        ),
        Gene("c", ("1", "10", "100")),
    )

    def decode(self, genome: Genome) -> dict[str, str]:
        return self.chosen(genome)

    def objective(self) -> ScoreObjective:
        return ScoreObjective(self.value)

    def value(self, genome: Genome) -> float:
        x = self.decode(genome)
        if x["kernel"] == "poly":
            return abs(int(x["degree"]) - 3) + 0.5 + (x.get("coef") == "zero") + int(x["c"]) / 1e4
        if x["kernel"] == "rbf":
            return 3 * abs(float(x["gamma"]) - 0.01) + 0.6 + int(x["c"]) / 500
        return 1 + int(x["c"]) / 1000


class Noisy(Toy):
    """As few ones as possible of six numbers, with noise of 2 whose seed is the repetition's."""

    def __init__(self) -> None:
        super().__init__([4] * 6, lambda g: float(sum(g)))

    def objective(self) -> NoisyObjective:  # type: ignore[override]
        return NoisyObjective(self.score)


class NoisyObjective:
    fidelities: tuple[int, ...] = (1,)

    def __init__(self, score: Score) -> None:
        self.score = score

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        return self.evaluate_again(genomes, 0)

    def evaluate_again(self, genomes: Sequence[Genome], repeat: int) -> list[Evaluation]:
        def noise(genome: Genome) -> float:
            return random.Random(f"{genome} {repeat}").gauss(0, 2)

        return [Evaluation(g, 0, (self.score(g) + noise(g),)) for g in genomes]


class Rungs(OneMax):
    """OneMax on three rungs of 1, 4 and 16 tokens; on the lower ones it is blurred, the same for
    the same genome."""

    def objective(self) -> RungsObjective:
        return RungsObjective(self.score)


class RungsObjective(ScoreObjective):
    fidelities: tuple[int, ...] = (1, 4, 16)

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        self.asked += genomes
        blur = (6.0, 2.0, 0.0)[fidelity]
        tokens = self.fidelities[fidelity]
        return [
            Evaluation.measured(
                g,
                fidelity,
                (self.function([g])[0] + blur * random.Random(str(g)).random(),),
                tokens,
            )
            for g in genomes
        ]
