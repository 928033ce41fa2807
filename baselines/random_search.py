"""`random-search`: as many true evaluations as an evolved run, of genomes drawn at random from the
same space."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from clso import plugins
from clso.baseline import Baseline, BaselineJob
from clso.errors import ConfigError
from clso.evaluation.evaluator import LocalEvaluator
from clso.run.finish import choose_winner, remeasure, successive_halving
from clso.space import Genome
from clso.space.build import all_options, build_space
from clso.space.language import LanguageModelSpace
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

    def run(self, job: BaselineJob) -> dict[str, Any]:
        space = build_space(
            plugins.load("search_spaces", job.config.space),
            job.config,
            job.device,
            corpus=job.corpus,
        )
        if not isinstance(space, LanguageModelSpace):
            raise ConfigError("random-search compares language-model spaces", got=job.config.space)
        with job.ledger.phase("library"):
            space.prepare()
            evaluator = LocalEvaluator(space.objective())
        with job.ledger.phase("search"):
            genomes = _distinct(space, self.settings.evaluations, job.config.seed)
            measured: list[Evaluation] = []
            for start in range(0, len(genomes), job.config.pop):
                measured += evaluator.evaluate(genomes[start : start + job.config.pop], 0)
                job.progress(f"{len(measured)} of {len(genomes)} genomes")
        with job.ledger.phase("validate"):
            rungs = successive_halving(evaluator, measured, job.config.finalists)
            last = sorted((e for e in (rungs or [measured])[-1] if e.ok), key=lambda e: e.value)
            finalists = [e.genome for e in last[: job.config.finalists]]
            choice = choose_winner(space, finalists, job.folder / "best", job.config.valid_tokens)
        with job.ledger.phase("test"):
            losses = remeasure(space, choice.model)
        forward = sum(e.n_tokens for e in (*measured, *(e for rung in rungs for e in rung)))
        return {
            "best": {"genome": list(choice.genome), **losses},
            "counts": {"evaluated": len(measured)},
            "tokens_forward": forward + choice.n_tokens,
            "space": job.config.space,
            **{k: v for k, v in all_options(job.config).items() if k == "library"},
        }


def _distinct(space: LanguageModelSpace, n: int, seed: int) -> list[Genome]:
    """`n` distinct genomes, drawn uniformly."""
    rng = random.Random(seed)
    genomes: dict[Genome, None] = {}
    for _ in range(100 * n):
        if len(genomes) == n:
            break
        genomes[space.sample(rng)] = None
    return list(genomes)
