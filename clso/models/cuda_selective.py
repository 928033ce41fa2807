"""The selective scan and its gradient by kernels in CUDA C++ (`cuda_sources/selective.cu`): segments of time are gone
through at once, each with what those before it left."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from clso.models.cuda import WARPS, Kernels, Launch, segment_length

__all__ = ["advance", "fits", "retreat"]

_KERNELS = Kernels(
    "selective",
    "n_batch n_tokens n_channels n_tiles n_segments length",
    "x step a b c out starts ends grad d_x d_step d_a d_b d_c by_rate by_token",
)
_MOST_STATES = 64
_WARP, _OWN, _GROUP, _STAGES, _ADDING = 32, 4, 4, 2, 256  # as in the source
_WARPS = WARPS


def fits(n_states: int) -> bool:
    """Whether the kernels take so many states a channel."""
    return n_states <= _MOST_STATES


def advance(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """`clso.models.selective.selective_scan` of contiguous float32 tensors on CUDA, and the states
    that each tile of steps starts from."""
    plan = _plan(*x.shape, a.shape[1], _WARPS)
    out, starts, ends = torch.empty_like(x), x.new_empty(plan.starts), x.new_empty(plan.ends)
    arrays = {"x": x, "step": step, "a": a, "b": b, "c": c}
    plan.start(["ends", "advance"], {**arrays, "out": out, "starts": starts, "ends": ends})
    return out, starts


def retreat(
    x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of x, step, a, b and c."""
    plan = _plan(*x.shape, a.shape[1], _WARPS)
    given = {"x": x, "step": step, "a": a, "b": b, "c": c}
    found = {f"d_{name}": torch.empty_like(t) for name, t in given.items()}
    shapes = {"ends": plan.ends, "by_rate": plan.by_rate, "by_token": plan.by_token}
    made = {name: x.new_empty(shape) for name, shape in shapes.items()}
    arrays = {**given, **found, **made, "starts": starts, "grad": grad}
    plan.start(["unread", "retreat", "add"], arrays)
    return tuple(found.values())


class _Plan:
    """How work is shared out, and the shapes of arrays, whose layouts the source says."""

    def __init__(
        self, n_batch: int, n_tokens: int, n_channels: int, n_states: int, n_warps: int
    ) -> None:
        """With segments for so many warps."""
        each = -(-n_states // _OWN)  # warps of a block
        threads, tile = _WARP * each, 32 if each <= 4 else 16
        n_groups, n_tiles = -(-n_channels // _WARP), -(-n_tokens // tile)
        length = segment_length(n_tiles, n_batch * n_groups * each, n_warps)
        n_segments = -(-n_tiles // length)
        self.sizes = {
            "n_batch": n_batch, "n_tokens": n_tokens, "n_channels": n_channels,
            "n_tiles": n_tiles, "n_segments": n_segments, "length": length,
        }  # fmt: skip
        self.macros = (("STATES", str(n_states)),)
        self.starts = n_batch, n_tiles, n_groups, threads * _OWN
        self.ends = n_batch, n_segments, n_groups, threads * _OWN + _WARP
        self.by_rate = n_batch, n_segments, n_groups, threads * _OWN
        n_fours = n_tiles * tile // _GROUP
        self.by_token = n_batch, n_fours, n_groups, threads
        wide, narrow, blocks = tile * _WARP, tile * each * _OWN, n_batch * n_groups
        ends = _STAGES * (2 * wide + narrow)
        sums = 4 * _GROUP * threads
        n_adding = n_groups * each * _OWN + -(-n_batch * n_fours * threads // _ADDING)
        launches = {
            "ends": (blocks * (n_segments - 1), threads, ends),
            "advance": (blocks * n_segments, threads, ends + _STAGES * narrow + each * wide),
            "unread": (blocks * (n_segments - 1), threads, ends),
            "retreat": (
                blocks * n_segments,
                threads,
                _STAGES * (3 * wide + 2 * narrow) + tile // _GROUP * threads * _OWN + sums,
            ),
            "add": (n_adding, _ADDING, _ADDING),
        }
        self.launches = {
            name: Launch(blocks, threads, 4 * numbers)
            for name, (blocks, threads, numbers) in launches.items()
            if blocks
        }

    def start(self, names: list[str], arrays: dict[str, Tensor]) -> None:
        """Kernels, one after the other, but for those that a single segment does not need."""
        arguments, device = _KERNELS.arguments(self.sizes, arrays), arrays["x"].device
        for name in names:
            if name in self.launches:
                how = self.launches[name]
                _KERNELS.start(f"selective_{name}", self.macros, how, arguments, device)


_plan = lru_cache(maxsize=256)(_Plan)
