"""Several objectives: NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017) on the engine's ask and
tell.

Survival and mating go by non-domination rank, then by crowding distance. What breaks a measured
limit ranks behind everything that keeps them all, by how far it breaks them (constrained dominance,
ibid. section VI). On discrete problems many genomes share their values, so the crowding distance is
taken over distinct ones, and a repetition gets none (Fortin & Parizeau 2013,
doi:10.1145/2463372.2463456).

Often only the first value has to be measured, and the others are known of any genome. Then a front
should be no worse at the first one than a search for it alone: a third of the local search goes on as
that search does, near the best genome, and the rest carries what it found, or a neighbour of it,
along the front. A member of the front takes from the best genome every gene that makes it no dearer,
so that what costs nothing is had at any cost. If some genes only save costs (`Gene.saving`), half of the
local search changes such genes alone, of the best genome or of a member of the front."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
from deap import tools

from clso.engine.config import EngineConfig
from clso.engine.engine import Engine
from clso.engine.operators import Individual, heavy_tailed
from clso.space import Genome, SearchSpace
from clso.space.results import Evaluation

__all__ = ["ParetoEngine", "crowded_order"]

_DECIMALS = 12  # of a crowding distance, which is a share of the objectives' ranges
_SAVED = 0.5  # of the local search, by genes that only save costs
_ROUNDING = 1e-12  # of a value: far above its last bit
# by which the reference point lies behind the first generation's worst, as a share of its range
_MARGIN = 0.1


@dataclass
class _Standing:
    """What DEAP's operators see as the fitness of a member; the greater one wins a tournament."""

    values: tuple[float, ...]
    rank: int = 0
    crowding_dist: float = 0.0

    def __lt__(self, other: _Standing) -> bool:
        return (-self.rank, self.crowding_dist) < (-other.rank, other.crowding_dist)


class ParetoEngine(Engine):
    """An engine whose evaluations have several values, all minimised.

    `best` is the best by the first one. `upper` holds an upper bound for each value, infinite if
    there is none. `costs` gives all values but the first of a genome that need not be measured; None
    if some have to be."""

    def __init__(
        self,
        space: SearchSpace,
        config: EngineConfig | None = None,
        *,
        upper: Sequence[float],
        seed: int = 0,
        seeds: Sequence[Genome] = (),
        limits: Callable[[Genome], tuple[float, ...]] | None = None,
        costs: Callable[[Genome], tuple[float, ...]] | None = None,
    ) -> None:
        super().__init__(
            space, config or EngineConfig(tournament=2), seed=seed, seeds=seeds, limits=limits
        )
        self.toolbox.register("select", _select, size=self.config.tournament, rng=self._rng)
        self.upper = tuple(upper)
        self.n_values = len(self.upper)
        self._costs = costs
        self._saving = [i for i, gene in enumerate(space.genes) if gene.saving and len(gene) > 1]
        self.reference: tuple[float, ...] | None = None
        """The hypervolume's reference point: the first measured generation's worst values and a
        margin."""
        self._front: dict[tuple[float, ...], Evaluation] = {}
        self._front_is_clean = True

    @property
    def front(self) -> list[Evaluation]:
        """The non-dominated evaluations that keep all limits, by rising first value; of equal ones
        the first measured."""
        if not self._front_is_clean:
            points = list(self._front)
            kept = np.flatnonzero(moocore.is_nondominated(np.array(points)))
            self._front = {points[i]: self._front[points[i]] for i in kept}
            self._front_is_clean = True
        return [self._front[values] for values in sorted(self._front)]

    @property
    def counting(self) -> list[tuple[float, ...]]:
        """Values of the front that lie before `reference`: the hypervolume grows if and only if
        they change.

        What lies before it by rounding alone does not count, so that the units of the objectives
        decide nothing."""
        reference = self.reference or ()
        return [
            e.values
            for e in self.front
            if all(
                r - v > _ROUNDING * abs(r) + _ROUNDING * abs(v)
                for v, r in zip(e.values, reference, strict=True)
            )
        ]

    @property
    def hypervolume(self) -> float | None:
        """The volume between the front and `reference`, in the product of the objectives' units.

        None if no float holds it: two objectives of 1e-200 each have one of 1e-400.
        """
        points = self.counting
        if not points:
            return 0.0
        # In units near each objective's range. They are powers of two, so that nothing is rounded
        # by them.
        reference = np.array(self.reference)
        exponents = np.frexp(reference - np.min(points, axis=0))[1]
        volume = float(
            moocore.hypervolume(np.ldexp(points, -exponents), ref=np.ldexp(reference, -exponents))
        )
        try:
            volume = math.ldexp(volume, int(exponents.sum()))
        except OverflowError:
            return None
        return volume if 0 < volume < math.inf else None

    def tell(self, evaluations: Iterable[Evaluation]) -> None:
        evaluations = list(evaluations)
        super().tell(evaluations)
        measured = [e.values for e in evaluations if e.ok]
        if self.reference is None and measured:
            self.reference = _reference(measured)

    def state_dict(self, *, with_cache: bool = True) -> dict[str, Any]:
        return {
            **super().state_dict(with_cache=with_cache),
            "reference": self.reference and list(self.reference),
        }

    def load_state_dict(
        self, state: dict[str, Any], evaluations: Iterable[Evaluation] | None = None
    ) -> None:
        self._front, self._front_is_clean = {}, True
        super().load_state_dict(state, evaluations)
        self.reference = (
            None if state["reference"] is None else tuple(map(float, state["reference"]))
        )
        self._place(self.population)

    def _remember(self, key: Hashable, evaluation: Evaluation) -> None:
        self._cache.setdefault(key, evaluation)
        if not evaluation.ok:
            return
        violation = self._violation(evaluation.values)
        best = self.best
        if best is None or (violation, evaluation.value) < (
            self._violation(best.values),
            best.value,
        ):
            self.best = evaluation
        if violation == 0 and evaluation.values not in self._front:
            self._front[evaluation.values] = evaluation
            self._front_is_clean = False

    def _centre(self) -> Genome:
        front = self.front
        return self._rng.choice(front).genome if front else super()._centre()

    def _near(self) -> Genome:
        front = self.front
        if self._costs is None or self.best is None or not front:
            return super()._near()
        if self._saving and self._rng.random() < _SAVED:
            return self._saved(self._rng.choice((self.best, self._rng.choice(front))).genome)
        best, kind = self.best.genome, int(3 * self._rng.random())
        if kind == 0:
            return self._jumped(best)
        onto = self._rng.choice(front).genome
        if kind == 1:
            return self._carried(self._jumped(best), onto, self._costs)
        carried = self._carried(best, onto, self._costs)
        return carried if self.lookup(carried) is None else self._jumped(best)

    def _saved(self, genome: Genome) -> Genome:
        """`genome` with a near choice of one active gene that only saves costs, or of several: what
        saves less loses less."""
        off = self._checked.off(genome)
        free = [gene for gene in self._saving if gene not in off]
        child, rng = list(genome), self._rng
        for _ in range(heavy_tailed(len(free), rng)):
            gene = rng.choice(free)
            last = self._n_choices[gene] - 1
            step = heavy_tailed(last, rng)
            if rng.random() < 0.5 or child[gene] + step > last:
                step = -step if child[gene] else step
            child[gene] = min(max(child[gene] + step, 0), last)
        return tuple(child)

    def _carried(
        self, genome: Genome, onto: Genome, costs_of: Callable[[Genome], tuple[float, ...]]
    ) -> Genome:
        """`onto` with every gene of `genome` that raises none of its costs, tried in random
        order."""
        child, costs = list(onto), costs_of(onto)
        differ = [gene for gene, (a, b) in enumerate(zip(genome, onto, strict=True)) if a != b]
        self._rng.shuffle(differ)
        for gene in differ:
            child[gene] = genome[gene]
            reached = costs_of(tuple(child))
            if all(after <= before for after, before in zip(reached, costs, strict=True)):
                costs = reached
            else:
                child[gene] = onto[gene]
        return tuple(child)

    def _survive(self, new: list[Individual]) -> None:
        pool = self.population + new
        self._place(pool)
        pool.sort(key=lambda member: member.fitness, reverse=True)
        self.population = pool[: self.config.pop_size]
        # from the population alone, so that a resumed run finds the same
        self._place(self.population)

    def _place(self, members: Sequence[Individual]) -> None:
        values = [self._cache[self._checked.key(member.genome)].values for member in members]
        _place(members, values, [self._violation(v) for v in values])

    def _violation(self, values: Sequence[float]) -> float:
        """By how much the limits are broken, each as a share of itself."""
        return math.fsum(
            (v - u) / (abs(u) or 1.0)
            for v, u in zip(values, self.upper, strict=True)
            if v > u and u < math.inf
        )


def _select(population: Sequence[Individual], size: int, rng: random.Random) -> Individual:
    """The best by standing of `size` members drawn with replacement; of equal ones, the first
    drawn."""
    drawn = (population[int(rng.random() * len(population))] for _ in range(size))
    return max(drawn, key=attrgetter("fitness"))


def crowded_order(values: npt.NDArray[np.float64]) -> list[int]:
    """Indices of points (n, objectives), best first: by non-domination rank, then by falling
    crowding distance."""
    points = [tuple(row) for row in values.tolist()]
    members = [Individual((i,), point[0]) for i, point in enumerate(points)]
    _place(members, points, [0.0] * len(points))
    return [
        member[0] for member in sorted(members, key=lambda member: member.fitness, reverse=True)
    ]


def _place(
    members: Sequence[Individual], values: Sequence[tuple[float, ...]], violations: Sequence[float]
) -> None:
    """Give each member its standing among all of them."""
    for member, v in zip(members, values, strict=True):
        member.fitness = _Standing(v)
    feasible = [m for m, violation in zip(members, violations, strict=True) if violation == 0]
    n_fronts = 0
    if feasible:
        ranks = moocore.pareto_rank(np.array([m.fitness.values for m in feasible]))
        n_fronts = int(ranks.max()) + 1
        fronts: list[dict[tuple[float, ...], Individual]] = [{} for _ in range(n_fronts)]
        for member, rank in zip(feasible, ranks.tolist(), strict=True):
            member.fitness.rank = rank
            fronts[rank].setdefault(member.fitness.values, member)
        for front in fronts:
            tools.emo.assignCrowdingDist(list(front.values()))
            for member in front.values():  # equal distances stay equal, whatever the units round to
                member.fitness.crowding_dist = round(member.fitness.crowding_dist, _DECIMALS)
    broken = {v: i for i, v in enumerate(sorted({v for v in violations if v > 0}))}
    for member, violation in zip(members, violations, strict=True):
        if violation > 0:
            member.fitness.rank = n_fronts + broken[violation]


def _reference(points: npt.ArrayLike) -> tuple[float, ...]:
    worst, best = np.max(points, axis=0), np.min(points, axis=0)
    spread = np.where(worst > best, worst - best, np.where(worst == 0, 1.0, np.abs(worst)))
    largest = np.finfo(np.float64).max
    return tuple(np.clip(worst + _MARGIN * np.minimum(spread, largest), -largest, largest).tolist())
