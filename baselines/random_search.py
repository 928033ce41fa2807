"""`random-search`: as many true evaluations as an evolved run, of genomes drawn at random from the
same space."""

from __future__ import annotations

import random
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from clso import plugins
from clso.baseline import Baseline, BaselineJob
from clso.errors import ConfigError, EvaluationError
from clso.evaluation.evaluator import LocalEvaluator
from clso.run.failures import failure_reasons
from clso.run.finish import choose_winner, remeasure, successive_halving
from clso.space import Genome, SearchSpace
from clso.space.build import all_options, build_space
from clso.space.checked import CheckedSpace
from clso.space.language import LanguageModelSpace
from clso.space.objectives import Objectives
from clso.space.results import Evaluation

__all__ = ["RandomSearch"]


class RandomSearch(Baseline):
    """Uniform random genomes, measured and halved like an evolved run's, with no selection in
    between."""

    help = "Random genomes of the same space, with the same number of true evaluations."

    @dataclass(frozen=True)
    class Settings:
        """Settings of the control."""

        evaluations: int = field(
            default=300, metadata={"help": "True evaluations on the first rung."}
        )

        def __post_init__(self) -> None:
            if self.evaluations < 1:
                raise ConfigError("evaluations is at least 1", got=self.evaluations)

    def load(self, job: BaselineJob) -> dict[str, Any] | None:
        """The text of a language-model space; None for others, whatever is in their options."""
        return super().load(job) if _reads_text(job) else None

    def run(self, job: BaselineJob) -> dict[str, Any]:
        plugin = plugins.load("search_spaces", job.config.space)
        corpus = job.corpus if _reads_text(job) else None
        space = build_space(plugin, job.config, job.device, corpus=corpus)
        objectives = Objectives.of(job.config, space)
        if objectives.is_multi_objective:
            raise ConfigError(
                "random-search has one objective",
                got=list(objectives.names),
                remedy="Name one of them with --objective.",
            )
        with job.ledger.phase("library"), plugin.as_plugin_error("be prepared"):
            space.prepare()
            evaluator = LocalEvaluator(objectives.complete(space.objective()))
        with job.ledger.phase("search"):
            genomes = _distinct(objectives.checked, self.settings.evaluations, job.config.seed)
            measured: list[Evaluation] = []
            for start in range(0, len(genomes), job.config.pop):
                measured += evaluator.evaluate(genomes[start : start + job.config.pop], 0)
                job.progress(f"{len(measured)} of {len(genomes)} genomes")
        with job.ledger.phase("validate"):
            rungs = successive_halving(evaluator, measured, job.config.finalists)
            last = sorted((e for e in (rungs or [measured])[-1] if e.ok), key=lambda e: e.value)
            if not last:
                reasons = failure_reasons(measured)
                raise EvaluationError(
                    "at least one random genome can be measured",
                    problem=f"all {len(measured)} failed ({reasons[0]['reason']})"
                    if reasons
                    else "no feasible genome was drawn",
                )
            n_tokens = sum(e.n_tokens for e in (*measured, *(e for rung in rungs for e in rung)))
            if isinstance(space, LanguageModelSpace):
                finalists = [e.genome for e in last[: job.config.finalists]]
                best_folder = job.folder / "best"
                choice = choose_winner(space, finalists, best_folder, job.config.valid_tokens)
                genome, n_tokens = choice.genome, n_tokens + choice.n_tokens
        more: dict[str, Any] = {}
        with job.ledger.phase("test"):
            if isinstance(space, LanguageModelSpace):
                best = remeasure(space, choice.model)
            else:
                genome, (value,) = last[0].genome, objectives.shown(last[0].values[:1])
                more = objectives.checked.conclude(genome, job.folder / "best")
                best = {"fitness": last[0].value, "values": {objectives.names[0]: value}}
                best |= more.pop("best", {})
                more["optimum"] = objectives.checked.optimum()
        return {
            "best": {
                "genome": list(genome),
                "alleles": objectives.checked.describe(genome),
                "inactive": objectives.checked.inactive(genome),
                **best,
            },
            "measure": objectives.measure,
            "counts": {"evaluated": len(measured), "failed": sum(not e.ok for e in measured)},
            "failures": failure_reasons(measured),
            "tokens_forward": n_tokens,
            "space": job.config.space,
            **{k: v for k, v in all_options(job.config).items() if k == "library"},
            **more,
        }


def _reads_text(job: BaselineJob) -> bool:
    kind = plugins.load("search_spaces", job.config.space).subclass_of(SearchSpace)
    return issubclass(kind, LanguageModelSpace) and not job.config.task


def _distinct(space: CheckedSpace, n: int, seed: int) -> list[Genome]:
    """`n` feasible genomes, no two of which stand for the same: drawn uniformly, and repaired if
    the space has constraints; fewer if that many draws give no more."""
    rng = random.Random(seed)
    genomes: dict[Hashable, Genome] = {}
    for _ in range(100 * n):
        if len(genomes) == n:
            break
        genome = space.sample(rng)
        if not space.is_free:
            genome = space.repair(genome, rng)
            if any(value > 0 for value in space.constraints(genome)):
                continue
        genomes.setdefault(space.key(genome), genome)
    return list(genomes.values())
