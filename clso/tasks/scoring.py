"""Examples as tensors, and what a model's answers on them are worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.device import sent
from clso.errors import ConfigError
from clso.tasks.base import Examples, Targets
from clso.tasks.metrics import perplexity

__all__ = ["Batch", "Score", "answers", "batches", "majority_accuracy", "make_batch", "score"]

_WIDTHS = 16


@dataclass(frozen=True)
class Batch:
    """tokens (B, T) int64, 0 = padding; mask (B, T) bool, true on tokens; targets (B,) or (B, T)
    int64; of the latter `asked` (n,) says which of all B T are not 0, if only these are wanted."""

    tokens: Tensor
    mask: Tensor
    targets: Tensor
    asked: Tensor | None


@dataclass(frozen=True)
class Score:
    """Of all targets: mean loss (nats), accuracy, and mean reciprocal rank.

    `exact` is the share of sequences with no wrong answer. If every sequence has one target it
    equals accuracy."""

    loss: float
    accuracy: float
    exact: float
    mrr: float
    n_targets: int

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss)

    def value(self, metric: str) -> float:
        """What a trainer maximises for the first of a task's metrics. Raises `ConfigError` for
        another metric."""
        if metric not in ("accuracy", "perplexity"):
            raise ConfigError("the first metric of a task is accuracy or perplexity", got=metric)
        return self.accuracy if metric == "accuracy" else -self.loss


def make_batch(
    examples: Examples, rows: Targets, device: str, *, few_shapes: bool = False
) -> Batch:
    """The examples at `rows`, as long as the longest of them. Of `few_shapes` they are longer, by up
    to `_WIDTHS` - 1, and every token is answered if one is. The host does not wait for the device,
    neither here nor in `answers`."""
    part, on = examples[rows], torch.device(device)
    width = int((part.tokens != 0).sum(1).max())
    if few_shapes:
        width += -width % _WIDTHS  # what the examples do not have is cut off again
    tokens = sent(torch.from_numpy(part.tokens[:, :width].astype(np.int64)), on)
    by_token = part.targets.ndim == 2
    targets = (part.targets[:, :width] if by_token else part.targets).astype(np.int64)
    chosen = by_token and not few_shapes
    asked = sent(torch.from_numpy(np.flatnonzero(targets)), on) if chosen else None
    return Batch(tokens, tokens != 0, sent(torch.from_numpy(targets), on), asked)


def batches(examples: Examples, size: int, device: str = "cpu") -> Iterator[Batch]:
    """All examples, sorted by length so that little is padding; the order of equal lengths is
    kept."""
    order = np.argsort((examples.tokens != 0).sum(1), kind="stable")
    for start in range(0, len(order), size):
        yield make_batch(examples, order[start : start + size], device)


def answers(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (n, C) of everything that is asked in a batch, and the n targets."""
    logits: Tensor = model(batch.tokens, batch.mask)
    if batch.asked is None:
        return logits.reshape(-1, logits.shape[-1]), batch.targets.flatten()
    return logits.flatten(0, 1).index_select(0, batch.asked), batch.targets.flatten()[batch.asked]


@torch.no_grad()
def score(model: nn.Module, examples: Examples, *, batch: int = 64, device: str = "cpu") -> Score:
    """Measure a model, left in the mode (training or not) that it was in; the device is waited for
    once."""
    was_training = model.training
    model.eval()
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    for part in batches(examples, batch, device):
        logits, targets = answers(model, part)
        logits = logits.float()
        own = logits.gather(1, targets[:, None])
        above, ties = (logits > own).sum(1), (logits == own).sum(1) - 1
        right = logits.argmax(1) == targets
        wrong = (
            torch.ones_like(part.targets, dtype=torch.bool)
            if part.targets.dim() == 1
            else part.targets != 0
        )
        wrong[wrong.clone()] = ~right
        exact = ~wrong if wrong.dim() == 1 else ~wrong.any(1)
        losses = F.cross_entropy(logits, targets, reduction="none").double()
        ranks = 1 + above + ties / 2
        parts = (losses.sum(), right.sum(), exact.sum(), (1 / ranks).double().sum(), right.numel())
        sums += torch.stack([torch.as_tensor(p, dtype=torch.float64, device=device) for p in parts])
    model.train(was_training)
    loss, right_, exact_, reciprocal, n = sums.tolist()
    return Score(loss / n, right_ / n, exact_ / len(examples), reciprocal / n, int(n))


def majority_accuracy(train: Examples, test: Examples) -> float:
    """Chance: the accuracy of always answering what is asked for most often in train."""
    seen, asked = (
        e.targets if e.targets.ndim == 1 else e.targets[e.targets != 0] for e in (train, test)
    )
    return float((asked == np.bincount(seen).argmax()).mean())
