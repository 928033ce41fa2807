"""The selective scan and its gradient by kernels in CUDA C++ (`cuda_sources/selective.cu`): segments of time are gone
through at once, each with what those before it left."""

from __future__ import annotations

import torch
from torch import Tensor

from clso.models.cuda import Kernels, Launch

__all__ = ["advance", "fits", "retreat"]

_KERNELS = Kernels(
    "selective",
    "n_batch n_tokens n_channels n_tiles n_segments length",
    "x step a b c out starts ends grad d_x d_step d_a d_b d_c by_rate by_token",
)
_MOST_STATES = 64
_WARP, _OWN, _GROUP, _STAGES, _ADDING = 32, 4, 4, 2, 256  # as in the source
_WARPS = 1056  # two for each scheduler of an H200: more segments than that are more work alone
_MOST_SEGMENTS = 128  # whose ends a segment goes through, before it starts


def fits(n_states: int) -> bool:
    """Whether the kernels take so many states a channel."""
    return n_states <= _MOST_STATES


def advance(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """`clso.models.selective.selective_scan` of contiguous float32 tensors on CUDA, and the states
    that each tile of steps starts from."""
    sizes = _Sizes(x, a)
    out, starts = torch.empty_like(x), x.new_empty(sizes.starts)
    arrays = {"x": x, "step": step, "a": a, "b": b, "c": c, "out": out, "starts": starts}
    if sizes.n_segments > 1:
        arrays["ends"] = x.new_empty(sizes.ends)
        sizes.start("selective_ends", arrays)
    sizes.start("selective_advance", arrays)
    return out, starts


def retreat(
    x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of x, step, a, b and c."""
    sizes = _Sizes(x, a)
    given = {"x": x, "step": step, "a": a, "b": b, "c": c}
    found = {f"d_{name}": torch.empty_like(t) for name, t in given.items()}
    arrays = {**given, **found, "starts": starts, "grad": grad}
    if sizes.n_segments > 1:
        arrays["ends"] = x.new_empty(sizes.ends)
        sizes.start("selective_unread", arrays)
    arrays["by_rate"], arrays["by_token"] = x.new_empty(sizes.by_rate), x.new_empty(sizes.by_token)
    sizes.start("selective_retreat", arrays)
    sizes.start("selective_add", arrays)
    return tuple(found.values())


class _Sizes:
    """How the work is shared out, and how large arrays are, whose layouts the source says."""

    def __init__(self, x: Tensor, a: Tensor) -> None:
        self.device = x.device
        self.n_batch, self.n_tokens, self.n_channels = x.shape
        self.n_states = a.shape[1]
        self.n_warps = -(-self.n_states // _OWN)
        self.threads = _WARP * self.n_warps
        self.tile = 32 if self.n_warps <= 4 else 16
        self.n_groups = -(-self.n_channels // _WARP)
        self.n_tiles = -(-self.n_tokens // self.tile)
        warps = self.n_batch * self.n_groups * self.n_warps  # of one segment
        self.length = -(-self.n_tiles // max(min(_WARPS // warps, _MOST_SEGMENTS), 1))
        self.n_segments = -(-self.n_tiles // self.length)

    @property
    def starts(self) -> tuple[int, ...]:
        return self.n_batch, self.n_tiles, self.n_groups, self.threads * _OWN

    @property
    def ends(self) -> tuple[int, ...]:
        return self.n_batch, self.n_segments, self.n_groups, self.threads * _OWN + _WARP

    @property
    def by_rate(self) -> tuple[int, ...]:
        return self.n_batch, self.n_segments, self.n_groups, self.threads * _OWN

    @property
    def by_token(self) -> tuple[int, ...]:
        return self.n_batch, self.n_tiles * self.tile // _GROUP, self.n_groups, self.threads

    def start(self, name: str, arrays: dict[str, Tensor]) -> None:
        names = "n_batch", "n_tokens", "n_channels", "n_tiles", "n_segments", "length"
        arguments = _KERNELS.arguments({name: getattr(self, name) for name in names}, arrays)
        macros = (("STATES", str(self.n_states)),)
        _KERNELS.start(name, macros, self._launch(name), arguments, self.device)

    def _launch(self, name: str) -> Launch:
        if name == "selective_add":
            rates = self.n_groups * self.threads * _OWN // _WARP
            tokens = self.n_batch * self.n_tiles * self.tile // _GROUP * self.threads
            return Launch(rates + -(-tokens // _ADDING), _ADDING, 4 * _ADDING)
        wide, narrow = self.tile * _WARP, self.tile * self.n_warps * _OWN
        segments, numbers = {
            "selective_ends": (self.n_segments - 1, _STAGES * (2 * wide + narrow)),
            "selective_advance": (
                self.n_segments,
                _STAGES * (2 * wide + 2 * narrow) + self.n_warps * wide,
            ),
            "selective_unread": (self.n_segments - 1, _STAGES * (2 * wide + narrow)),
            "selective_retreat": (
                self.n_segments,
                _STAGES * (3 * wide + 2 * narrow)
                + self.tile // _GROUP * self.threads * _OWN
                + 4 * _GROUP * self.threads,
            ),
        }[name]
        return Launch(self.n_batch * segments * self.n_groups, self.threads, 4 * numbers)
