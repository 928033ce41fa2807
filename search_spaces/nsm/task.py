"""The `nsm` space on a sequence task: a reservoir of random crystals with read-outs fitted in closed
form.

A genome's mixers and layers are random crystals. By ridge regression, from some of the task's
statistics examples, the head tells a sequence's class from the mean of the last hidden states; if
tokens are asked for, it tells each from the state before it. With the `random` library the head is
a random crystal, too: the control. Fitness is the error on the task's fitness examples. The winner
is fitted once more, on all of train (a million tokens of it, if it is longer), with the last matrix
of its last layer; neither sees valid or test.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models.gpt2 import GPT2Config
from clso.models.layers import ResidualBlock
from clso.models.nsm import SimpleNSM
from clso.models.nsm_trace import summary
from clso.search_spaces.nsm.costs import COST_NAMES
from clso.search_spaces.nsm.options import NSMOptions
from clso.search_spaces.nsm.random import RandomNSM
from clso.space import Gene, Genome, Objective, SearchSpace
from clso.space.context import SpaceContext
from clso.tasks.base import Examples, Task, load_task
from clso.tasks.models import load_model, save_model
from clso.tasks.objective import TaskObjective
from clso.tasks.scoring import Batch, majority_accuracy, make_batch, score

__all__ = ["NSMTaskSpace"]

_FITTED_ON = 1024  # examples, while candidates are compared
_WINNER_TOKENS = 1 << 20  # about, of train, on which the winner is fitted
_BATCH = 64
_RIDGE_EXAMPLES = (
    1.0  # the ridge, as a share of each feature's variance, is so many over the examples
)
_LEAST_FREE = 8  # of so many directions of the stream one is written to, at most


class Regression(NamedTuple):
    """An answer's share is `mean_answer` (n,) + `map` (n, q) @ (features - `mean`); features have
    this `covariance` (q, q)."""

    map: Tensor
    mean: Tensor
    mean_answer: Tensor
    covariance: Tensor


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
        return self._fit(genome, self._task.split("statistics")[:_FITTED_ON])

    def _fit(self, genome: Genome, examples: Examples, *, whole: bool = False) -> SimpleNSM:
        """Fitted on these examples; `whole`: with the last layer."""
        model = self._source.model(self.validate(genome))
        if self._fitted:
            model.norm.bias.fill_(1.0)  # LayerNorm's mean direction is then a constant feature
            if whole:
                self._fit_last_layer(model, examples)
            self._fit_head(model, examples)
        return model

    @torch.no_grad()
    def conclude(self, genome: Genome, folder: Path) -> dict[str, Any]:
        save_model(
            "simple-nsm", self._fit(genome, self._task.split("train"), whole=True).cpu(), folder
        )
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

    def _fit_head(self, model: SimpleNSM, examples: Examples) -> None:
        """The head's weights (answers, d_model)."""
        found = self._regress(lambda batch: model.hidden(batch.tokens) - 1, model, examples)
        # A hidden state is what was centred plus ones; what it is centred by has mean zero, as
        # every LayerNorm output.
        offset = found.mean_answer - found.map @ found.mean - found.map.sum(1)
        model.head.weight.copy_(found.map + offset[:, None] / len(found.mean))

    def _fit_last_layer(self, model: SimpleNSM, examples: Examples) -> None:
        """What the last layer's hidden units (u) can say beside its stream is written into those
        directions of the stream that say least, for the head to find."""
        block = model.blocks[-1]
        assert isinstance(block, ResidualBlock)
        assert block.mixer is not None
        assert block.mlp is not None
        mixer, (into, gelu, out), d = block.mixer, block.mlp, model.config.d_model
        assert isinstance(out, nn.Linear)

        def features(batch: Batch) -> Tensor:
            """The stream behind the last norm (d), and units as that norm would divide them (u)."""
            x = model.embed(batch.tokens)
            for earlier in model.blocks[:-1]:
                x = earlier(x)
            x = x + mixer(block.ln_1(x))
            units = gelu(into(block.ln_2(x)))
            return torch.cat((model.norm(x) - 1, units / x.std(-1, correction=0, keepdim=True)), -1)

        found = self._regress(features, model, examples)
        stream = found.covariance[:d, :d]
        # A norm takes the mean direction away.
        quietest = torch.linalg.eigh(stream + stream.trace() * torch.ones_like(stream))[1]
        rank = min(len(found.map), max(1, d // _LEAST_FREE))
        said = found.map[:, d:]
        # The main directions of what units say, by how they vary: (rank, u).
        spread = found.covariance[d:, d:]
        main = torch.linalg.eigh(said @ spread @ said.T)[1][:, -rank:]
        said = main.T @ said
        size = (
            stream.trace() / d / (said @ spread @ said.T).diagonal().mean().clamp_min(1e-30)
        ).sqrt()
        written = size * quietest[:, :rank] @ said
        out.weight.copy_(written)
        out.bias.zero_()

    def _regress(
        self, features: Callable[[Batch], Tensor], model: SimpleNSM, examples: Examples
    ) -> Regression:
        """Ridge regression from features (B, T, q) to answers: of a class from their mean over a
        sequence, of tokens from where they are asked for."""
        n_answers = len(model.head.weight)
        gram = by_answer = torch.zeros((), dtype=torch.float64, device=self._device)
        for start in range(0, len(examples), _BATCH):
            batch = make_batch(
                examples, np.arange(start, min(start + _BATCH, len(examples))), self._device
            )
            x, targets = features(batch), batch.targets
            if batch.asked is None:
                weight = batch.mask[..., None].to(x.dtype)
                x = (x * weight).sum(1) / weight.sum(1)
            else:
                x, targets = x.flatten(0, 1)[batch.asked], targets.flatten()[batch.asked]
            # Of the features and a constant: products with each other, and sums by answer.
            x = F.pad(x.double(), (0, 1), value=1.0)
            gram = gram + x.T @ x
            by_answer = by_answer + F.one_hot(targets, n_answers).to(x).T @ x
        n = gram[-1, -1]
        mean, answer = gram[-1, :-1] / n, by_answer[:, -1] / n
        covariance = gram[:-1, :-1] / n - mean[:, None] * mean
        scale = covariance.diagonal().clamp_min(1e-12).sqrt()
        correlation = covariance / scale[:, None] / scale
        correlation.diagonal().add_(_RIDGE_EXAMPLES / len(examples))
        with_answers = (by_answer[:, :-1] / n - answer[:, None] * mean) / scale
        map_ = torch.linalg.solve(correlation, with_answers.T).T / scale
        return Regression(map_, mean, answer, covariance)
