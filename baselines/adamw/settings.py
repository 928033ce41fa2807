"""Settings of the AdamW baseline, and the learning rate of every step that they mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from clso.errors import ConfigError

__all__ = ["COSINE_END", "AdamWSettings", "learning_rates"]

COSINE_END = 0.1
"""What a cosine schedule ends at, as a share of the full rate (Hoffmann et al. 2022,
arXiv:2203.15556)."""

_CHOICES = {
    "schedule": ("constant", "cosine"),
    "precision": ("auto", "fp32", "tf32", "bf16"),
    "kernels": ("auto", "compiled", "eager"),
}
_LOWEST = {
    "steps": 1,
    "batch": 1,
    "pad_to": 1,
    "warmup": 0,
    "eval_every": 0,
    "stop_after": 0,
    "weight_decay": 0,
    "grad_clip": 0,
}
_KINDS = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a word"}


@dataclass(frozen=True)
class AdamWSettings:
    """Settings of AdamW training; the defaults are the reference protocol. Raises `ConfigError`."""

    lr: tuple[float, ...] = field(
        default=(5e-4,),
        metadata={"help": "Learning rates; all are trained, the best by valid loss wins."},
    )
    steps: int = field(default=500, metadata={"help": "Optimizer steps."})
    batch: int = field(default=4, metadata={"help": "Blocks of n_positions tokens in a step."})
    schedule: str = field(
        default="constant", metadata={"help": "constant, or cosine down to 10 %."}
    )
    warmup: int = field(default=0, metadata={"help": "Steps of linear warm-up."})
    weight_decay: float = field(
        default=0.01, metadata={"help": "Decoupled weight decay of the matrices."}
    )
    betas: tuple[float, ...] = field(
        default=(0.9, 0.999), metadata={"help": "Decay of both moments."}
    )
    grad_clip: float = field(
        default=0.0, metadata={"help": "Largest gradient norm; 0: not clipped."}
    )
    tied_head: bool = field(
        default=False, metadata={"help": "Share the output head with the embedding."}
    )
    eval_every: int = field(
        default=0,
        metadata={
            "help": "Score valid every so many steps and keep the best weights; 0: the last ones."
        },
    )
    stop_after: int = field(
        default=3,
        metadata={
            "help": "With eval_every: stop after so many scorings without a better one; 0: never."
        },
    )
    precision: str = field(
        default="auto",
        metadata={"help": "fp32, tf32 or bf16 (autocast); auto: bf16 on CUDA, fp32 on CPU."},
    )
    graph: bool = field(
        default=True, metadata={"help": "Replay the whole step as a CUDA graph (CUDA only)."}
    )
    kernels: str = field(
        default="auto",
        metadata={
            "help": "compiled (torch.compile) or eager; auto: compiled on CUDA if that works."
        },
    )
    memory: bool = field(
        default=False,
        metadata={
            "help": "Mix counted memory into the trained model, which then learns from the statistics text alone: "
            "the mixture's weights are fitted on the fitness text."
        },
    )
    pad_to: int = field(
        default=64,
        metadata={
            "help": "In tf32 and bf16 on CUDA, compute the head on a multiple of so many rows; 1: as it is."
        },
    )

    @property
    def text(self) -> str:
        """The split that is trained on."""
        return "statistics" if self.memory else "train"

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _typed(f.name, str(f.type), getattr(self, f.name)))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is one of {', '.join(allowed)}", got=getattr(self, name))
        for name, low in _LOWEST.items():
            if not low <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is at least {low}", got=getattr(self, name))
        if (
            not self.lr
            or not all(0 < rate < math.inf for rate in self.lr)
            or len(set(self.lr)) < len(self.lr)
        ):
            raise ConfigError("lr holds distinct positive rates", got=list(self.lr))
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                "betas are two numbers from 0 up to, not including, 1", got=list(self.betas)
            )
        if self.warmup >= self.steps:
            raise ConfigError("warmup is shorter than steps", got=(self.warmup, self.steps))
        if self.eval_every > self.steps:
            raise ConfigError("eval_every is at most steps", got=(self.eval_every, self.steps))


def _typed(name: str, kind: str, value: Any) -> Any:
    """`value` as its field's type: whole numbers pass for floats, lists and single numbers for
    tuples."""
    if kind.startswith("tuple"):
        values = value if isinstance(value, (tuple, list)) else (value,)
        return tuple(_typed(name, "float", v) for v in values)
    if kind == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != kind:
        raise ConfigError(f"{name} is {_KINDS[kind]}", got=value)
    return value


def learning_rates(settings: AdamWSettings, lr: float) -> Tensor:
    """The rate of each step, (steps,) float32: linear warm-up to `lr`, then constant or a cosine to
    10 %."""
    step = torch.arange(settings.steps, dtype=torch.float64)
    rates = torch.full_like(step, lr)
    if settings.schedule == "cosine":
        progress = ((step - settings.warmup) / max(1, settings.steps - 1 - settings.warmup)).clamp(
            0, 1
        )
        rates *= COSINE_END + (1 - COSINE_END) * (1 + torch.cos(math.pi * progress)) / 2
    if settings.warmup:
        rates *= ((step + 1) / settings.warmup).clamp(max=1)
    return rates.float()
