"""A task as what a search minimises: genomes, built into models, measured on the same fitness
examples at rising numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from clso.errors import ConfigError
from clso.space import Genome
from clso.space.functions import measure_batch
from clso.space.results import Evaluation
from clso.tasks.base import Task
from clso.tasks.scoring import Score, score

__all__ = ["TaskObjective"]


class TaskObjective:
    """Cross entropy (nats per answer), or the error rate, of genomes on the first `examples` of the
    fitness split.

    `clso.space.Objective`: `fidelities` are the tokens of each rung, and a failure is the culprit's
    alone."""

    def __init__(
        self,
        task: Task,
        build: Callable[[Genome], nn.Module],
        *,
        examples: Sequence[int] = (128, 1024),
        measure: str = "loss",
        device: str = "cpu",
        batch: int = 64,
    ) -> None:
        """`build` makes a genome's model, ready to answer. Raises `ConfigError` for bad rungs or
        measures."""
        if list(examples) != sorted(set(examples)) or not examples or min(examples) < 1:
            raise ConfigError("numbers of examples are positive and rising", got=list(examples))
        if measure not in ("loss", "error"):
            raise ConfigError("a task measures loss or error", got=measure)
        fitness = task.split("fitness")
        sizes = sorted({min(n, len(fitness)) for n in examples})  # a small task has fewer rungs
        self.build, self.measure, self.device, self.batch = build, measure, device, batch
        self._rungs = [fitness[:n] for n in sizes]
        self.fidelities = tuple(rung.n_tokens for rung in self._rungs)

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """One `Evaluation` a genome, in order."""
        n_tokens = self.fidelities[fidelity]
        return measure_batch(
            lambda batch: [self._value(g, fidelity) for g in batch],
            genomes,
            fidelity,
            n_tokens=n_tokens,
        )

    def scores(self, models: Sequence[nn.Module], fidelity: int) -> list[Score]:
        """Everything that is known of each model on a rung's examples."""
        rung = self._rungs[fidelity]
        return [
            score(model.to(self.device), rung, batch=self.batch, device=self.device)
            for model in models
        ]

    def _value(self, genome: Genome, fidelity: int) -> float:
        (found,) = self.scores([self.build(genome)], fidelity)
        return found.loss if self.measure == "loss" else 1 - found.accuracy
