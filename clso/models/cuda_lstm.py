"""An LSTM's recurrence and its gradient by kernels in CUDA C++ (`cuda_sources/lstm.cu`): a block goes through the
steps of a sequence with the recurrent weights in registers. cuDNN starts kernels for each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.cuda import Kernels, Launch

__all__ = ["fits", "lstm"]

_KERNELS = Kernels("lstm", "n_batch n_steps", "gates weight hidden cell opened grad d_gates")
_MOST_BATCH = 128  # sequences, a block each; cuDNN shares its kernels out among more


def fits(n_batch: int, d: int) -> bool:
    """Whether the kernels take these sizes."""
    return n_batch <= _MOST_BATCH and d <= 64


def lstm(gates: Tensor, weight: Tensor) -> Tensor:
    """Hidden states (B, T, d) from what the inputs add to the gates (B, T, 4 d), biases included, and
    recurrent weights (4 d, d). In float32 on CUDA. Differentiable once."""
    out: Tensor = _LSTM.apply(gates.contiguous(), weight.contiguous())  # type: ignore[no-untyped-call]
    return out


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor) -> Tensor:
        n_batch, n_steps, _ = gates.shape
        hidden, cell = gates.new_empty(2, n_batch, n_steps, weight.shape[1]).unbind()
        arrays = {"hidden": hidden, "cell": cell, "opened": torch.empty_like(gates)}
        _start("lstm_advance", {"gates": gates, "weight": weight, **arrays})
        ctx.save_for_backward(weight, *arrays.values())
        return hidden

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        weight, hidden, cell, opened = ctx.saved_tensors
        arrays = {"weight": weight, "cell": cell, "opened": opened, "grad": grad.contiguous()}
        d_gates = torch.empty_like(opened)
        _start("lstm_retreat", {**arrays, "d_gates": d_gates})
        before = F.pad(hidden[:, :-1], (0, 0, 1, 0))
        d_weight: Tensor = d_gates.flatten(0, 1).t() @ before.flatten(0, 1)
        return d_gates, d_weight


def _start(name: str, arrays: dict[str, Tensor]) -> None:
    (n_batch, n_steps, _), d = arrays["opened"].shape, arrays["weight"].shape[1]
    units = d + -d % 16
    shared = 2 * (4 if name == "lstm_advance" else 16) * (units // 4 + 4)
    arguments = _KERNELS.arguments({"n_batch": n_batch, "n_steps": n_steps}, arrays)
    how = Launch(n_batch, 4 * units, 4 * shared)
    _KERNELS.start(name, (("UNITS", str(d)),), how, arguments, arrays["weight"].device)
