"""AdamW training of any sequence model on a task: deterministic by seed, the best weights by valid,
test read once."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from clso.errors import ConfigError, EvaluationError
from clso.models.modules import n_parameters
from clso.tasks.base import Task
from clso.tasks.scoring import Score, majority_accuracy, make_batch, score
from clso.tasks.steps import Steps

__all__ = ["Fit", "TrainSettings", "fit", "learning_rate", "train_on"]

_COSINE_END = 0.1
_SCORED_TOKENS = 1 << 15  # at once on a GPU, whose launches are dear


@dataclass(frozen=True)
class TrainSettings:
    """Settings of AdamW training on a task. Raises `ConfigError`."""

    steps: int = field(default=1000, metadata={"help": "Optimizer steps."})
    batch: int = field(default=32, metadata={"help": "Sequences in a step."})
    schedule: str = field(default="cosine", metadata={"help": "constant, or cosine down to 10 %."})
    warmup: int = field(
        default=100, metadata={"help": "Steps of linear warm-up; at most a tenth of all are used."}
    )
    weight_decay: float = field(
        default=0.01, metadata={"help": "Decoupled weight decay of the matrices."}
    )
    grad_clip: float = field(
        default=1.0, metadata={"help": "Largest gradient norm; 0: not clipped."}
    )
    eval_every: int = field(
        default=100,
        metadata={"help": "Score valid every so many steps; the best weights are kept."},
    )
    stop_after: int = field(
        default=0,
        metadata={
            "help": "Stop after so many scorings without a better one, or when every answer is right; 0: never."
        },
    )

    def __post_init__(self) -> None:
        lowest = {
            "steps": 1,
            "batch": 1,
            "warmup": 0,
            "weight_decay": 0,
            "grad_clip": 0,
            "eval_every": 1,
            "stop_after": 0,
        }
        for name, low in lowest.items():
            if not low <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is at least {low}", got=getattr(self, name))
        if self.schedule not in ("constant", "cosine"):
            raise ConfigError("schedule is constant or cosine", got=self.schedule)


@dataclass(frozen=True)
class Fit:
    """What one training did; the model holds the weights of `best_step`.

    Attributes:
        valid: the score that chose them; None if no loss was finite.
        train_curve: (step, mean training loss since the scoring before).
        valid_curve: (step, loss, accuracy).
        train_s, score_s: seconds of training steps, and of scoring valid.
        n_tokens: tokens trained on, padding left out.
    """

    steps: int
    best_step: int
    valid: Score | None
    train_curve: tuple[tuple[int, float], ...]
    valid_curve: tuple[tuple[int, float, float], ...]
    train_s: float
    score_s: float
    n_tokens: int

    def to_json(self) -> dict[str, Any]:
        """JSON types; numbers that are not finite are None."""
        return {
            "status": "ok" if self.valid else "diverged",
            "steps": self.steps,
            "best_step": self.best_step,
            "valid_loss": self.valid and self.valid.loss,
            "valid_accuracy": self.valid and self.valid.accuracy,
            "train_curve": [[step, *map(_finite, rest)] for step, *rest in self.train_curve],
            "valid_curve": [[step, *map(_finite, rest)] for step, *rest in self.valid_curve],
            "train_s": self.train_s,
            "score_s": self.score_s,
            "n_tokens": self.n_tokens,
        }


def fit(
    model: nn.Module,
    task: Task,
    settings: TrainSettings,
    lr: float,
    *,
    seed: int,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Train `model`, on `device` already, in place; the order of the examples is drawn from `seed`.

    Stops if a loss is no longer finite. The gradient's sums can differ from GPU to GPU; on one
    CPU equal seeds give equal weights. How steps are taken:
    `clso.tasks.steps`."""
    train, valid = task.split("train"), task.split("valid")
    lengths = (train.tokens != 0).sum(1)
    take = Steps(model, device, weight_decay=settings.weight_decay, grad_clip=settings.grad_clip)
    order = np.random.default_rng(seed)
    rows: np.ndarray[Any, Any] = np.empty(0, np.int64)
    best: Score | None = None
    best_step = since_best = n_tokens = step = 0
    kept = copy.deepcopy(model.state_dict())
    train_curve: list[tuple[int, float]] = []
    valid_curve: list[tuple[int, float, float]] = []
    losses: list[torch.Tensor] = []
    train_s = score_s = 0.0
    since = time.perf_counter()
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)  # a family may have dropout
        while step < settings.steps:
            while len(rows) < settings.batch:
                rows = np.concatenate([rows, order.permutation(len(train))])
            picked, rows = rows[: settings.batch], rows[settings.batch :]
            batch = make_batch(train, picked, device, few_shapes=take.replayed)
            model.train()
            losses.append(take(batch, learning_rate(settings, lr, step)))
            n_tokens += int(lengths[picked].sum())
            step += 1
            if step % settings.eval_every and step < settings.steps:
                continue
            train_loss = torch.stack(losses).mean().item()
            losses.clear()
            train_s, since = train_s + time.perf_counter() - since, time.perf_counter()
            found = score(
                model, valid, batch=_scored_at_once(task, settings, device), device=device
            )
            score_s, since = score_s + time.perf_counter() - since, time.perf_counter()
            train_curve.append((step, train_loss))
            valid_curve.append((step, found.loss, found.accuracy))
            progress(
                f"step {step}: train {train_loss:.4f}, valid {found.loss:.4f}, accuracy {found.accuracy:.4f}"
            )
            if not (math.isfinite(train_loss) and math.isfinite(found.loss)):
                break
            if best is None or found.value(task.metrics[0]) > best.value(task.metrics[0]):
                best, best_step, since_best = found, step, 0
                kept = copy.deepcopy(model.state_dict())
            else:
                since_best += 1
            if settings.stop_after and (since_best == settings.stop_after or best.exact == 1):
                break
    model.load_state_dict(kept)
    model.eval()
    return Fit(
        step, best_step, best, tuple(train_curve), tuple(valid_curve), train_s, score_s, n_tokens
    )


def train_on(
    model: nn.Module,
    task: Task,
    settings: TrainSettings,
    lr: float,
    *,
    seed: int,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """`fit`, then the one reading of test: a record of JSON types. Raises `EvaluationError` if
    training diverged."""
    model.to(device)
    done = fit(model, task, settings, lr, seed=seed, device=device, progress=progress)
    if done.valid is None:
        raise EvaluationError("training has a finite loss", got=lr, remedy="Use a lower rate.")
    at_once = _scored_at_once(task, settings, device)
    test = score(model, task.split("test"), batch=at_once, device=device)
    return {
        "task": task.name,
        "parameters": n_parameters(model),
        "seed": seed,
        "lr": lr,
        "settings": asdict(settings),
        **done.to_json(),
        "test_loss": test.loss,
        "test_accuracy": test.accuracy,
        "test_exact": test.exact,
        "test_mrr": test.mrr,
        "chance": majority_accuracy(task.split("train"), task.split("test")),
    }


def learning_rate(settings: TrainSettings, lr: float, step: int) -> float:
    """The rate of a step, from 0: linear warm-up, then constant, or a cosine to 10 %."""
    warmup = min(settings.warmup, settings.steps // 10)
    if step < warmup:
        return lr * (step + 1) / warmup
    if settings.schedule == "constant":
        return lr
    done = (step - warmup) / max(1, settings.steps - 1 - warmup)
    return lr * (_COSINE_END + (1 - _COSINE_END) * (1 + math.cos(math.pi * done)) / 2)


def _scored_at_once(task: Task, settings: TrainSettings, device: str) -> int:
    """Sequences."""
    most = _SCORED_TOKENS // task.n_positions if device.startswith("cuda") else 0
    return max(2 * settings.batch, most)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
