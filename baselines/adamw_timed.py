"""AdamW, trained again and again by one compiled trainer: what `clso prove` measures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from baselines.adamw_settings import AdamWSettings
from baselines.adamw_trainer import Trainer
from clso.baseline import BaselineJob, TrainingPlan
from clso.models.hf import save_hf

__all__ = ["TimedAdamW"]


class TimedAdamW:
    """`clso.baseline.TimedTraining` by one `Trainer`: its rates lie on the device, so every plan shares its graphs."""

    def __init__(self, settings: AdamWSettings, job: BaselineJob, max_steps: int) -> None:
        self._job = job
        own = replace(settings, steps=max_steps, warmup=0, eval_every=0)
        self._trainer = Trainer(replace(job.model_config, tied_head=own.tied_head), own, job.device)

    def prepare(self) -> None:
        corpus = self._job.corpus
        self._trainer.compile(corpus.tokens("train"), corpus.tokens("valid"), self._job.config.valid_tokens)

    def run(self, seed: int, plan: TrainingPlan) -> float:
        self._reset(seed, plan)
        self._trainer.train(plan.stop_at)
        return self._trainer.quick_score()

    def curve(self, seed: int, plan: TrainingPlan, every: int) -> list[tuple[int, float]]:
        self._reset(seed, plan)
        points = []
        while self._trainer.steps_done < plan.stop_at:
            self._trainer.train(min(every, plan.stop_at - self._trainer.steps_done))
            points.append((self._trainer.steps_done, self._trainer.quick_score()))
        return points

    def save(self, folder: Path) -> None:
        save_hf(self._trainer.model, folder)

    def describe(self) -> dict[str, Any]:
        return {**self._trainer.describe(), "batch": self._trainer.settings.batch}

    def _reset(self, seed: int, plan: TrainingPlan) -> None:
        steps = replace(self._trainer.settings, lr=(plan.lr,), schedule=plan.schedule, steps=plan.steps)
        self._trainer.reset(seed, plan=steps)
