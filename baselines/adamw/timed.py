"""AdamW, trained again and again by one compiled trainer for each variant: what `clso prove`
measures."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from clso.baseline import BaselineJob, TrainingPlan
from clso.baselines.adamw.settings import AdamWSettings
from clso.baselines.adamw.trainer import Trainer
from clso.baselines.memory import fitness_blocks
from clso.errors import ConfigError
from clso.models.gpt2 import LanguageModel
from clso.models.mixing import mixed_with_memory
from clso.models.store import save_model

__all__ = ["TimedAdamW"]

_KEPT = 2  # trainers: the reference's and the strongest's; each holds buffers and captured graphs
_OF_PLANS = ("lr", "schedule", "steps", "eval_every", "stop_after")
Variant = tuple[tuple[str, Any], ...]


class TimedAdamW:
    """`clso.baseline.TimedTraining`: rates lie on the device, so plans that differ in nothing else
    share a `Trainer`."""

    def __init__(self, settings: AdamWSettings, job: BaselineJob, max_steps: int) -> None:
        self._job = job
        self._settings = replace(settings, steps=max_steps, warmup=0, eval_every=0)
        self._trainers: dict[Variant, Trainer] = {}  # the latest used last
        self._model: LanguageModel  # what the last run made

    def check(self, plan: TrainingPlan) -> None:
        self._planned(plan)

    def prepare(self, plan: TrainingPlan | None = None) -> None:
        self._trainer(() if plan is None else plan.variant)

    def run(self, seed: int, plan: TrainingPlan) -> float:
        trainer = self._reset(seed, plan)
        trainer.train(plan.stop_at)
        return self._score(trainer)

    def curve(self, seed: int, plan: TrainingPlan, every: int) -> list[tuple[int, float]]:
        trainer = self._reset(seed, plan)
        points = []
        while trainer.steps_done < plan.stop_at:
            trainer.train(min(every, plan.stop_at - trainer.steps_done))
            points.append((trainer.steps_done, self._score(trainer)))
        return points

    def save(self, folder: Path) -> None:
        save_model(self._model, folder)

    def describe(self) -> dict[str, Any]:
        return {**self._latest.describe(), "batch": self._latest.settings.batch}

    @property
    def _latest(self) -> Trainer:
        return next(reversed(self._trainers.values()))

    def _variant(self, variant: Variant) -> AdamWSettings:
        """The settings of a variant, over as many steps as any plan has. Raises `ConfigError`."""
        known = [f.name for f in fields(AdamWSettings) if f.name not in _OF_PLANS]
        for name, _ in variant:
            if name not in known:
                raise ConfigError(
                    "a variant of AdamW sets what its plans do not",
                    got=name,
                    remedy=", ".join(known),
                )
        return replace(self._settings, **dict(variant))

    def _planned(self, plan: TrainingPlan) -> AdamWSettings:
        return replace(
            self._variant(plan.variant), lr=(plan.lr,), schedule=plan.schedule, steps=plan.steps
        )

    def _trainer(self, variant: Variant) -> Trainer:
        # warm-up is a matter of the rates, which a plan brings
        variant = tuple((name, value) for name, value in variant if name != "warmup")
        trainer = self._trainers.pop(variant, None)
        if trainer is None:
            while len(self._trainers) >= _KEPT:
                del self._trainers[next(iter(self._trainers))]
            own = self._variant(variant)
            job = self._job
            trainer = Trainer(replace(job.model_config, tied_head=own.tied_head), own, job.device)
            trainer.compile(
                job.corpus.tokens(own.text), job.corpus.tokens("valid"), job.config.valid_tokens
            )
        self._trainers[variant] = trainer
        return trainer

    def _reset(self, seed: int, plan: TrainingPlan) -> Trainer:
        trainer = self._trainer(plan.variant)
        trainer.reset(seed, plan=self._planned(plan))
        return trainer

    def _score(self, trainer: Trainer) -> float:
        """Of the model as trained so far, with memory if it has one."""
        self._model = trainer.model
        if not trainer.settings.memory:
            return trainer.quick_score()
        job = self._job
        self._model = mixed_with_memory(trainer.model, job.corpus, fitness_blocks(job))
        return trainer.score(self._model)
