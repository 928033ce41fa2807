"""Selective state spaces, S6 (Gu and Dao 2023, arXiv 2312.00752): diagonal, with steps that depend
on the input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models import native, native_selective
from clso.models.fused import difference, is_possible, is_trusted, with_gradients
from clso.models.layers import Layer
from clso.models.scan import in_segments, linear_scan

__all__ = ["SelectiveSSM", "selective_scan"]

_CONV = 4  # tokens that the short convolution sees
_SEGMENT = 256  # tokens whose states are held at once; on a GPU, whose launches are dear, four times as many
_STEP_RANGE = (1e-3, 1e-1)  # of the step sizes that training starts with


def selective_scan(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """y_t = C_t h_t with h_t = exp(step_t A) h_{t-1} + step_t B_t x_t (equation 2, discretised as
    in section 3.6).

    x, step (B, T, E); a (E, N), negative; b, c (B, T, N) -> (B, T, E). Linear time; the states (T,
    E, N) are never held together, the gradient computes them again, as the paper's kernel does
    (section 3.3.2)."""
    if native.is_possible(x):
        in_c = _by(native_selective)
        if is_trusted("selective scan in C", x.device, lambda: _difference(x.device, 4, in_c)):
            return in_c(x, step, a, b, c)
    elif is_possible(x):
        from clso.models import cuda_selective

        scan, n = _by(cuda_selective), a.shape[1]
        if cuda_selective.fits(n) and is_trusted(
            "selective scan", (x.device, n), lambda: _difference(x.device, n, scan)
        ):
            return scan(x, step, a, b, c)
    return _plain(x, step, a, b, c)


class _Kernels(Protocol):
    """A scan, and its gradient from the states that parts of it started from."""

    def advance(
        self, x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, /
    ) -> tuple[Tensor, Tensor]: ...

    def retreat(
        self,
        x: Tensor,
        step: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        starts: Tensor,
        grad: Tensor,
        /,
    ) -> tuple[Tensor, ...]: ...


def _by(kernels: _Kernels) -> Callable[..., Tensor]:
    """`selective_scan` by kernels, differentiable once."""

    def scan(*inputs: Tensor) -> Tensor:
        out: Tensor = _Scan.apply(kernels, *(t.contiguous() for t in inputs))  # type: ignore[no-untyped-call]
        return out

    return scan


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: _Kernels, *inputs: Tensor) -> Tensor:
        out, starts = kernels.advance(*inputs)
        ctx.kernels = kernels
        ctx.save_for_backward(*inputs, starts)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *ctx.kernels.retreat(*ctx.saved_tensors, grad.contiguous()))


def _difference(device: torch.device, n_states: int, scan: Callable[..., Tensor]) -> float:
    """Between a scan and plain torch: of results and all gradients."""
    generator = torch.Generator().manual_seed(0)
    n = n_states
    inputs = [
        torch.randn(shape, generator=generator).to(device)
        for shape in ((2, 270, 3), (2, 270, 3), (3, n), (2, 270, n), (2, 270, n))
    ]
    inputs[1], inputs[2] = inputs[1].abs(), -inputs[2].abs()
    return difference(*(with_gradients(go, inputs) for go in (scan, _plain)))


def _plain(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    def segment(h: Tensor, x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        states = linear_scan(
            torch.exp(step[..., None] * a), (step * x)[..., None] * b[:, :, None], h
        )
        return states[:, -1].clone(), (states @ c[..., None])[..., 0]

    size = 4 * _SEGMENT if x.is_cuda else _SEGMENT
    return in_segments(segment, x.new_zeros(len(x), *a.shape), (x, step, b, c), size)[1]


class SelectiveSSM(Layer):
    """The Mamba layer: a gated short convolution and a selective scan of width 2 d_model with
    `d_state` states a channel.

    Parameters are named as in `transformers.models.mamba`, so that weights of one load into the
    other."""

    def __init__(self, d_model: int, d_state: int = 16) -> None:
        super().__init__()
        self.d_model, self.d_state, self.d_inner, self.rank = (
            d_model,
            d_state,
            2 * d_model,
            math.ceil(d_model / 16),
        )
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, _CONV, groups=self.d_inner)
        self.x_proj = nn.Linear(self.d_inner, self.rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.rank, self.d_inner)
        self.A_log = nn.Parameter(torch.zeros(self.d_inner, d_state))
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def init_own(self, generator: torch.Generator) -> None:
        """S4D-real states 1..N, skips of 1, step sizes log-uniform in 0.001 to 0.1 (section
        3.6)."""
        self.A_log.copy_(torch.arange(1, self.d_state + 1).log().expand_as(self.A_log))
        self.D.fill_(1.0)
        bias = self.dt_proj.bias
        low, high = map(math.log, _STEP_RANGE)
        step = torch.empty_like(bias).uniform_(low, high, generator=generator).exp()
        bias.copy_(step + torch.log(-torch.expm1(-step)))  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.in_proj(x).chunk(2, dim=-1)
        x = F.silu(self.conv1d(F.pad(x.transpose(1, 2), (_CONV - 1, 0)))).transpose(1, 2)
        step, b, c = self.x_proj(x).split((self.rank, self.d_state, self.d_state), dim=-1)
        y = selective_scan(x, F.softplus(self.dt_proj(step)), -torch.exp(self.A_log), b, c)
        out: Tensor = self.out_proj((y + self.D * x) * F.silu(gate))
        return out

    def flops(self, n_tokens: int) -> int:
        matrices = 3 * self.d_model + 2 * self.rank + 2 * self.d_state
        return 2 * self.d_inner * (matrices + _CONV + self.d_state) * n_tokens
