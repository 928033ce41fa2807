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
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from clso.conversion import as_seed
from clso.errors import EvaluationError, GenomeError, PluginError, RunFolderError
from clso.screening.allocation import AUDIT, Allocation
from clso.screening.awaited import Awaited, Batch
from clso.screening.config import ScreeningConfig
from clso.screening.encoding import Encoder
from clso.screening.learner import Estimator, Learner
from clso.screening.trust import Trust
from clso.space import Genome

__all__ = ["Encoder", "Estimator", "Prediction", "Rank", "Screener", "Screening"]

Floats = npt.NDArray[np.float64]
T = TypeVar("T")
Rank = Callable[[Floats], list[int]]
"""From predicted values to indices, best first."""


@dataclass(frozen=True)
class Prediction:
    """What a surrogate expects of a genome. Not a result: it has no loss and no fitness, on
    purpose."""

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

    Lower values are better. The order in which a batch's evaluations arrive changes nothing.
    """

    def __init__(
        self,
        make_estimator: Callable[[int], Estimator] | None,
        encoder: Encoder,
        config: ScreeningConfig,
        *,
        seed: int,
    ) -> None:
        """`make_estimator(seed)` makes one unfitted estimator."""
        seed = as_seed(seed)
        self._encoder = encoder
        self._evaluate_share = config.evaluate_share
        self._min_observations = config.min_observations
        self._learner = (
            Learner(make_estimator, encoder, seed=seed, refit_every=config.refit_every)
            if make_estimator
            else None
        )
        self._trust = Trust(
            threshold=config.trust_threshold,
            window=config.audit_window,
            min_audits=config.min_audits,
        )
        self._rng = np.random.default_rng(seed)
        self._allocation = Allocation(self._rng)
        self._lowest = math.inf  # of the batches that are closed
        self._awaited = Awaited()
        self._n_screened_out = 0
        self._fit_time_s = 0.0

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
        """Spearman correlation of predicted and true over the audit window; None before 3
        audits."""
        return self._trust.correlation

    @property
    def n_audits(self) -> int:
        """Audits so far, those that left the window included."""
        return self._trust.n_audits

    @property
    def n_screened_out(self) -> int:
        return self._n_screened_out

    @property
    def fit_time_s(self) -> float:
        """Wall-clock seconds spent fitting and predicting."""
        return self._fit_time_s

    def observe(self, genomes: Sequence[Genome], values: Sequence[float]) -> None:
        """Take true evaluations, of screened candidates or of others.

        Raises:
            EvaluationError: as many genomes as values are needed, and every value finite.
            GenomeError: a genome of another space.
        """
        if len(genomes) != len(values):
            raise EvaluationError("every genome has one value", got=(len(genomes), len(values)))
        if any(isinstance(value, Prediction) or not math.isfinite(value) for value in values):
            raise EvaluationError(
                "only true, finite evaluations are observed", remedy="Leave failures out"
            )
        genomes = list(map(tuple, genomes))
        if self._learner is None or self.disabled:
            return
        owners = self._awaited.owners(genomes)
        others = [genome for genome, owner in zip(genomes, owners, strict=True) if owner is None]
        if others:
            self._encoder.encode(others)  # raises for genomes of another space
        for genome, owner, value in zip(genomes, owners, map(float, values), strict=True):
            if owner is not None:
                owner.values[genome] = value
            else:
                self._learner.learn([(genome, value)])
        for batch in self._awaited.complete():
            self._close(batch)

    def pool_for(self, n: int) -> int:
        """How many candidates `screen` would choose `n` from."""
        return math.ceil(n / self._evaluate_share) if self.trusted else n

    def screen(
        self,
        candidates: Sequence[Genome],
        *,
        minimum: int = 1,
        rank: Rank | None = None,
        out: Collection[Genome] = (),
    ) -> Screening:
        """Choose which of `candidates` to evaluate, at least `minimum` of them if there are as
        many.

        The lowest predictions are the best unless `rank` says otherwise. What earlier calls chose
        and was neither observed nor is `out` being measured counts as failed."""
        everything = Screening(list(range(len(candidates))), [], [])
        for batch in self._awaited.done(out):
            self._close(batch)
        if not candidates or self._learner is None or self.disabled:
            return everything
        genomes = [tuple(candidate) for candidate in candidates]
        # what stragglers hold back does not count
        if not self._learner.knows(self._min_observations):
            self._awaited.add(Batch(dict.fromkeys(genomes, math.nan), {}))
            return everything
        ranked = self._predict(self._learner, genomes, rank)
        if ranked is None:
            return everything
        values, order = ranked
        n_chosen = (
            max(minimum, 2, round(self._evaluate_share * len(genomes)))
            if self.trusted
            else len(genomes)
        )
        if n_chosen < len(genomes):
            strategies = self._allocation.choose(order, n_chosen)
        else:
            strategies = dict.fromkeys(range(len(genomes)), AUDIT)
        self._n_screened_out += len(genomes) - len(strategies)
        predicted = values.tolist()
        self._awaited.add(
            Batch(
                {genomes[i]: predicted[i] for i in strategies},
                {genomes[i]: strategy for i, strategy in strategies.items()},
            )
        )
        audits = [i for i, strategy in strategies.items() if strategy == AUDIT]
        return Screening(list(strategies), audits, list(map(Prediction, genomes, predicted)))

    def refit(self) -> None:
        """Fit now what the next `screen` would fit, while a batch is being measured: on all that is
        known but that."""
        if self._learner is not None:
            self._guarded(self._learner.refit)

    def _predict(
        self, learner: Learner, genomes: list[Genome], rank: Rank | None
    ) -> tuple[Floats, list[int]] | None:
        """Predicted values, shape (n,), and their order; None after switching off."""

        def predict() -> tuple[Floats, list[int]] | None:
            values = learner.predict(genomes)
            if values.shape != (len(genomes),) or not np.isfinite(values).all():
                self._disable(
                    f"the surrogate predicted values that are not {len(genomes)} finite numbers"
                )
                return None
            return values, (
                np.argsort(values, kind="stable").tolist() if rank is None else rank(values)
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
        arrived = batch.arrived
        self._learner.learn(arrived)
        best_before = self._lowest
        self._lowest = min([best_before, *(value for _, value in arrived)])
        if any(strategy != AUDIT for strategy in batch.strategies.values()):
            self._allocation.credit(
                [(batch.strategies[genome], value < best_before) for genome, value in arrived]
            )
        audited = [batch.strategies.get(genome) == AUDIT for genome, _ in arrived]
        if any(audited):
            self._trust.audit(
                [(batch.predicted[genome], value) for genome, value in arrived], audited
            )
        if self._trust.off_reason is not None:
            self._disable(self._trust.off_reason)

    def _disable(self, reason: str) -> None:
        self._trust.switch_off(reason)
        self._awaited.clear()
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
            "open": self._awaited.state(),
            "allocation": self._allocation.state_dict(),
            "lowest": None if math.isinf(self._lowest) else self._lowest,
            "n_screened_out": self._n_screened_out,
            "fit_time_s": self._fit_time_s,
        }

    def load_state_dict(
        self, state: dict[str, Any], observed: Sequence[tuple[Genome, float]] | None = None
    ) -> None:
        """Continue from the `state_dict()` of a screener built with the same arguments.

        The estimator is not stored: the fit in force is made again from its rows. `observed` stands
        in for rows that were left out.

        Raises:
            RunFolderError: the state is damaged; this screener is then not to be used.
        """
        try:
            self._rng.bit_generator.state = state["rng"]
            self._awaited.load_state(state["open"], len(self._encoder.n_choices))
            self._allocation.load_state_dict(state["allocation"])
            self._lowest = math.inf if state["lowest"] is None else float(state["lowest"])
            if self._learner is not None:
                self._learner.load_state_dict(
                    state, observed and observed[: len(observed) - self._awaited.n_held]
                )
            self._trust.load_state_dict(state)
            self._n_screened_out = int(state["n_screened_out"])
            self._fit_time_s = float(state["fit_time_s"])
        except (KeyError, TypeError, ValueError, GenomeError) as error:
            raise RunFolderError(
                "a checkpoint has the state of a surrogate of this space",
                problem=f"the state is damaged ({type(error).__name__}: {error})",
                remedy="Resume from an older checkpoint",
            ) from error
