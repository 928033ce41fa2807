"""`adamw`: the same GPT-2 trained by AdamW, as well and as cheaply as we can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from clso.baseline import Baseline, BaselineJob, TimedTraining
from clso.baselines.adamw.settings import AdamWSettings
from clso.baselines.adamw.timed import TimedAdamW
from clso.baselines.adamw.trainer import Fit, Trainer
from clso.baselines.memory import fitness_blocks
from clso.energy import Window
from clso.energy.window import sum_windows
from clso.errors import EvaluationError
from clso.models.gpt2 import GPT2, LanguageModel, text_loss
from clso.models.hf import save_hf
from clso.models.memory import MemoryModel
from clso.models.mixing import mixed_with_memory
from clso.models.store import load_model, save_model

__all__ = ["AdamW", "Trainer"]


@dataclass
class _Run:
    """One learning rate: what it did, its loss (NaN: diverged) and the windows that measured it.

    `valid_loss` is the one that chose: on `RunConfig.valid_tokens` of valid, in the training
    precision."""

    lr: float
    fit: Fit
    valid_loss: float
    n_scored: int
    windows: list[Window]

    def to_json(self) -> dict[str, Any]:
        """The run as JSON types; losses that are not finite are None."""
        totals = sum_windows(self.windows)
        return {
            "lr": self.lr,
            "status": "ok" if math.isfinite(self.valid_loss) else "diverged",
            "valid_loss": _number(self.valid_loss),
            "steps": self.fit.steps,
            "best_step": self.fit.best_step,
            "valid_curve": [[step, _number(loss)] for step, loss in self.fit.curve],
            "energy_j": totals["energy_j"],
            "energy_net_j": totals["energy_net_j"],
            "energy_reason": totals["reason"],
            "energy_resolution_s": max(w.resolution_s for w in self.windows),
            "time_s": totals["time_s"],
            "cpu_time_s": totals["cpu_time_s"],
        }


class AdamW(Baseline):
    """A sweep of learning rates; the winner is chosen on valid, saved, and re-measured from disk in
    float32.

    Compilation and graph capture are the phase "compile", outside the total. A run's "search" holds
    everything from token arrays in host memory to trained weights, early stopping's scorings
    included. Runs of a sweep are compared by a quick scoring ("validate") of as many tokens of
    valid as choose an evolved run's winner; the winner's float32 scoring from disk, on all of valid
    and test, is "test", outside the total.

    With `memory` the winner has counted memory mixed in: counting and fitting are the phase
    "library", and `alone` has the losses of the GPT-2 by itself."""

    Settings: ClassVar[type] = AdamWSettings
    help = "GPT-2 trained by AdamW: fused, bf16, CUDA graphs, a sweep of learning rates, early stopping."
    settings: AdamWSettings

    def timed(self, job: BaselineJob, max_steps: int) -> TimedTraining:
        return TimedAdamW(self.settings, job, max_steps)

    def run(self, job: BaselineJob) -> dict[str, Any]:
        """`best`, `by_lr` and the winner's own cost. Raises `EvaluationError` if every rate
        diverged."""
        s, folder = self.settings, job.folder / "best"
        trainer = Trainer(replace(job.model_config, tied_head=s.tied_head), s, job.device)
        job.progress("compiling")
        with job.ledger.phase("compile"):
            trainer.compile(
                job.corpus.tokens(s.text), job.corpus.tokens("valid"), job.config.valid_tokens
            )
        runs: list[_Run] = []
        weights: dict[str, Tensor] = {}
        for number, lr in enumerate(s.lr, 1):
            job.progress(f"training at {lr:g} ({number} of {len(s.lr)})")
            runs.append(_train(trainer, job, lr))
            if runs[-1] is _winner(runs):
                weights = {
                    name: value.clone() for name, value in trainer.model.state_dict().items()
                }
        winner = _winner(runs)
        if winner is None:
            raise EvaluationError(
                "at least one learning rate gives a finite loss",
                got=list(s.lr),
                remedy="Use lower rates.",
            )
        trainer.model.load_state_dict(weights)
        if s.memory:
            _mix(trainer.model, job, folder, winner)
        else:
            save_hf(trainer.model, folder)
        job.progress("re-measuring the winner from disk")
        with job.ledger.phase("test"):
            model, test_blocks = load_model(folder, device=job.device), job.blocks("test")
            valid_loss, test_loss = _losses(model, job)
            alone = _losses(model.lm, job) if isinstance(model, MemoryModel) else ()
        if not math.isfinite(valid_loss):
            raise EvaluationError("the trained model has a finite loss on valid", got=valid_loss)
        result = _result(trainer, runs, winner, valid_loss, test_loss, test_blocks[:, 1:].numel())
        if alone:
            result["alone"] = dict(zip(("valid_loss", "test_loss"), alone, strict=True))
        return result


def _train(trainer: Trainer, job: BaselineJob, lr: float) -> _Run:
    """Train at one rate, and score it if there is a choice to make."""
    windows = job.ledger.meter.windows
    first = len(windows)
    with job.ledger.phase("search"):
        trainer.reset(job.config.seed, lr)
        fit = trainer.fit()
    loss, n_scored = fit.valid_loss, len(fit.curve) * trainer.n_valid_tokens
    if loss is None and len(trainer.settings.lr) > 1:
        with job.ledger.phase("validate"):
            loss = trainer.quick_score()
        n_scored += trainer.n_valid_tokens
    if loss is None:  # a single rate: nothing to choose, so nothing is scored before the end
        loss = float(trainer.train_losses()[-1])
    return _Run(lr, fit, loss, n_scored, windows[first:])


def _mix(lm: GPT2, job: BaselineJob, folder: Path, winner: _Run) -> None:
    """Write the trained model with memory mixed in, charged to the winner."""
    job.progress("counting, and fitting the mixture's weights")
    windows = job.ledger.meter.windows
    first = len(windows)
    with job.ledger.phase("library"):
        save_model(mixed_with_memory(lm, job.corpus, fitness_blocks(job)), folder)
    winner.windows += windows[first:]


def _losses(model: LanguageModel, job: BaselineJob) -> tuple[float, float]:
    return text_loss(model, job.blocks("valid")), text_loss(model, job.blocks("test"))


def _winner(runs: Sequence[_Run]) -> _Run | None:
    finite = [run for run in runs if math.isfinite(run.valid_loss)]
    return min(finite, key=lambda run: run.valid_loss, default=None)


def _result(
    trainer: Trainer,
    runs: list[_Run],
    winner: _Run,
    valid_loss: float,
    test_loss: float,
    n_test_tokens: int,
) -> dict[str, Any]:
    s = trainer.settings
    tokens_per_step = s.batch * trainer.config.n_positions
    if len(runs) == 1 and not winner.fit.curve:
        winner.valid_loss = valid_loss
    cost = winner.to_json()
    best = {
        "valid_loss": valid_loss,
        "test_loss": test_loss,
        "n_test_tokens": n_test_tokens,
        "lr": winner.lr,
    }
    return {
        "best": {**best, "steps": winner.fit.best_step, "schedule": s.schedule},
        "by_lr": [run.to_json() for run in runs],
        "energy_of_winner_j": cost["energy_j"],
        "energy_of_winner_net_j": cost["energy_net_j"],
        "time_of_winner_s": cost["time_s"],
        "counts": {
            "train_tokens": sum(run.fit.steps for run in runs) * tokens_per_step,
            "train_tokens_of_winner": winner.fit.steps * tokens_per_step,
            "valid_tokens": sum(run.n_scored for run in runs),
        },
        "implementation": trainer.describe(),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
