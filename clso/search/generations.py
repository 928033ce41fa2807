"""The search loop's state: engine, screening and evaluator in step, one generation at a time."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clso.config import RunConfig
from clso.energy.ledger import Ledger
from clso.engine import Engine, EngineConfig, ParetoEngine
from clso.errors import ClsoError, ConfigError, EvaluationError, RunFolderError, Stopped
from clso.evaluation.evaluator import Evaluator
from clso.screening.config import GENERATIONAL
from clso.screening.screener import Estimator, Screener, Screening
from clso.search.earlier import Earlier
from clso.search.held import Held
from clso.search.optimizer import Optimizer
from clso.search.promotion import Promotion
from clso.space import Genome, SearchSpace
from clso.space.objectives import Objectives
from clso.space.results import Evaluation

__all__ = ["Interrupted", "Listener", "Round", "Search", "audits", "expected"]

_NONE = Earlier()
_SPREAD = 50  # one generation in so many searches for all objectives of a front, at the end
_FIRST_LOOK = 128  # candidates of which one can be measured, or the run is given up


class Interrupted(Stopped):
    """The run was asked to stop; its state is on disk."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            "stopped after a whole generation, which is saved",
            remedy=f"Go on with: clso resume {shlex.quote(folder)}",
        )


class Listener:
    """What a front end may want to hear; it decides nothing. Subclass and override."""

    def started(self, ledger: Ledger) -> None:
        """The run's account is open."""

    def phase(self, name: str) -> None:
        """A stage of the run begins."""

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        """A generation is finished; `row` is its line in the record."""

    def finished(self, result: dict[str, Any]) -> None:
        """The run has ended; `result` is what result.json holds."""


@dataclass(frozen=True)
class Round:
    """What a generation measured of `n_candidates` that were proposed; `audits` are pairs of
    predicted and true."""

    evaluations: list[Evaluation]
    n_candidates: int
    audits: list[list[float]]


class Search:
    """Runs generations: ask, screen, evaluate, tell. True evaluations are the only numbers that
    reach the engine."""

    def __init__(
        self,
        space: SearchSpace,
        evaluator: Evaluator,
        make_estimator: Callable[[int], Estimator] | None,
        config: RunConfig,
        listener: Listener,
        objectives: Objectives | None = None,
        earlier: Earlier = _NONE,
    ) -> None:
        self.space, self.evaluator, self.config, self.listener = space, evaluator, config, listener
        self.objectives = objectives = objectives or Objectives.of(config, space)
        self.earlier = earlier
        warm = earlier.seeds(objectives.checked, config.pop, len(objectives.names))
        own = [s for s in objectives.checked.seeds() if objectives.within(s)]
        warm = [s for s in warm if s not in own and objectives.within(s)]
        seeds, self._n_warm = own + warm, len(warm)
        limits = objectives.excess if objectives.limits else None
        self.pareto: ParetoEngine | None = None
        if objectives.is_multi_objective:
            settings = EngineConfig(pop_size=config.pop, tournament=2)  # as in Deb et al. 2002
            self.pareto = ParetoEngine(
                space,
                settings,
                upper=objectives.upper,
                seed=config.seed,
                seeds=seeds,
                limits=limits,
                costs=objectives.known if objectives.only_first_is_measured else None,
            )
        self.engine = self.pareto or Engine(
            space, EngineConfig(pop_size=config.pop), seed=config.seed, seeds=seeds, limits=limits
        )
        self.optimizer = Optimizer(
            space,
            surrogate=make_estimator,
            engine=self.engine,
            seed=config.seed,
            screening=GENERATIONAL,
            objectives=objectives.named,
            noisy=config.noise,
            warm_from=earlier,
            anchor=self._make_anchor(make_estimator, seeds, limits),
        )
        self.tokens_forward = 0
        self.evaluations: list[Evaluation] = []  # on the first rung, in order
        self.promotion = self._promotion()
        self._stale = 0  # generations since the last better loss
        self._exhausted = False

    def _make_anchor(
        self,
        make_estimator: Callable[[int], Estimator] | None,
        seeds: Sequence[Genome],
        limits: Callable[[Genome], tuple[float, ...]] | None,
    ) -> Optimizer | None:
        """The search for the first objective alone that a front begins with, if all others are known
        costs and some genes only save them; earlier runs have begun already."""
        objectives, config = self.objectives, self.config
        if not objectives.is_multi_objective or not objectives.only_first_is_measured:
            return None
        held = None if self.earlier.runs else Held.of(self.space)
        if held is None:
            return None
        seeds = [seed for seed in seeds if held.has(seed)]
        settings = EngineConfig(pop_size=config.pop)
        return Optimizer(
            held,
            surrogate=make_estimator,
            engine=Engine(held, settings, seed=config.seed, seeds=seeds, limits=limits),
            seed=config.seed,
            screening=GENERATIONAL,
            objectives=objectives.named[:1],
        )

    @property
    def screener(self) -> Screener:
        return self.optimizer.screener

    def _promotion(self) -> Promotion | None:
        """Raises `ConfigError` if there is nothing to promote to."""
        if not self.config.promote:
            return None
        n_rungs = len(self.evaluator.fidelities)
        if n_rungs < 2:
            raise ConfigError(
                f"the search goes up rungs in a space that declares several, and {self.space.name!r} declares one",
                remedy="For a text or a task set fitness_tokens, as in fitness_tokens = [2048, 8192].",
            )
        return Promotion(n_rungs)

    def _promote(self) -> list[Evaluation]:
        """Measure on higher rungs whoever is due there, and let the engine follow."""
        promotion = self.promotion
        if promotion is None:
            return []
        measured = []
        for rung in range(1, len(self.evaluator.fidelities)):
            found = self.evaluator.evaluate(promotion.due(rung), rung)
            promotion.observe(found)
            measured += found
        self.engine.restate(promotion.standing())
        return measured

    @property
    def done(self) -> bool:
        patience = self.config.patience
        stale = bool(patience) and self._stale >= patience
        return self.n_generations >= self.config.gens or stale or self._exhausted

    @property
    def n_generations(self) -> int:
        return self.engine.generation

    def generation(self) -> list[dict[str, Any]]:
        """Run one generation; return its rows for the record, evaluations first."""
        engine = self.engine
        best_before = self._so_far
        measured = self._measure_some()
        if measured is None:
            self._exhausted = True
            return [
                {
                    "type": "exhausted",
                    "generation": self.n_generations,
                    "reason": self._exhaustion(),
                }
            ]
        evaluations = measured.evaluations
        self._stale = 0 if self._so_far != best_before else self._stale + 1
        self.evaluations += evaluations
        if self.promotion is not None:
            self.promotion.observe(evaluations)
        promoted = self._promote()
        self.tokens_forward += sum(e.n_tokens for e in (*evaluations, *promoted))
        assert engine.best is not None
        screener = self.screener
        number = self.n_generations
        row = {
            "type": "generation",
            "generation": number,
            "best": engine.best.value,
            "population": [ind.value for ind in engine.population],
            "evaluated": len(evaluations),
            "screened_out": measured.n_candidates - len(evaluations),
            "cached": engine.n_cached,
            "tokens_forward": self.tokens_forward,
            "audits": measured.audits,
            "audit_correlation": screener.audit_correlation,
            "surrogate_trusted": screener.trusted,
        }
        if self.pareto is not None:
            row["hypervolume"] = self.pareto.hypervolume
        self.listener.generation(self, row)
        rows = [{"type": "evaluation", "generation": number, **e.to_json()} for e in evaluations]
        # as those of the finalists: of no generation's first rung
        rows += [{"type": "evaluation", "generation": None, **e.to_json()} for e in promoted]
        return [*rows, row]

    def _measure_some(self) -> Round | None:
        """A generation's measurements. The first goes on for as long as none of its candidates
        could be measured, up to `_FIRST_LOOK` candidates and the end of the run. Raises
        `EvaluationError` if there is none then."""
        measured = self._measure()
        while (
            measured is not None
            and self.engine.best is None
            and len(measured.evaluations) < _FIRST_LOOK
            and self.n_generations < self.config.gens
            and (more := self._measure()) is not None
        ):
            measured = Round(
                measured.evaluations + more.evaluations,
                measured.n_candidates + more.n_candidates,
                [],
            )
        if measured is not None and self.engine.best is None:
            found = measured.evaluations
            first = next(
                (e.reason for e in found if e.error), "every loss was infinite or not a number"
            )
            raise EvaluationError(
                "at least one candidate of the first generations can be measured",
                problem=f"all {len(found)} candidates failed, the first with {first}",
            )
        return measured

    def _exhaustion(self) -> str:
        """Why there are no more candidates. Raises `ConfigError` if there never was one."""
        if not self.engine.n_evaluated:
            raise (
                self.objectives.nothing_within()
                if self.objectives.limits
                else self.optimizer.nothing_feasible()
            )
        self.optimizer.warn_of_early_end()
        shortfall = self.engine.shortfall
        return shortfall.reason if shortfall else "no more candidates"

    def _begin(self, number: int) -> None:
        """Before the proposals of generation `number`, from 0."""
        if number >= self.config.gens - max(1, self.config.gens // _SPREAD):
            self.optimizer.spread()

    def _measure(self) -> Round | None:
        """Propose, measure and tell; None if the space has no more."""
        self._begin(self.n_generations)
        repeats, n = self.optimizer.repeats, self.config.pop
        candidates, screening = self.optimizer.propose(n if repeats is None else repeats.new_of(n))
        if not candidates:
            return None
        chosen = [candidates[i] for i in screening.chosen]
        evaluations = self.evaluator.evaluate(chosen, 0, meanwhile=self.screener.refit)
        if repeats is not None:
            by_turn: dict[int, list[Genome]] = {}
            for genome in self.optimizer.again_beside(len(chosen)):
                by_turn.setdefault(repeats.n_of(genome), []).append(genome)
            for turn, genomes in sorted(by_turn.items()):
                evaluations += self.evaluator.evaluate(genomes, turn)
        self.optimizer.tell(evaluations)
        n_again = len(evaluations) - len(chosen)
        found = audits(expected(screening), evaluations)
        return Round(evaluations, len(candidates) + n_again, found)

    @property
    def _so_far(self) -> Evaluation | Genome | list[tuple[float, ...]] | None:
        """What a generation should make better."""
        if self.optimizer.repeats is not None:  # the leader's value changes by itself
            return self.engine.best and self.engine.best.genome
        return self.engine.best if self.pareto is None else self.pareto.counting

    @property
    def contenders(self) -> list[Evaluation]:
        """Evaluations among which the winner is; if they are noisy, it alone. Raises `EvaluationError` if none keeps the
        limits."""
        if self.optimizer.repeats is not None and self.optimizer.best is not None:
            return [self.optimizer.best]
        if self.pareto is None:
            return self.evaluations
        if not self.pareto.front:
            raise EvaluationError(
                "some candidate keeps the limits", got=self.config.limits, remedy="Raise them."
            )
        return self.pareto.front

    @property
    def counts(self) -> dict[str, int]:
        repeats = self.optimizer.repeats
        again = {} if repeats is None else {"repeated": repeats.n_repeats}
        return {
            "evaluated": self.engine.n_evaluated,
            **again,
            "screened_out": self.screener.n_screened_out,
            "cached": self.engine.n_cached,
            "failed": sum(not e.ok for e in self.evaluations),
            "generations": self.n_generations,
        }

    @property
    def surrogate_summary(self) -> dict[str, Any]:
        s = self.screener
        audit = {"rank_correlation": s.audit_correlation, "n": s.n_audits, "disabled": s.disabled}
        return {
            "name": self.config.surrogate,
            "trusted": s.trusted,
            "audit": {**audit, "reason": s.disabled_reason},
            "failures_predicted": s.failures_predicted,
            "fit_time_s": s.fit_time_s,
        }

    @property
    def warm_summary(self) -> dict[str, Any]:
        """What became of the earlier runs that the search started from."""
        return {
            "runs": [run.name for run in self.earlier.runs],
            "seeds": self._n_warm,
            "rows_kept": self.screener.n_earlier,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            **self.optimizer.state_dict(with_evaluations=False),
            "tokens_forward": self.tokens_forward,
            "stale": self._stale,
            "exhausted": self._exhausted,
        }

    def load_state(self, state: dict[str, Any], records: Iterable[dict[str, Any]]) -> None:
        """Continue from a checkpoint; the measured genomes come from the record.

        Raises `RunFolderError` if they belong to another space, or to another version of CLSO.
        """
        try:
            found = [Evaluation.from_json(r) for r in records if r["type"] == "evaluation"]
            self.evaluations = found
            if self.promotion is not None:
                # what was measured on higher rungs; of noisy runs these are repetitions
                self.evaluations = [e for e in found if e.fidelity == 0]
                self.promotion.observe(found)
            self._load(state)
        except (KeyError, TypeError, ValueError, OverflowError, ClsoError) as error:
            raise RunFolderError(
                "the checkpoint and the record are of this search space and version of CLSO",
                problem=f"the search cannot go on from it ({type(error).__name__}: {error})",
                remedy="Resume with the version that wrote them (manifest.json names it), or start a new run.",
            ) from error

    def _load(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state, self.evaluations)
        self.tokens_forward = int(state["tokens_forward"])
        self._stale = int(state["stale"])
        self._exhausted = bool(state["exhausted"])


def expected(screening: Screening) -> dict[Genome, float]:
    """What was predicted of the candidates that are measured to see whether predictions rank."""
    audited = screening.audits if screening.predictions else []
    return {screening.predictions[i].genome: screening.predictions[i].value for i in audited}


def audits(predicted: dict[Genome, float], evaluations: Iterable[Evaluation]) -> list[list[float]]:
    """[predicted, true] of those evaluations: the surrogate's report card, not anybody's loss."""
    return [[predicted[e.genome], e.value] for e in evaluations if e.ok and e.genome in predicted]
