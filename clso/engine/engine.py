"""Ask/tell evolutionary search over discrete genomes.

    engine = Engine(space, EngineConfig(pop_size=32), seed=0)
    while ...:
        genomes = engine.ask(32)                      # distinct, never measured before
        engine.tell([evaluate(g) for g in genomes])   # true evaluations only

Most children are the best genome with a change or a few (heavy-tailed local search); the others
come from tournaments, uniform crossover and mutation. When nothing as good has come for long, the
search begins again elsewhere.

Survival is "elite plus recent": the best tenth is kept, the rest of the population are the newest
evaluations. When every child is evaluated that is the classic generational algorithm with elitism;
when a surrogate lets only a few through, or evaluations arrive one by one, it becomes the ageing of
regularized evolution (Real et al. 2019, arXiv:1802.01548), with no second code path."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from clso.conversion import as_index, as_seed
from clso.engine.conditional import ConditionalVariation
from clso.engine.config import EngineConfig
from clso.engine.feasible import FeasibleSearch, Shortfall
from clso.engine.operators import Change, Individual, make_toolbox
from clso.engine.randomness import pack_random, unpack_random
from clso.engine.steps import Steps
from clso.errors import EvaluationError, GenomeError
from clso.space import Genome, SearchSpace
from clso.space.checked import CheckedSpace
from clso.space.results import Evaluation

__all__ = ["Engine"]

_TRIES = 32  # attempts at turning a seen child into an unseen one before a random genome is drawn
# random genomes in a row, each varied _TRIES times, without a new one: the space counts as
# exhausted
_GIVE_UP = 100


class Engine:
    """The search state: population, best so far, the set of measured genomes, and one random
    stream.

    `seeds` are genomes to try first (a default, say). `limits` are constraints besides the
    space's own, of the same
    form: feasible if all are <= 0. Only `tell` changes what is known of fitness.
    """

    n_values = 1
    """Values of an evaluation; all are minimised."""

    def __init__(
        self,
        space: SearchSpace,
        config: EngineConfig | None = None,
        *,
        seed: int = 0,
        seeds: Sequence[Genome] = (),
        limits: Callable[[Genome], tuple[float, ...]] | None = None,
    ) -> None:
        self.space = space
        self._checked = CheckedSpace(space)
        self._limits = limits
        self._is_free = self._checked.is_free and limits is None
        self.config = config or EngineConfig()
        self.generation = 0
        self.n_cached = 0
        """How often the search proposed what had been measured already."""
        self.best: Evaluation | None = None
        # elites first (best first), then from oldest to newest
        self.population: list[Individual] = []
        self.shortfall: Shortfall | None = None
        """Why the last `ask` gave fewer genomes than were wanted; None if it did not."""
        self._n_choices = list(self._checked.sizes)
        self._space_size = self._checked.count
        self._rng = random.Random(as_seed(seed))
        self._cache: dict[Hashable, Evaluation] = {}  # by what the genomes stand for
        self._n_elite = min(
            max(1, round(self.config.elitism * self.config.pop_size)), self.config.pop_size
        )
        self._stale = 0  # evaluations since one was at least as good as the population's best
        # of them, those that were told beside it or were out then: bred before it was known
        self._n_blind = 0
        self._is_new = False  # since the last `ask`
        n_free = sum(c > 1 for c in self._n_choices)
        rate = 1 / max(1, n_free) if self.config.mutation is None else self.config.mutation
        self._steps = Steps(self._n_choices, self._checked.ordered, self._rng)
        change = self._steps.change if self._checked.ordered else None
        self.toolbox = make_toolbox(
            self._n_choices,
            tournament=self.config.tournament,
            mutation=rate,
            rng=self._rng,
            change=change,
        )
        self._varies_all = self._checked.mask is None
        if not self._varies_all:
            self._vary_active_genes(change)
        self._feasible_search = FeasibleSearch(
            self._checked,
            sample=self._sample,
            flip=self._neighbour,
            repair=self._repaired,
            violation=self._violation_of,
            rng=self._rng,
        )
        self._seeds = [space.validate(s) for s in seeds]
        for genome in self._seeds:
            if not self._feasible(genome):
                raise GenomeError("a seed meets the space's constraints", got=genome)
        self._n_seeds_asked = 0

    @property
    def n_evaluated(self) -> int:
        return len(self._cache)

    @property
    def measured(self) -> list[Evaluation]:
        """All evaluations with values, oldest first."""
        return [e for e in self._cache.values() if e.ok]

    def lookup(self, genome: Genome) -> Evaluation | None:
        """The evaluation of `genome`, or of another that stands for the same, if one was
        measured."""
        return self._cache.get(self._checked.key(genome))

    def ask(self, n: int | None = None, *, pending: Collection[Genome] = ()) -> list[Genome]:
        """Up to `n` (default: the population size) distinct, feasible, never measured genomes, no
        two of which stand for the same; the seeds come first.

        Those in `pending` are out being measured, and are not proposed either. Fewer come back only
        if the space has no more of them, or none that many draws could find: then `shortfall` says
        which."""
        wanted = (
            self.config.pop_size
            if n is None
            else as_index(n, "how many genomes to ask for", least=1)
        )
        n = min(wanted, self._space_size - len(self._cache) - len(pending))
        self.shortfall = None
        key = self._checked.key
        batch: dict[Hashable, Genome] = {}
        out = pending if self._checked.is_keyed_by_genome else {key(g) for g in pending}
        while self._n_seeds_asked < len(self._seeds) and len(batch) < n:
            genome = self._seeds[self._n_seeds_asked]
            self._n_seeds_asked += 1
            if key(genome) not in self._cache and key(genome) not in out:
                batch.setdefault(key(genome), genome)
        if self._is_new:
            self._n_blind, self._is_new = self._stale + len(pending), False
        if self._stale >= max(self._patience(), 2 * self._n_blind):
            self.population, self._stale = [], 0
        if self.population and self.config.revisit:
            self._breed_with_revisits(n, batch, out)
        elif self.population:
            for genome in self._propose(n - len(batch)):
                self._add_unseen(genome, batch, out)
        failures = 0
        while len(batch) < n and failures < _GIVE_UP:
            failures = 0 if self._add_unseen(self._sample(), batch, out) else failures + 1
        if len(batch) < n:
            self._search_for_feasible(n, batch, out)
        elif n < wanted:
            self.shortfall = Shortfall(
                f"all {self._space_size:,} genomes are measured", is_proven=True
            )
        return list(batch.values())

    def tell(self, evaluations: Iterable[Evaluation]) -> None:
        """Take in measured candidates. A genome measured before is refused, as is one that stands
        for the same: nothing is counted twice.

        Raises:
            ValueError: a genome was measured before.
            EvaluationError: more values or fewer than are minimised.
        """
        evaluations = list(evaluations)
        told: dict[Hashable, Evaluation] = {}
        for evaluation in evaluations:
            self._check_length(evaluation)
            key = self._checked.key(evaluation.genome)
            if key in self._cache or key in told:
                known = self._cache.get(key, evaluation).genome
                same = "" if known == evaluation.genome else f", as {known}, which is the same"
                raise ValueError(f"genome {evaluation.genome} was measured before{same}")
            told[key] = evaluation
        top = self.population[0].value if self.population else math.inf
        if self.population:
            self._steps.credit(self.population[0].genome, top, evaluations)
        for key, evaluation in told.items():
            self._remember(key, evaluation)
            value = evaluation.value
            self._stale += 1
            if value <= top:
                top, self._stale, self._is_new = value, 0, True
        self._survive([Individual(e.genome, e.value) for e in evaluations if e.ok])
        self.generation += 1

    def revise(self, evaluation: Evaluation) -> None:
        """Put another value in the place of a measured genome's: noise that was averaged out.

        Raises KeyError for a genome that has no value, EvaluationError as `tell` does."""
        genome = evaluation.genome
        key = self._checked.key(genome)
        self._check_length(evaluation)
        if not self._cache[key].ok:
            raise KeyError(genome)
        self._cache[key] = evaluation
        self.best = min(self.measured, key=attrgetter("value"))
        self.restate({genome: evaluation.value})

    def restate(self, values: Mapping[Genome, float]) -> None:
        """Let members of the population stand at other values, such as costlier measurements say;
        what was told of them stays as it is."""
        self.population = [  # a member's fitness is made from its value once
            Individual(member.genome, values[member.genome]) if member.genome in values else member
            for member in self.population
        ]
        elite = sorted(self.population, key=attrgetter("value"))[: self._n_elite]
        chosen = set(map(id, elite))
        self.population = elite + [m for m in self.population if id(m) not in chosen]

    def state_dict(self, *, with_cache: bool = True) -> dict[str, Any]:
        """JSON-able state. Without the cache it is small; then give the measured ones back to
        `load_state_dict`."""
        state: dict[str, Any] = {
            "generation": self.generation,
            "n_cached": self.n_cached,
            "n_seeds_asked": self._n_seeds_asked,
            "stale": self._stale,
            "blind": self._n_blind,
            "is_new": self._is_new,
            "population": [[list(ind), ind.value] for ind in self.population],
            "steps": self._steps.state_dict(),
            "rng": pack_random(self._rng),
        }
        if with_cache:
            state["cache"] = [e.to_json() for e in self._cache.values()]
        return state

    def load_state_dict(
        self, state: dict[str, Any], evaluations: Iterable[Evaluation] | None = None
    ) -> None:
        """Continue from `state_dict()`. `evaluations` stand in for a cache that was left out.

        Raises `GenomeError` for genomes of another space; KeyError, TypeError or ValueError for a
        damaged state."""
        known = (
            [Evaluation.from_json(r) for r in state["cache"]]
            if evaluations is None
            else list(evaluations)
        )
        self._cache.clear()
        self.best = None
        for evaluation in known:
            self.space.validate(evaluation.genome)
            self._check_length(evaluation)
            self._remember(self._checked.key(evaluation.genome), evaluation)
        self.generation = int(state["generation"])
        self.n_cached = int(state["n_cached"])
        self._n_seeds_asked, self._stale = int(state["n_seeds_asked"]), int(state["stale"])
        # not kept by earlier versions
        self._n_blind, self._is_new = int(state.get("blind", 0)), bool(state.get("is_new", False))
        self.population = [
            Individual(self.space.validate(g), float(value)) for g, value in state["population"]
        ]
        self._steps.load_state_dict(state["steps"])
        unpack_random(state["rng"], self._rng)

    def _remember(self, key: Hashable, evaluation: Evaluation) -> None:
        self._cache.setdefault(key, evaluation)
        if evaluation.ok and (self.best is None or evaluation.value < self.best.value):
            self.best = evaluation

    def _propose(self, n: int) -> Iterator[Genome]:
        """`n` genomes bred from the population; they may be known."""
        config, toolbox = self.config, self.toolbox
        n_near = sum(self._rng.random() < config.local_search for _ in range(n))
        for _ in range(n_near):
            yield self._repaired(self._near())
        for i in range(0, n - n_near, 2):
            pair = list(toolbox.select(self.population)), list(toolbox.select(self.population))
            if self._rng.random() < config.crossover:
                toolbox.mate(*pair)
            for child in pair[: n - n_near - i]:
                toolbox.mutate(child)
                yield self._repaired(tuple(child))

    def _breed_with_revisits(
        self, n: int, batch: dict[Hashable, Genome], out: Collection[Hashable]
    ) -> None:
        for _ in range(_GIVE_UP * _TRIES):
            if len(batch) >= n:
                return
            genome = next(self._propose(1))
            key = self._checked.key(genome)
            known = self._cache.get(key)
            if known is not None:
                self.n_cached += 1
                if known.ok:
                    self._survive([Individual(genome, known.value)])
            elif key not in out and self._feasible(genome):
                batch[key] = genome

    def _neighbour(self, genome: Genome) -> Genome:
        """A genome that differs from `genome` in one gene, repaired."""
        child = list(genome)
        self.toolbox.flip(child)
        return self._repaired(tuple(child))

    def _sample(self) -> Genome:
        """A random genome, repaired."""
        return self._repaired(self._checked.sample(self._rng))

    def _repaired(self, genome: Genome) -> Genome:
        checked = self._checked
        if checked.is_keyed_by_genome and not checked.repairs:  # as most are
            return genome
        return checked.canonical(checked.repair(genome, self._rng))

    def _vary_active_genes(self, change: Change | None) -> None:
        rate, off, rng = self.config.mutation, self._checked.off, self._rng
        variation = ConditionalVariation(self._n_choices, off, rate=rate, rng=rng, change=change)
        for name in ("flip", "jump", "mutate"):
            self.toolbox.register(name, getattr(variation, name))

    def _patience(self) -> float:
        """Evaluations without a better one until the search begins again elsewhere."""
        off: Collection[int] = ()
        if self.population and not self._varies_all:
            off = self._checked.off(self.population[0].genome)
        n_neighbours = sum(n - 1 for gene, n in enumerate(self._n_choices) if gene not in off)
        return self.config.restart_after * n_neighbours or math.inf

    def _near(self) -> Genome:
        """A child of the local search, not yet repaired."""
        return self._jumped(self._centre())

    def _jumped(self, genome: Genome) -> Genome:
        child = list(genome)
        self.toolbox.jump(child)
        return tuple(child)

    def _centre(self) -> Genome:
        """Where the local search looks for neighbours."""
        return self.population[0].genome

    def _check_length(self, evaluation: Evaluation) -> None:
        if evaluation.ok and len(evaluation.values) != self.n_values:
            raise EvaluationError(
                f"{self.n_values} values are minimised, {len(evaluation.values)} were measured"
            )

    def _constraints(self, genome: Genome) -> tuple[float, ...]:
        """The space's own, and the limits."""
        own = self._checked.constraints(genome)
        return own if self._limits is None else (*own, *self._limits(genome))

    def _feasible(self, genome: Genome) -> bool:
        return self._is_free or all(value <= 0 for value in self._constraints(genome))

    def _violation_of(self, genome: Genome) -> float:
        """By how much the constraints are broken in all; 0 if `genome` is feasible."""
        broken = [value for value in self._constraints(genome) if not value <= 0]
        return math.inf if any(map(math.isnan, broken)) else sum(broken)

    def _search_for_feasible(
        self, n: int, batch: dict[Hashable, Genome], out: Collection[Hashable]
    ) -> None:
        """Fill `batch` up to `n` if random draws find nothing new, or say why that cannot be
        done."""

        def is_new(genome: Genome) -> bool:
            key = self._checked.key(genome)
            return key not in self._cache and key not in batch and key not in out

        def parent() -> Genome:
            if self._rng.random() < self.config.local_search:
                return self._centre()
            chosen: Individual = self.toolbox.select(self.population)
            return chosen.genome

        search = self._feasible_search
        while (
            len(batch) < n
            and (found := search.walk(parent if self.population else None, is_new)) is not None
        ):
            batch[self._checked.key(found)] = found
        if len(batch) < n and search.can_list:
            listed = search.listed(n - len(batch), is_new)
            batch.update((self._checked.key(genome), genome) for genome in listed)
            if len(batch) < n:
                count = f"{self._space_size:,} genomes"
                reason = (
                    f"all {count} are measured"
                    if self._is_free
                    else f"no other of all {count} meets the constraints"
                )
                self.shortfall = Shortfall(reason, is_proven=True)
        elif len(batch) < n:
            kind = "genome" if self._is_free else "genome that meets the constraints"
            reason = f"none of {search.n_draws:,} draws gave another {kind}"
            self.shortfall = Shortfall(reason, is_proven=False)

    def _add_unseen(
        self, genome: Genome, batch: dict[Hashable, Genome], out: Collection[Hashable]
    ) -> bool:
        """Add `genome`, mutated one gene at a time for as long as it is known or infeasible; False:
        none was found."""
        for _ in range(_TRIES):
            key = self._checked.key(genome)
            if key in self._cache:
                self.n_cached += 1
            elif key not in batch and key not in out and self._feasible(genome):
                batch[key] = genome
                return True
            genome = self._neighbour(genome)
        return False

    def _survive(self, new: list[Individual]) -> None:
        n_elite = self._n_elite
        elite, rest = self.population[:n_elite], self.population[n_elite:]
        # Of equal ones the newest comes first, so that the search drifts along plateaus.
        best = sorted((*reversed(new), *elite), key=attrgetter("value"))[:n_elite]
        chosen = set(map(id, best))
        # What leaves the elite stands in front, so it is also the first to age out.
        rest = [i for i in (*elite, *rest, *new) if id(i) not in chosen]
        self.population = best + rest[max(0, len(rest) - (self.config.pop_size - n_elite)) :]
