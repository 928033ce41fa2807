"""Models whose figures are known without measuring them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from clso.energy import EnergyMeter
from clso.energy.backend import NullBackend
from clso.probe.context import Context
from clso.probe.settings import ProbeSettings
from clso.probe.traces import Trace
from clso.tasks.base import Task, load_task
from clso.tasks.listops import TOKENS, evaluate

SIZES = {"n_train": 40, "n_valid": 20, "n_test": 40, "max_length": 40}


@dataclass(frozen=True)
class KnownConfig:
    vocab_size: int = 16
    d_model: int = 4
    n_layers: int = 1
    n_heads: int = 1
    n_positions: int = 39
    n_classes: int = 10


class Constant(nn.Module):
    """Always the first class, as sure as `Oracle`; 64 weights."""

    name = "constant"
    Config = KnownConfig

    def __init__(self, config: KnownConfig | None = None) -> None:
        super().__init__()
        self.config = config or KnownConfig()
        self.weights = nn.Parameter(torch.zeros(self.config.vocab_size, 4))

    def answer(self, row: list[int]) -> int:
        return 0

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        logits = self.weights.sum() + torch.zeros(len(tokens), self.config.n_classes)
        for i, row in enumerate(tokens.tolist()):
            logits[i, self.answer([t for t in row if t])] += 5.0
        return logits


class Oracle(Constant):
    """The value of every expression; the first class of what is none."""

    name = "oracle"

    def answer(self, row: list[int]) -> int:
        try:
            return evaluate([TOKENS[t] for t in row])
        except Exception:
            return 0


class Late(Constant):
    """Takes 5 ms a sequence."""

    def answer(self, row: list[int]) -> int:
        time.sleep(0.005)
        return 0


def context(model: nn.Module, task: Task | None = None, n: int = 40) -> Context:
    task = task or load_task("listops", SIZES)
    settings = ProbeSettings(("oracle",), device="cpu", repeats=2, min_time_s=0.01, examples=n)
    meter = EnergyMeter(NullBackend("switched off"))
    return Context(model.eval(), task, settings, meter, task.split("test")[:n])


def trace(tokens: list[int], routing: list[int] | np.ndarray, n_states: int = 4) -> Trace:
    """One layer and one head; each token to the one state named, or as given (T, S)."""
    weights = np.asarray(routing, np.float64)
    if weights.ndim == 1:
        weights = np.eye(n_states)[weights.astype(int)]
    return Trace(np.array(tokens, np.uint16), weights[None, None], None)


def moving(states: np.ndarray) -> Trace:
    """A trace with the states (J + 1, S, d) of one layer."""
    return Trace(np.array([1], np.uint16), np.ones((1, 1, 1, 1)), states[None])
