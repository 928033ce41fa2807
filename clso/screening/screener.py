"""Surrogate screening: which candidates are worth a true evaluation.

A prediction is never a result. Predictions leave this module only as `Prediction`, which has no
loss and no fitness, and enter no record of values; `Screener.observe` takes numbers that were
measured. Whether the predictions rank candidates is checked all the time on audits, candidates that
were evaluated without having been picked for a good prediction, and a surrogate that ranks no
better than `trust_threshold` is switched off for good."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from operator import lt
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from clso.conversion import as_seed
from clso.errors import EvaluationError, GenomeError, PluginError, RunFolderError
from clso.screening.allocation import AUDIT, Allocation
from clso.screening.awaited import Awaited, Batch, Values
from clso.screening.config import ScreeningConfig
from clso.screening.encoding import Encoder
from clso.screening.learner import Estimator, Learner
from clso.screening.trust import Trust
from clso.screening.validity import Validity
from clso.space import Genome

__all__ = ["Encoder", "Estimator", "Prediction", "Rank", "Screener", "Screening"]

Floats = npt.NDArray[np.float64]
T = TypeVar("T")
Rank = Callable[[Floats], list[int]]
"""From predicted values, shape (candidates, values), to indices, best first."""


_LIKELY = 0.5  # the least chance of what is measured, if failures are predicted
_FOR_LIKELY = 4  # candidates bred for each one then, as long as their values are not predicted


# by which a surrogate that learnt from earlier runs has to be trusted, or they are given up
_AUDITS_OF_EARLIER = 24


@dataclass(frozen=True)
class Prediction:
    """What a surrogate expects of a genome's first value. Not a result: it has no loss and no
    fitness, on purpose."""

    genome: Genome
    value: float


@dataclass(frozen=True)
class Screening:
    """Answer of `Screener.screen`: indices into the candidates, ascending."""

    chosen: list[int]  # to evaluate
    audits: list[int]  # those of `chosen` that the predictions did not pick
    predictions: list[Prediction]  # one per candidate, or empty when nothing was predicted


class Screener:
    """Screens candidates with a surrogate for as long as audits show that it ranks them.

    1. Until `min_observations` true values are known, everything is chosen and nothing predicted.
    2. Then everything is predicted and still chosen: all evaluations are audits, until the
       surrogate becomes trusted or is switched off by the rules of `clso.screening.trust.Trust`.
    3. Trusted, `evaluate_share` of the candidates are chosen, in the three strategies of
       `clso.screening.allocation.Allocation`:
       the best predictions, good ones at random, and audits, uniformly among the rest. A surrogate
       that raises or predicts a value that is not finite is switched off, too.
    4. Switched off, or without an estimator, everything is chosen.

    A candidate has `n_values` values, one by default, of which each has an estimator of its own;
    screening is in force only while every one of them is ranked.

    Lower values are better. The order in which a batch's evaluations arrive changes nothing.
    """

    def __init__(
        self,
        make_estimator: Callable[[int], Estimator] | None,
        encoder: Encoder,
        config: ScreeningConfig,
        *,
        seed: int,
        n_values: int = 1,
        earlier: Sequence[Sequence[tuple[Genome, tuple[float, ...]]]] = (),
    ) -> None:
        """`make_estimator(seed)` makes one unfitted estimator. `earlier` is what other runs
        measured: it is learnt from until audits say that the surrogate does not rank, and then
        given up before the surrogate is."""
        seed = as_seed(seed)
        self._encoder, self.n_values = encoder, n_values
        self._evaluate_share = config.evaluate_share
        self._min_observations = config.min_observations
        self._learner = (
            Learner(
                make_estimator,
                encoder,
                seed=seed,
                refit_every=config.refit_every,
                n_values=n_values,
            )
            if make_estimator
            else None
        )
        self._uses_failures = config.failures
        self._validity = Validity(make_estimator, encoder, seed=seed) if make_estimator else None
        if self._learner is not None and earlier:
            self._learner.begin_with(earlier)
        self._make_trust = partial(
            Trust,
            threshold=config.trust_threshold,
            window=config.audit_window,
            min_audits=config.min_audits,
            n_values=n_values,
        )
        self._trust = self._make_trust()
        self._rng = np.random.default_rng(seed)
        self._allocation = Allocation(self._rng, greedy=n_values > 1)
        self._lowest = (math.inf,) * n_values  # of each value, in the batches that are closed
        self._awaited = Awaited(n_values)
        self._n_screened_out = 0
        self._fit_time_s = 0.0

    @property
    def failures_predicted(self) -> bool:
        """Whether candidates that are likely to fail are left out."""
        return self._uses_failures and self._validity is not None and self._validity.in_force

    @property
    def trusted(self) -> bool:
        """Whether screening is in force."""
        return self._trust.in_force

    @property
    def disabled(self) -> bool:
        """Whether the surrogate was switched off (False when there never was one)."""
        return self._trust.is_off

    @property
    def disabled_reason(self) -> str | None:
        return self._trust.off_reason

    @property
    def audit_correlation(self) -> float | None:
        """Spearman correlation of predicted and true over the audit window, of several values the
        lowest; None before 3 audits."""
        return self._trust.correlation

    @property
    def n_audits(self) -> int:
        """Audits so far, those that left the window included."""
        return self._trust.n_audits

    @property
    def n_screened_out(self) -> int:
        return self._n_screened_out

    @property
    def n_earlier(self) -> int:
        """Rows of earlier runs that the surrogate learns from."""
        return 0 if self._learner is None else self._learner.n_earlier

    @property
    def fit_time_s(self) -> float:
        """Wall-clock seconds spent fitting and predicting."""
        return self._fit_time_s

    def observe(self, genomes: Sequence[Genome], values: Sequence[float | Values | None]) -> None:
        """Take true evaluations, of screened candidates or of others: a number each, or as many as
        a candidate has values; None for one that failed.

        Raises:
            EvaluationError: as many genomes as values are needed, and every value finite; or too
                many or too few of one genome.
            GenomeError: a genome of another space.
        """
        if len(genomes) != len(values):
            raise EvaluationError("every genome has one value", got=(len(genomes), len(values)))
        if self._learner is None or self._validity is None:
            return
        rows = [None if value is None else self._true(value) for value in values]
        genomes = list(map(tuple, genomes))
        owners = self._awaited.owners(genomes)
        others = [genome for genome, owner in zip(genomes, owners, strict=True) if owner is None]
        if others:
            self._encoder.encode(others)  # raises for genomes of another space
        for genome, owner, row in zip(genomes, owners, rows, strict=True):
            if owner is not None:
                owner.values[genome] = row
            else:
                self._learn([(genome, row)])
        for batch in self._awaited.complete():
            self._close(batch)

    def revise(self, genome: Genome, values: Values) -> None:
        """Put other values in the place of those that were observed of `genome`."""
        (owner,) = self._awaited.owners([genome])
        if owner is not None and genome in owner.values:
            owner.values[genome] = self._true(values)
        elif self._learner is not None and not self.disabled:
            self._learner.revise(genome, self._true(values))

    def _learn(self, rows: Sequence[tuple[Genome, Values | None]]) -> None:
        """Of candidates that no batch awaits."""
        assert self._learner is not None
        assert self._validity is not None
        self._validity.learn([(genome, row is None) for genome, row in rows])
        if not self.disabled:
            self._learner.learn([(genome, row) for genome, row in rows if row is not None])

    def _true(self, value: float | Values) -> Values:
        """One genome's values. Raises `EvaluationError`."""
        if isinstance(value, Prediction):
            row: Values = ()
        else:
            row = tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),)
        if not row or not all(map(math.isfinite, row)):
            raise EvaluationError(
                "only true, finite evaluations are observed", remedy="Leave failures out"
            )
        if len(row) != self.n_values:
            raise EvaluationError(f"{self.n_values} values of a genome are observed", got=row)
        return row

    def pool_for(self, n: int) -> int:
        """How many candidates `screen` would choose `n` from."""
        if self.trusted:
            return math.ceil(n / self._evaluate_share)
        return _FOR_LIKELY * n if self.failures_predicted else n

    def screen(
        self,
        candidates: Sequence[Genome],
        *,
        minimum: int = 1,
        most: int | None = None,
        rank: Rank | None = None,
        out: Collection[Genome] = (),
    ) -> Screening:
        """Choose which of `candidates` to evaluate, at least `minimum` of them if there are as
        many, and at `most` so many while nothing is predicted of their values.

        The lowest predictions are the best unless `rank` says otherwise, which several values
        need. What is likely to fail is left out. What earlier calls chose
        and was neither observed nor is `out` being measured teaches nothing."""
        for batch in self._awaited.done(out):
            self._close(batch)
        if not candidates or self._learner is None:
            return Screening(list(range(len(candidates))), [], [])
        genomes = [tuple(candidate) for candidate in candidates]
        chances, kept = self._likely(genomes, minimum)
        ranked = None
        # what stragglers hold back does not count
        if not self.disabled and self._learner.knows(self._min_observations):
            ranked = self._predict(self._learner, genomes, rank)
        if ranked is None:
            chosen = self._some(kept, most)
            self._n_screened_out += len(genomes) - len(chosen)
            nothing = (math.nan,) * self.n_values
            self._awaited.add(
                Batch(
                    {genomes[i]: nothing for i in chosen},
                    {},
                    chances={genomes[i]: chances[i] for i in chosen if chances},
                )
            )
            return Screening(chosen, [], [])
        values, order = ranked
        if len(kept) < len(genomes):
            wanted = set(kept)
            order = [i for i in order if i in wanted]
        n_chosen = max(minimum, 2, round(self._evaluate_share * len(genomes)))
        if self.trusted and n_chosen < len(kept):
            strategies = self._allocation.choose(order, n_chosen)
        else:
            strategies = dict.fromkeys(self._some(kept, most), AUDIT)
        self._n_screened_out += len(genomes) - len(strategies)
        predicted = list(map(tuple, values.tolist()))
        self._awaited.add(
            Batch(
                {genomes[i]: predicted[i] for i in strategies},
                {genomes[i]: strategy for i, strategy in strategies.items()},
                chances={genomes[i]: chances[i] for i in strategies if chances},
            )
        )
        audits = [i for i, strategy in strategies.items() if strategy == AUDIT]
        first = values[:, 0].tolist()
        return Screening(list(strategies), audits, list(map(Prediction, genomes, first)))

    def _likely(self, genomes: list[Genome], minimum: int) -> tuple[list[float], list[int]]:
        """The chance of each not to fail, none if that is not known; and which are worth a try."""
        assert self._validity is not None
        begin = time.perf_counter()
        found = self._validity.chances(genomes)
        self._fit_time_s += time.perf_counter() - begin
        everything = list(range(len(genomes)))
        if found is None:
            return [], everything
        chances = found.tolist()
        if not self.failures_predicted:
            return chances, everything
        kept = [i for i in everything if chances[i] >= _LIKELY]
        if len(kept) < minimum:
            kept = sorted(np.argsort(-found, kind="stable")[:minimum].tolist())
        return chances, kept

    def _some(self, kept: list[int], most: int | None) -> list[int]:
        """At `most` so many of those indices, drawn at random."""
        if most is None or len(kept) <= most:
            return kept
        return sorted(kept[i] for i in self._rng.permutation(len(kept))[:most])

    def refit(self) -> None:
        """Fit now what the next `screen` would fit, while a batch is being measured: on all that is
        known but that."""
        if self._learner is not None:
            self._guarded(self._learner.refit)

    def _predict(
        self, learner: Learner, genomes: list[Genome], rank: Rank | None
    ) -> tuple[Floats, list[int]] | None:
        """Predicted values, shape (n, values), and their order; None after switching off."""

        def predict() -> tuple[Floats, list[int]] | None:
            values = learner.predict(genomes)
            if values.shape != (len(genomes), self.n_values) or not np.isfinite(values).all():
                self._disable(
                    f"the surrogate predicted values that are not {len(genomes)} finite numbers"
                )
                return None
            return values, (
                np.argsort(values[:, 0], kind="stable").tolist() if rank is None else rank(values)
            )

        return self._guarded(predict)

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """What `work` returns, its time counted; None after switching off."""
        begin = time.perf_counter()
        try:
            return work()
        # the user's wish; or the space's fault, whose costs rank candidates
        except (
            KeyboardInterrupt,
            PluginError,
        ):
            raise
        # a plugin's estimator may raise anything, SystemExit too; the run goes on without
        except BaseException as error:
            self._disable(f"the surrogate raised {type(error).__name__}: {error}")
            return None
        finally:
            self._fit_time_s += time.perf_counter() - begin

    def _close(self, batch: Batch) -> None:
        assert self._learner is not None
        assert self._validity is not None
        self._validity.learn(batch.outcomes, batch.chances)
        if self.disabled:
            return
        arrived = batch.arrived
        self._learner.learn(arrived)
        before = self._lowest
        self._lowest = tuple(map(min, zip(before, *(row for _, row in arrived), strict=True)))
        if any(strategy != AUDIT for strategy in batch.strategies.values()):
            self._allocation.credit(
                [(batch.strategies[genome], any(map(lt, row, before))) for genome, row in arrived]
            )
        audited = [batch.strategies.get(genome) == AUDIT for genome, _ in arrived]
        if any(audited):
            self._trust.audit([(batch.predicted[genome], row) for genome, row in arrived], audited)
        trust, reason = self._trust, self._trust.off_reason
        disagree = reason is not None or (
            not trust.in_force and trust.n_audits >= _AUDITS_OF_EARLIER
        )
        if disagree and self._learner.forget_earlier():
            self._trust = self._make_trust()
        elif reason is not None:
            self._disable(reason)

    def _disable(self, reason: str) -> None:
        self._trust.switch_off(reason)
        if self._learner is not None:
            self._learner.forget()

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """All that later screenings depend on, in JSON types. Only `fit_time_s` varies between
        equal runs.

        Without the rows it is small; then give `load_state_dict` all that was observed, in order of
        screening."""
        return {
            "rng": self._rng.bit_generator.state,
            **(self._learner.state_dict(with_rows=with_rows) if self._learner else {}),
            **self._trust.state_dict(),
            **(
                {"validity": self._validity.state_dict(with_rows=with_rows)}
                if self._validity
                else {}
            ),
            "open": self._awaited.state(),
            "allocation": self._allocation.state_dict(),
            "lowest": None if math.isinf(self._lowest[0]) else list(self._lowest),
            "n_screened_out": self._n_screened_out,
            "fit_time_s": self._fit_time_s,
        }

    def load_state_dict(
        self,
        state: dict[str, Any],
        observed: Sequence[tuple[Genome, Values | None]] | None = None,
    ) -> None:
        """Continue from the `state_dict()` of a screener built with the same arguments.

        The estimator is not stored: the fit in force is made again from its rows. `observed` stands
        in for rows that were left out; what failed has no values.

        Raises:
            RunFolderError: the state is damaged; this screener is then not to be used.
        """
        try:
            self._rng.bit_generator.state = state["rng"]
            self._awaited.load_state(state["open"], len(self._encoder.n_choices))
            self._allocation.load_state_dict(state["allocation"])
            lowest = math.inf if state["lowest"] is None else state["lowest"]
            self._lowest = tuple(np.broadcast_to(lowest, self.n_values).astype(float).tolist())
            if self._learner is not None and self._validity is not None:
                rows = outcomes = None
                if observed is not None:
                    held = self._awaited.genomes
                    closed = [(genome, row) for genome, row in observed if genome not in held]
                    outcomes = [(genome, row is None) for genome, row in closed]
                    rows = [(genome, row) for genome, row in closed if row is not None]
                self._learner.load_state_dict(state, rows)
                if "validity" in state:
                    self._validity.load_state_dict(state["validity"], outcomes)
                else:  # of a version that learnt nothing from failures
                    self._validity.learn(outcomes or [])
            self._trust.load_state_dict(state)
            self._n_screened_out = int(state["n_screened_out"])
            self._fit_time_s = float(state["fit_time_s"])
        except (KeyError, TypeError, ValueError, GenomeError) as error:
            raise RunFolderError(
                "a checkpoint has the state of a surrogate of this space",
                problem=f"the state is damaged ({type(error).__name__}: {error})",
                remedy="Resume from an older checkpoint",
            ) from error
