"""Toys with several objectives; also loaded as plugins, by FILE.py:NAME."""

from __future__ import annotations

from collections.abc import Sequence

from toys import Toy

from clso.space import Gene, Genome, Measure
from clso.space.results import Evaluation


def leading_ones(bits: Sequence[int]) -> int:
    return next((i for i, bit in enumerate(bits) if bit == 0), len(bits))


class Lotz(Toy):
    """LeadingOnes, TrailingZeros (Laumanns et al. 2002): measured is one, known the other, both to
    be maximised.

    The front of n bits is known: k ones, then zeros, for k = 0 ... n, with the values (-k, k - n).
    """

    name = "lotz"
    cost_names = ("trailing", "constant", "size")

    def __init__(self, n: int = 12) -> None:
        super().__init__([2] * n, lambda g: -float(leading_ones(g)))

    def costs(self, genome: Genome) -> dict[str, float]:
        trailing = leading_ones([1 - bit for bit in reversed(genome)])
        return {"trailing": -float(trailing), "constant": 3.0, "size": float(sum(genome))}

    def both(self, genomes: Sequence[Genome]) -> list[Evaluation]:
        """Both values, for an engine without the run around it."""
        return [
            Evaluation.measured(g, 0, (self.score(g), self.costs(g)["trailing"]), 1)
            for g in genomes
        ]

    @property
    def front(self) -> list[tuple[float, float]]:
        n = len(self.genes)
        return [(float(-k), float(k - n)) for k in range(n, -1, -1)]


class NoCost(Lotz):
    """Names a cost that it does not give."""

    def costs(self, genome: Genome) -> dict[str, float]:
        return {"trailing": 1.0}


class Measured(Toy):
    """LOTZ with both values measured: the ones in front are to be many, and the ones behind to be
    few. Any genome that begins with 0, 0 fails."""

    name = "measured"
    measures: tuple[Measure, ...] = (
        Measure("leading", "max", "bits"),
        Measure("not_trailing", unit="bits"),
    )

    def __init__(self, n: int = 10) -> None:
        super().__init__([2] * n)

    def objective(self) -> MeasuredObjective:  # type: ignore[override]
        return MeasuredObjective()


class MeasuredObjective:
    fidelities: tuple[int, ...] = (1,)

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        return [self._measure(g, fidelity) for g in genomes]

    def _measure(self, genome: Genome, fidelity: int) -> Evaluation:
        if genome[:2] == (0, 0):
            return Evaluation(
                genome, fidelity, (), "failed", error="ValueError: it begins with 0, 0"
            )
        trailing = leading_ones([1 - bit for bit in reversed(genome)])
        values = (float(leading_ones(genome)), float(len(genome) - trailing))
        return Evaluation.measured(genome, fidelity, values, 1)


class Priced(Toy):
    """16 genes that cost nothing, each best at 0, and 6 switches: one that is on costs 1 and takes
    half a point off what is minimised."""

    name = "priced"
    cost_names = ("price",)
    N_FREE, N_SWITCHES = 16, 6

    def __init__(self) -> None:
        n_free = self.N_FREE
        super().__init__(
            [5] * n_free + [2] * self.N_SWITCHES,
            lambda g: sum(g[:n_free]) + 0.5 * g[n_free:].count(0),
        )

    def costs(self, genome: Genome) -> dict[str, float]:
        return {"price": float(sum(genome[self.N_FREE :]))}

    def known(self, genome: Genome) -> tuple[float, ...]:
        """All values but the first."""
        return (self.costs(genome)["price"],)

    def both(self, genomes: Sequence[Genome]) -> list[Evaluation]:
        return [Evaluation.measured(g, 0, (self.score(g), *self.known(g)), 1) for g in genomes]


class Thrifty(Priced):
    """The same, but that switches are on at first and only save: what is switched off costs 1 less,
    and adds half a point."""

    name = "thrifty"

    def __init__(self) -> None:
        super().__init__()
        score = self.score
        self.score = lambda genome: score(self._turned(genome))
        self._genes = tuple(
            Gene(gene.name, gene.choices, saving=i >= self.N_FREE)
            for i, gene in enumerate(self._genes)
        )

    def costs(self, genome: Genome) -> dict[str, float]:
        return super().costs(self._turned(genome))

    def _turned(self, genome: Genome) -> Genome:
        return (*genome[: self.N_FREE], *(1 - allele for allele in genome[self.N_FREE :]))
