"""Surrogate-assisted evolutionary search as a library: ask for candidates, measure them, tell.

    optimizer = Optimizer({"depth": range(1, 9), "act": ["relu", "tanh"]}, seed=0)
    for genome in optimizer.ask(8):
        optimizer.tell(genome, loss(**optimizer.decode(genome)))

`clso.search.minimizing` is that loop; `clso evolve` runs the same optimizer, a generation at a time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from clso import plugins
from clso.conversion import as_float, as_floats, as_index, as_seed, in_order
from clso.engine import Engine, EngineConfig, ParetoEngine
from clso.errors import ClsoError, ConfigError, EvaluationError, SearchWarning, did_you_mean
from clso.screening.config import ScreeningConfig
from clso.screening.encoding import Encoder
from clso.screening.screener import Estimator, Screener, Screening
from clso.search.acquisition import Acquisition, ParetoOrder
from clso.search.earlier import Earlier
from clso.search.repeats import Estimate, Repeats
from clso.space import Genome, Measure, SearchSpace
from clso.space.checked import CheckedSpace
from clso.space.choices import Choices, Named
from clso.space.measures import as_measures
from clso.space.results import Evaluation

if TYPE_CHECKING:
    pass

__all__ = ["Optimizer", "as_html"]

_SCREENING = ScreeningConfig()
_ONE = (Measure("value"),)


class _Without(Enum):
    """Tells a value that was not given from one that is None."""

    VALUE = 0


class Optimizer:
    """The engine with its surrogate: proposes genomes worth measuring, none of them twice, nor two
    that stand for the same (`SearchSpace.key`). Lower values are better.

    Only what is told counts: predictions choose what to measure and enter no result (`best` was
    measured).

    Parameters
    ----------
    space
        A space; name -> values to choose from; or each gene's number of alleles.
    surrogate
        The name of an installed one, make(random_state) -> estimator, or None to evolve without.
    config
        Settings of the evolutionary search.
    engine
        One that is made already; then `config` and `seeds` are its own. A `ParetoEngine` has as
        many objectives as values.
    seed
        Decides everything: equal seeds and equal values give equal runs.
    seeds
        Genomes to try first; the space's own by default.
    screening
        How many candidates the surrogate chooses from, and when it is believed.
    acquisition
        Orders candidates by their predicted values; by default the lowest first, and for several
        objectives `ParetoOrder`.
    objectives
        The values of a genome, if there are several or one is to be large: a name each for what is
        to be small, or a `Measure`. Several are searched for a Pareto front (NSGA-II). A surrogate
        predicts each of them, but for those that the space knows without measuring (`cost_names`).
    noisy
        Whether a genome's value is drawn anew at each measurement. Then a quarter of those that are
        asked for, after the first 40, are of the genome whose mean is lowest (`Repeats`): it is
        asked for again, its value is the mean, and `best` is the lowest after two standard errors. For
        one objective.
    warm_from
        Earlier runs of the same space: run folders, or the evaluations of a `Result`. Their best
        genomes are tried first, and the surrogate learns from what they measured for as long as
        audits agree.
    anchor
        An optimizer of the first objective alone, over a part of the genomes (`Held`), that chooses
        until `spread` is called.

    Attributes
    ----------
    space, engine, screener, acquisition
        The parts; their own pages say more.

    Raises
    ------
    ConfigError, GenomeError, PluginError
        Bad settings, a seed outside the space, an unknown surrogate; an engine or acquisition of
        other objectives.

    Examples
    --------
    >>> optimizer = Optimizer({"depth": range(1, 9), "act": ["relu", "tanh"]}, seed=0)
    >>> while optimizer.n_evaluated < 16:
    ...     for genome in optimizer.ask(4):
    ...         x = optimizer.decode(genome)
    ...         optimizer.tell(genome, (x["depth"] - 6) ** 2 + (x["act"] == "tanh"))
    >>> optimizer.decode(optimizer.best.genome), optimizer.best.value
    ({'depth': 6, 'act': 'relu'}, 0.0)
    """

    def __init__(
        self,
        space: SearchSpace | Named | Sequence[int],
        *,
        surrogate: str | Callable[[int], Estimator] | None = "gp",
        config: EngineConfig | None = None,
        engine: Engine | None = None,
        seed: int = 0,
        seeds: Sequence[Genome] | None = None,
        screening: ScreeningConfig = _SCREENING,
        acquisition: Acquisition | None = None,
        objectives: Sequence[str | Measure] | None = None,
        noisy: bool = False,
        warm_from: Iterable[Any] | Earlier = (),
        anchor: Optimizer | None = None,
    ) -> None:
        seed = as_seed(seed)
        if objectives is None:
            objectives = _ONE if engine is None else _unnamed(engine.n_values)
        self.objectives = as_measures(in_order(objectives, "objectives"), "objectives")
        self.space = space if isinstance(space, SearchSpace) else Choices(space)
        self._checked = checked = CheckedSpace(self.space)
        earlier = warm_from if isinstance(warm_from, Earlier) else Earlier.of(warm_from, self.space)
        if isinstance(surrogate, str):
            surrogate = None if surrogate == "none" else plugins.load("surrogates", surrogate).value
        n = len(self.objectives)
        if engine is None:
            seeds = checked.seeds() if seeds is None else list(seeds)
            pop_size = None if config is None else config.pop_size
            seeds += earlier.seeds(checked, pop_size, n)
            make = partial(ParetoEngine, upper=(math.inf,) * n) if n > 1 else Engine
            engine = make(self.space, config, seed=seed, seeds=seeds)
        self.engine = engine
        names = tuple(measure.name for measure in self.objectives)
        if self.engine.n_values != n:
            raise ConfigError(
                f"an engine of {self.engine.n_values} values has as many objectives", got=names
            )
        # the first is measured, whatever it is called
        known = [name for name in names[1:] if name in self.space.cost_names]
        self._unknown = [i for i, name in enumerate(names) if name not in known]
        if acquisition is None and n > 1:
            acquisition = ParetoOrder(names, checked.costs, known, anchored=anchor is not None)
        if acquisition is not None and acquisition.n_objectives != n:
            raise ConfigError(
                f"candidates are ordered by all objectives: {', '.join(names)}",
                problem=f"the acquisition orders by {acquisition.n_objectives}",
                remedy="Leave it out, or set its n_objectives.",
            )
        encoder = Encoder(checked.sizes, checked.descriptors(), checked.mask, checked.ordered)
        # what earlier runs called their further values is not known
        rows = earlier.rows if self._unknown == [0] else []
        self._screener = Screener(
            surrogate, encoder, screening, seed=seed, n_values=len(self._unknown), earlier=rows
        )
        self.acquisition = acquisition
        self._anchor = anchor
        self._batch = screening.batch
        self._queue: list[Genome] = []  # picked and not yet handed out
        self._pending: dict[Genome, None] = {}  # picked and not yet told
        if noisy and n > 1:
            raise ConfigError(
                "one noisy objective is averaged", got=names, remedy="Leave noisy out."
            )
        self.repeats = Repeats() if noisy else None
        self._again: dict[Genome, None] = {}  # out being measured once more

    @property
    def best(self) -> Evaluation | None:
        """The best measured candidate; None before the first. Of noisy ones its value is a mean."""
        found = None if self.repeats is None else self.repeats.best()
        return self.engine.best if found is None else self.engine.lookup(found)

    def estimate(self, genome: Genome) -> Estimate:
        """What all measurements of `genome` say of its value, all minimised. Raises KeyError if it
        has none, or the optimizer is not `noisy`."""
        if self.repeats is None:
            raise KeyError(genome)
        return self.repeats.estimate(genome)

    @property
    def screener(self) -> Screener:
        """The one that chooses now."""
        return self._screener if self._anchor is None else self._anchor.screener

    def spread(self) -> None:
        """From now on search for all objectives, with what the anchor's surrogate has learnt."""
        if self._anchor is not None:
            self._screener.load_state_dict(self._anchor.screener.state_dict())
            self._anchor = None

    @property
    def n_evaluated(self) -> int:
        return self.engine.n_evaluated

    @property
    def pending(self) -> list[Genome]:
        """What was picked and not yet told, in the order of picking."""
        return list(self._pending)

    def __repr__(self) -> str:
        return " ".join(f"{k} {v}" for k, v in self._words()).join(("<Optimizer: ", ">"))

    def _repr_html_(self) -> str:
        return as_html("Optimizer", self._words())

    def _words(self) -> list[tuple[str, str]]:
        best = self.best
        found = (
            []
            if best is None
            else [("best", f"{best.value:.6g}"), *self._checked.chosen(best.genome).items()]
        )
        return [("space", self.space.name), ("evaluated", f"{self.n_evaluated:,}"), *found]

    def decode(self, genome: Genome) -> Any:
        """What `genome` stands for: name -> value if the space was given so."""
        return self.space.decode(genome)

    def ask(self, n: int = 1) -> list[Genome]:
        """`n` genomes to measure, distinct and never handed out before; fewer only if the space is
        exhausted, or, with a `SearchWarning`, if thousands of draws found no more that meet its
        constraints. If they are noisy, some were measured before.

        Several may be out at a time, and be told in any order; one whose measurement was lost is
        not asked again.

        Raises:
            ConfigError: no genome meets the constraints, or none was found.
        """
        n = as_index(n, "how many genomes to ask for", least=1)
        again = self._ask_again(n)
        n -= len(again)
        while len(self._queue) < n:
            wanted = max(n - len(self._queue), self._batch)
            candidates, screening = self.propose(
                self.screener.pool_for(wanted), at_least=wanted, at_most=wanted
            )
            if not candidates and not self.engine.n_evaluated and not self._pending:
                raise self.nothing_feasible()
            if not candidates:
                self.warn_of_early_end()
                break
            self._queue += [candidates[i] for i in screening.chosen]
        asked, self._queue = self._queue[:n], self._queue[n:]
        if self.repeats is not None:
            self.repeats.count(repeats=False, n=len(asked))
            while len(asked) < n and (leader := self._leader()) is not None:
                asked.append(leader)  # nothing new is left
        return asked + again

    def _ask_again(self, n: int) -> list[Genome]:
        """Those of the next `n` genomes to measure that are to be measured once more, each another
        one; none if values are not noisy."""
        asked = list[Genome]()
        for ahead in range(n if self.repeats else 0):
            assert self.repeats is not None
            if self.repeats.due(ahead - len(asked)) and (leader := self._leader()) is not None:
                asked.append(leader)
        return asked

    def again_beside(self, n: int) -> list[Genome]:
        """What to measure once more beside `n` new genomes that were proposed, each another one;
        none if values are not noisy."""
        asked = list[Genome]()
        if self.repeats is not None:
            self.repeats.count(repeats=False, n=n)
            while self.repeats.due() and (leader := self._leader()) is not None:
                asked.append(leader)
        return asked

    def _leader(self) -> Genome | None:
        """The genome that is measured again next; it is out then."""
        assert self.repeats is not None
        leader = self.repeats.leader(self._again)
        if leader is not None:
            self._again[leader] = None
            self.repeats.count(repeats=True)
        return leader

    def propose(
        self, n: int, *, at_least: int = 1, at_most: int | None = None
    ) -> tuple[list[Genome], Screening]:
        """`n` new candidates and the surrogate's choice among them: while it is not trusted all (at
        most `at_most`) that are not likely to fail, then a share of them."""
        if self._anchor is not None:
            n_cached = self._anchor.engine.n_cached
            candidates, screening = self._anchor.propose(n, at_least=at_least, at_most=at_most)
            self.engine.n_cached += self._anchor.engine.n_cached - n_cached
            if candidates:
                self._pending.update(dict.fromkeys(candidates[i] for i in screening.chosen))
                return candidates, screening
            self.spread()  # all that it may choose is measured
        candidates = self.engine.ask(n, pending=self._pending)
        acquisition = self.acquisition
        rank = None if acquisition is None else partial(acquisition.order, candidates)
        screening = self.screener.screen(
            candidates, minimum=at_least, most=at_most, rank=rank, out=self._pending
        )
        self._pending.update(dict.fromkeys(candidates[i] for i in screening.chosen))
        return candidates, screening

    def nothing_feasible(self) -> ConfigError:
        """The error for constraints that no genome could be found to meet."""
        shortfall = self.engine.shortfall
        return ConfigError(
            f"some genome of space {self.space.name!r} meets the constraints",
            problem=f"no genome is left to try ({shortfall.reason})"
            if shortfall
            else "no genome is left to try",
            remedy="Loosen them, give seeds that meet them, or the space a `repair`.",
        )

    def warn_of_early_end(self) -> None:
        """Give a `SearchWarning` if the last proposal fell short although the space may have
        more."""
        shortfall = self.engine.shortfall
        if shortfall is not None and not shortfall.is_proven:
            warnings.warn(f"the search ends early: {shortfall.reason}", SearchWarning, stacklevel=3)

    def tell(
        self,
        measured: Evaluation | Iterable[Evaluation] | Genome,
        value: float | Sequence[float] | Mapping[str, float] | _Without = _Without.VALUE,
    ) -> None:
        """Take in one evaluation, several, or a genome with its value (with its values, if there
        are several objectives); NaN and infinity count as failures.

        The values of an evaluation are minimised all, as they are in a run's record.

        Raises:
            ValueError: a genome was told before.
            GenomeError: a genome of another space.
            EvaluationError: a value that is no number, as many as are not minimised, or what is no
            evaluation.
        """
        if not isinstance(value, _Without):
            values = self.as_minimised(value, "the value of a genome", EvaluationError)
            evaluations = [Evaluation(self._checked.validate(measured), 0, values)]  # type: ignore[arg-type]
        else:
            evaluations = [measured] if isinstance(measured, Evaluation) else list(measured)  # type: ignore[arg-type]
        for evaluation in evaluations:
            if not isinstance(evaluation, Evaluation):
                raise EvaluationError(
                    "evaluations are told, or a genome with its value", got=evaluation
                )
        for evaluation in evaluations:
            # what was asked is known to be of this space
            if evaluation.genome not in self._pending:
                self._checked.validate(evaluation.genome)
        again: list[tuple[Genome, Evaluation]] = []
        if self.repeats is not None:
            known = {e.genome: self._known_as(e.genome) for e in evaluations}
            again = [(name, e) for e in evaluations if (name := known[e.genome]) is not None]
            evaluations = [e for e in evaluations if known[e.genome] is None]
        asked = [self._asked_as(e.genome) for e in evaluations]
        best_before = self.engine.best
        self.engine.tell(evaluations)
        for genome in asked:
            self._pending.pop(genome, None)
        if self.acquisition is not None:
            self.acquisition.observe([e for e in evaluations if e.ok])
        if self._anchor is None:
            self._screener.observe(asked, [self._predicted_of(e) for e in evaluations])
        else:
            self._anchor.tell(map(_first, evaluations))
        if self.engine.best is not best_before:
            self._drop_queue()
        if self.repeats is not None:
            for evaluation in evaluations:
                if evaluation.ok:
                    self.repeats.add(evaluation.genome, evaluation.value)
            self._tell_again(again)

    def _known_as(self, genome: Genome) -> Genome | None:
        """The genome whose noisy value another measurement of `genome` adds to; None if none."""
        found = self.engine.lookup(genome)
        return found.genome if found is not None and found.ok else None

    def _tell_again(self, measured: Sequence[tuple[Genome, Evaluation]]) -> None:
        """Average; a repetition that failed leaves the mean as it is."""
        assert self.repeats is not None
        for genome, evaluation in measured:
            self._again.pop(genome, None)
            if evaluation.ok:
                mean = (self.repeats.add(genome, evaluation.value),)
                self.engine.revise(replace(evaluation, genome=genome, fidelity=0, values=mean))
                self.screener.revise(genome, mean)

    def _predicted_of(self, evaluation: Evaluation) -> tuple[float, ...] | None:
        """Those of its values that surrogates predict; None if it failed."""
        return tuple(evaluation.values[i] for i in self._unknown) if evaluation.ok else None

    def _drop_queue(self) -> None:
        """Forget what was picked and not yet handed out: there is a better genome to breed from."""
        if self.screener.trusted and self.engine.n_values == 1:
            for genome in self._queue:
                self._pending.pop(genome, None)
            self._queue = []

    def _asked_as(self, genome: Genome) -> Genome:
        """The genome that was asked for and stands for the same as `genome`; itself if none was."""
        checked = self._checked
        if genome in self._pending or checked.is_keyed_by_genome:
            return genome
        key = checked.key(genome)
        return next((other for other in self._pending if checked.key(other) == key), genome)

    def as_minimised(
        self, value: Any, what: str, error: type[ClsoError] = ConfigError
    ) -> tuple[float, ...]:
        """What was measured of a genome, one number or one for each objective, in their order or
        by name, as an evaluation holds it. Raises `error` if `what` is something else."""
        names = [measure.name for measure in self.objectives]
        if len(names) == 1:
            return (self.objectives[0].as_minimised(as_float(value, what, error)),)
        if isinstance(value, Mapping):
            known = list(map(str, value))
            for name in names:
                if name not in value:
                    remedy = did_you_mean(name, known)
                    raise error(f"{what} holds {', '.join(names)}", got=known, remedy=remedy)
            value = [value[name] for name in names]
        values = as_floats(value, what, error)
        if len(values) != len(names):
            raise error(f"{what} is {len(names)} numbers: {', '.join(names)}", got=values)
        return tuple(m.as_minimised(v) for m, v in zip(self.objectives, values, strict=True))

    @property
    def front(self) -> list[Evaluation]:
        """The measured candidates that no other beats in all objectives, by rising first value;
        with one objective the best one alone."""
        if isinstance(self.engine, ParetoEngine):
            return self.engine.front
        return [] if self.best is None else [self.best]

    def state_dict(self, *, with_evaluations: bool = True) -> dict[str, Any]:
        """All that later proposals depend on, in JSON types.

        Without the evaluations it is small; then give them back to `load_state_dict`, in the order
        of asking."""
        state = {
            "engine": self.engine.state_dict(with_cache=with_evaluations),
            "screener": self._screener.state_dict(with_rows=with_evaluations),
            "queue": [list(genome) for genome in self._queue],
            "pending": [list(genome) for genome in self._pending],
        }
        if self._anchor is not None:
            state["anchor"] = self._anchor.state_dict(with_evaluations=with_evaluations)
        if self.repeats is not None:
            state["repeats"] = self.repeats.state_dict(with_values=with_evaluations)
            state["again"] = [list(genome) for genome in self._again]
        return state

    def load_state_dict(
        self, state: dict[str, Any], evaluations: Sequence[Evaluation] | None = None
    ) -> None:
        """Continue from the `state_dict()` of an optimizer built with the same arguments, bit for
        bit.

        Raises:
            GenomeError, RunFolderError: the state is damaged or of another space.
            KeyError, TypeError, ValueError: the same.
        """
        if self.repeats is not None:
            measured = None
            if evaluations is not None:
                evaluations = self._as_first_named(evaluations)
                measured = [(e.genome, e.value) for e in evaluations if e.ok]
            self.repeats.load_state_dict(state["repeats"], measured)
            self._again = dict.fromkeys(self.space.validate(genome) for genome in state["again"])
            if evaluations is not None:
                evaluations = self._averaged(evaluations)
        self.engine.load_state_dict(state["engine"], evaluations)
        if self.acquisition is not None:
            self.acquisition.forget()
            self.acquisition.observe(self.engine.measured)
        rows = (
            None
            if evaluations is None
            else [(e.genome, self._predicted_of(e)) for e in evaluations]
        )
        if "anchor" not in state:
            self._anchor = None
            self._screener.load_state_dict(state["screener"], rows)
        elif self._anchor is not None:
            firsts = None if evaluations is None else list(map(_first, evaluations))
            self._anchor.load_state_dict(state["anchor"], firsts)
        self._queue = [self.space.validate(genome) for genome in state["queue"]]
        self._pending = dict.fromkeys(self.space.validate(genome) for genome in state["pending"])

    def _as_first_named(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """With the genome that stood first for the same."""
        if self._checked.is_keyed_by_genome:
            return list(evaluations)
        first: dict[Hashable, Genome] = {}
        return [
            replace(e, genome=first.setdefault(self._checked.key(e.genome), e.genome))
            for e in evaluations
        ]

    def _averaged(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """One evaluation a genome, with its mean, in the order of the first ones."""
        assert self.repeats is not None
        means, known = self.repeats.means(), dict[Genome, Evaluation]()
        for e in evaluations:
            if e.genome not in known:
                mean = means.get(e.genome)
                known[e.genome] = e if mean is None else replace(e, values=(mean,))
        return list(known.values())


def _first(evaluation: Evaluation) -> Evaluation:
    """With its first value alone."""
    return replace(evaluation, values=evaluation.values[:1])


def _unnamed(n: int) -> tuple[Measure, ...]:
    """Objectives of an engine that was made without names for them."""
    return _ONE if n == 1 else tuple(Measure(f"value {i}") for i in range(1, n + 1))


def as_html(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A small table for notebooks; nothing in it is markup."""
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows)
    return f"<table><caption>{escape(title)}</caption>{cells}</table>"
