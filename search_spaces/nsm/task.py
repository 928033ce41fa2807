"""The `nsm` space on a sequence task: a reservoir of random crystals with a head fitted in closed
form.

A genome's mixers and layers are random crystals. By ridge regression, from the task's statistics
examples, the head tells a sequence's class from the mean of the last hidden states; if tokens
are asked for, it tells each from the state before it. With the `random` library the head is a
random crystal, too: the control. Fitness is the error on the task's fitness examples; neither sees
valid or test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.models.gpt2 import GPT2Config
from clso.models.nsm import SimpleNSM
from clso.models.nsm_trace import summary
from clso.search_spaces.nsm.costs import COST_NAMES
from clso.search_spaces.nsm.options import NSMOptions
from clso.search_spaces.nsm.random import RandomNSM
from clso.space import Gene, Genome, Objective, SearchSpace
from clso.space.context import SpaceContext
from clso.tasks.base import Task, load_task
from clso.tasks.models import load_model, save_model
from clso.tasks.objective import TaskObjective
from clso.tasks.scoring import majority_accuracy, make_batch, score

__all__ = ["NSMTaskSpace"]

_FITTED_ON = 1024  # examples
_BATCH = 64
_RIDGE = 1e-3  # of the mean eigenvalue


class NSMTaskSpace(SearchSpace):
    """NSMs that answer a task."""

    name = "nsm"
    cost_names = COST_NAMES

    def __init__(self, context: SpaceContext, options: NSMOptions) -> None:
        """The task says how long a context is, and not `options.n_positions`."""
        self._task: Task = load_task(context.task, context.task_options, context.seed)
        self._fitted, self._device = options.library == "grown", context.device
        sizes = {**options.sizes, "n_positions": self._task.n_positions}
        config = GPT2Config(vocab_size=len(self._task.vocab), **sizes)
        self._source = RandomNSM(
            config,
            options.random_library(context.seed),
            torch.device(context.device),
            n_classes=self._task.n_classes,
            fitted_head=self._fitted,
        )

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._source.genes

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        return self._source.descriptors()

    def costs(self, genome: Genome) -> dict[str, float]:
        return self._source.costs(self.validate(genome))

    def decode(self, genome: Genome) -> dict[str, str]:
        return self.describe(genome)

    def objective(self) -> Objective:
        return TaskObjective(
            self._task, self.model, measure="error", device=self._device, batch=_BATCH
        )

    @torch.no_grad()
    def model(self, genome: Genome) -> SimpleNSM:
        """One genome, ready to answer, on the search's device."""
        model = self._source.model(self.validate(genome))
        if self._fitted:
            model.norm.bias.fill_(1.0)  # LayerNorm's mean direction is then a constant feature
            model.head.weight.copy_(self._read_out(model))
        return model

    def conclude(self, genome: Genome, folder: Path) -> dict[str, Any]:
        save_model("simple-nsm", self.model(genome).cpu(), folder)
        model = load_model(folder, device=self._device)
        best: dict[str, Any] = {
            "chance": majority_accuracy(self._task.split("train"), self._task.split("test"))
        }
        for split in ("valid", "test"):
            found = score(model, self._task.split(split), batch=_BATCH, device=self._device)
            best |= {f"{split}_accuracy": found.accuracy, f"n_{split}_examples": found.n_targets}
        assert isinstance(model, SimpleNSM)
        valid = self._task.split("valid")
        longest = np.argsort(-(valid.tokens != 0).sum(1), kind="stable")[:_BATCH]
        trace = model.trace(make_batch(valid, longest, self._device).tokens)
        return {"task": self._task.describe(), "states": summary(trace), "best": best}

    def _read_out(self, model: SimpleNSM) -> Tensor:
        """The head's weights (answers, d_model)."""
        examples = self._task.split("statistics")[:_FITTED_ON]
        n_answers, d = model.head.weight.shape
        # Of the features and a constant: products with each other, and sums by answer.
        gram = torch.zeros(d + 1, d + 1, dtype=torch.float64, device=self._device)
        by_answer = torch.zeros(n_answers, d + 1, dtype=torch.float64, device=self._device)
        for start in range(0, len(examples), _BATCH):
            batch = make_batch(
                examples, np.arange(start, min(start + _BATCH, len(examples))), self._device
            )
            hidden, targets = model.hidden(batch.tokens), batch.targets
            if targets.dim() == 1:
                weight = batch.mask[..., None].to(hidden.dtype)
                x = (hidden * weight).sum(1) / weight.sum(1)
            else:
                x, targets = hidden[targets != 0], targets[targets != 0]
            x = torch.nn.functional.pad(x.double() - 1, (0, 1), value=1.0)
            gram += x.T @ x
            by_answer.index_add_(0, targets, x)
        n = gram[-1, -1]
        mean_x, mean_y = gram[-1, :-1] / n, by_answer[:, -1] / n
        covariance = gram[:-1, :-1] - n * mean_x[:, None] * mean_x
        covariance.diagonal().add_(_RIDGE * covariance.diagonal().mean() + 1e-9)
        map_ = torch.linalg.solve(
            covariance, (by_answer[:, :-1] - n * mean_y[:, None] * mean_x).T
        ).T
        # A hidden state is what was centred plus ones; what it is centred by has mean zero, as
        # every LayerNorm output.
        offset = mean_y - map_ @ mean_x - map_.sum(1)
        out: Tensor = (map_ + offset[:, None] / d).float()
        return out
