"""A state mixer and its gradient by kernels in CUDA C++ (`cuda_sources/nsm.cu`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.cuda import MOST_SHARED, Kernels, Launch, has_clusters

__all__ = ["Parameters", "fits", "read"]

_KERNELS = Kernels(
    "nsm",
    "n_batch n_all n_each first n_chunks n_after n_settled",
    "tokens maps norm norm_bias state_maps state_maps_bias by_input by_state input_bias state_bias "
    "initial importance states found d_found notes normed seen normed_after seen_after by_gate "
    "direct change d_read_importance d_own_tokens d_before d_gate d_own results carried d_importance "
    "to_token_maps to_token_maps_bias to_norm to_norm_bias to_state_maps to_state_maps_bias "
    "to_by_input to_by_state to_input_bias to_state_bias to_initial to_importance",
)
_BY_TURNS, _AT_ONCE = 256, 512
"""Threads of a block that goes through chunks, and of one for each chunk."""
_WARPS = _BY_TURNS // 32
_FORWARD = "nsm_advance", "nsm_read"
_TILE = 32
"""Rows and columns of a product that a block has."""
_SEGMENTS, _LEAST = 4, 8
"""Parts in which the backward pass goes through a sequence, holding everything of one at once, and
the least chunks of one."""


class Parameters(NamedTuple):
    """Of a `StateMixer`, its output map left out."""

    token_maps: Tensor
    """Read query, route query, key, value: (4 d, d)."""
    token_maps_bias: Tensor
    norm: Tensor
    norm_bias: Tensor
    state_maps: Tensor
    """Talk query, key, value: (3 d, d)."""
    state_maps_bias: Tensor
    by_input: Tensor
    """Of torch's `GRUCell`: (3 d, 2 d), (3 d, d), (3 d,) twice."""
    by_state: Tensor
    input_bias: Tensor
    state_bias: Tensor
    initial: Tensor
    """(S, d)."""
    importance: Tensor
    """(S,): a negative one is zero."""


@cache
def fits(
    device: torch.device, d: int, n_heads: int, n_states: int, chunk: int, *, gradient: bool
) -> bool:
    """Whether the kernels take these sizes there, those of the gradient, too, or only the others."""
    sizes = _sizes(d, n_heads, n_states, chunk)
    return (
        has_clusters(device)
        and d % 16 == 0
        and sizes.width % 16 == 0
        and _BY_TURNS % sizes.width == 0
        and _BY_TURNS % d == 0
        and n_heads <= 8
        and n_states <= 32
        and all(
            4 * sizes.shared[name] <= MOST_SHARED
            for name in sizes.shared
            if gradient or name in _FORWARD
        )
        and d <= 128
    )


def read(x: Tensor, parameters: Parameters, n_heads: int) -> Tensor:
    """What tokens in chunks (B, J, c, d) read, (B, J, c, d), in float32 on CUDA. Differentiable
    once."""
    out: Tensor = _Read.apply(x, n_heads, *parameters)  # type: ignore[no-untyped-call]
    return out


class _Sizes:
    """What follows from the sizes, as in the source; of each there is one."""

    def __init__(self, d: int, n_heads: int, n_states: int, chunk: int) -> None:
        self.d, self.n_heads, self.s, self.c = d, n_heads, n_states, chunk
        self.width = d // n_heads
        self.lanes = max(4, 1 << (n_states - 1).bit_length())

    @cached_property
    def macros(self) -> tuple[tuple[str, str], ...]:
        sizes = {"D": self.d, "H": self.n_heads, "S": self.s, "C": self.c}
        scale = float(torch.tensor(self.width**-0.5, dtype=torch.float32))
        return (*((key, str(n)) for key, n in sizes.items()), ("SCALE", f"{scale!r}f"))

    def _shares(self, n: int, k: int, columns: int, warps: int = _WARPS) -> int:
        """Numbers of a product with a matrix (k, n), by warps that have some columns of 16 states and
        share out the sum over k."""
        found = 1
        while 2 * found * self.padded // 16 * (n // columns) <= warps and k // 8 % (2 * found) == 0:
            found *= 2
        return found * self._rows(n)

    def _columns(self, n: int) -> int:
        """The fewest of n that warps have."""
        few = (m for m in range(8, n + 1, 8) if n % m == 0)
        return next(m for m in few if self.padded // 16 * (n // m) <= _WARPS)

    @property
    def padded(self) -> int:
        """States, in sixteens."""
        return _up(self.s, 16)

    def _rows(self, n: int) -> int:
        """Numbers of rows of n of all states, two of them side by side."""
        return self.padded // 2 * (2 * n + 16)

    @property
    def _asks(self) -> int:
        """Numbers for all states and what asks them, tokens and then states, in eights."""
        return self._rows(_up(self.c, 8) + _up(self.s, 8))

    @property
    def notes(self) -> int:
        """Numbers that the backward pass has of one head and chunk."""
        of_heads = (2 * self.c + 2 * self.s) * (self.width + 4)
        return of_heads + 4 * self._rows(self.width) + self._asks + self.padded

    @property
    def results(self) -> int:
        """And what it finds there."""
        return self._asks + self._rows(self.width)

    @cached_property
    def shared(self) -> dict[str, int]:
        """Numbers in shared memory, by kernel."""
        d, h, s, c, w, lanes = self.d, self.n_heads, self.s, self.c, self.width, self.lanes
        rows, padded, near = c + s, self.padded, s + 2 * c
        column, by_head, by_row = padded + 8, w + 4, d + 4
        reading = c * by_row, near * by_row, near * by_row
        half = 3 * w // 2
        numbers = {
            "nsm_advance": (
                self._rows(d), self._rows(2 * d), h * padded,
                self._shares(3 * w, d, half, _WARPS // 2), self._shares(3 * w, 2 * d, half),
                4 * c * by_head, padded * by_head, self._rows(2 * w), self._asks, 4,
            ),
            "nsm_read": (d * column, d * column, *reading, _AT_ONCE // 32 * (near + 1)),
            "nsm_recall": (
                d * column, d * column, 2 * d * column, rows * by_row, c * by_row,
                h * rows * (lanes + 1), h * padded, 4 * d * column, c * by_row, *reading,
                h * c * (near + 1), h * c * (near + 1), h * c * s,
            ),
            "nsm_retreat": (
                self._rows(d), self._shares(2 * w, 3 * d, 2 * w),
                self._shares(w, 3 * d, self._columns(w), _WARPS // 2),
                self.results, self._rows(3 * w), padded * by_head, 2 * (h + 1) * self._rows(d),
                2 * (self.notes + s * (5 * d + 12) + 2 * padded * d), padded, 8,
            ),
            "nsm_finish": (_AT_ONCE,),
        }  # fmt: skip
        found = {name: sum(map(_up, parts)) for name, parts in numbers.items()}
        of_product = _AT_ONCE // 32 * _TILE * (_TILE + 4)
        return found | {name: max(found[name], of_product) for name in ("nsm_recall", "nsm_finish")}

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Of products for the gradients of what maps states, and of the tokens' maps."""
        one, two, three, four = (-(-n * self.d // _TILE) for n in (1, 2, 3, 4))
        return three * (two + 2 * one), four * one


_sizes = cache(_Sizes)


def _up(n: int, to: int = 4) -> int:
    return -(-n // to) * to


class _Passage:
    """Kernels for one batch."""

    def __init__(self, x: Tensor, p: Parameters, n_heads: int) -> None:
        self.n_batch, self.n_chunks, c, d = x.shape
        self.sizes = _sizes(d, n_heads, len(p.initial), c)
        self._device, self._shared, self._macros = x.device, self.sizes.shared, self.sizes.macros
        arrays = {
            "norm": p.norm, "norm_bias": p.norm_bias,
            "state_maps": p.state_maps, "state_maps_bias": p.state_maps_bias,
            "by_input": p.by_input, "by_state": p.by_state,
            "input_bias": p.input_bias, "state_bias": p.state_bias,
            "initial": p.initial, "importance": p.importance,
        }  # fmt: skip
        # all are held as long as kernels use them
        self._rooms: list[Tensor] = []
        self._arrays: dict[str, Tensor | int] = {key: t.contiguous() for key, t in arrays.items()}
        tokens = x.reshape(-1, d).contiguous()
        self.maps = F.linear(tokens, p.token_maps, p.token_maps_bias)
        self._arrays |= {"tokens": tokens, "maps": self.maps}

    def make_room(self, **sizes: int) -> Tensor:
        """For arrays of some sizes, of whole 16 bytes all but the last: one tensor, as each costs the
        host as much as a kernel of a few microseconds."""
        *starts, end = accumulate(sizes.values(), initial=0)
        room = torch.empty(end, dtype=torch.float32, device=self._device)
        self._rooms.append(room)
        address, each = room.data_ptr(), room.element_size()
        self._arrays |= {key: address + each * at for key, at in zip(sizes, starts, strict=True)}
        return room

    def take(self, arrays: Mapping[str, Tensor]) -> Any:
        """What kernels read and write besides; the structure that they are given."""
        self._arrays |= arrays
        sizes = {"n_batch": self.n_batch, "n_all": self.n_chunks}
        self._arguments = _KERNELS.arguments(sizes, self._arrays)
        return self._arguments

    def start(self, name: str) -> None:
        arguments, sizes = self._arguments, self.sizes
        threads, blocks = _AT_ONCE, self.n_batch * self.n_chunks
        if name in ("nsm_advance", "nsm_retreat"):
            threads, blocks = _BY_TURNS, self.n_batch * sizes.n_heads
        elif name == "nsm_recall":
            blocks = self.n_batch * arguments.n_each + sum(sizes.tiles)
        elif name == "nsm_finish":
            blocks = 1 + sizes.d // 16 + sizes.tiles[1]
        how = Launch(blocks, threads, 4 * self._shared[name])
        _KERNELS.start(name, self._macros, how, arguments, self._device)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, n_heads: int, *parameters: Tensor) -> Tensor:
        p = Parameters(*parameters)
        passage = _Passage(x, p, n_heads)
        n_batch, n_chunks, _, d = x.shape
        s = len(p.initial)
        states = x.new_empty(n_chunks + 1, n_batch, s, d)
        found = torch.empty_like(x, memory_format=torch.contiguous_format)
        passage.take({"states": states, "found": found})
        for name in _FORWARD:
            passage.start(name)
        ctx.save_for_backward(x, states, *parameters)
        ctx.n_heads = n_heads
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, states, *parameters = ctx.saved_tensors
        p = Parameters(*parameters)
        by_maps, found = _backward(x, states, p, ctx.n_heads, grad)
        parts = zip(found.split_with_sizes([t.numel() for t in p]), p, strict=True)
        by_parameter = (part if t.dim() == 1 else part.view_as(t) for part, t in parts)
        return ((by_maps @ p.token_maps).view_as(x), None, *by_parameter)


def _backward(
    x: Tensor, states: Tensor, p: Parameters, n_heads: int, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the tokens' maps (B J c, 4 d), and of the parameters, one after the other."""
    passage = _Passage(x, p, n_heads)
    (n_batch, n_chunks, c, d), s = x.shape, len(p.initial)
    each = min(n_chunks, max(_LEAST, -(-n_chunks // _SEGMENTS)))
    sizes, one, chunks = passage.sizes, n_batch * s, each * n_batch
    rows, padded, heads = chunks * s, chunks * sizes.padded, chunks * n_heads
    passage.make_room(
        carried=one * d, d_importance=n_batch * n_heads * (_BY_TURNS // 8) * sizes.lanes,
        normed=rows * (d + 4), normed_after=rows * (d + 4),
        seen=rows * 2 * d, seen_after=rows * 2 * d, by_gate=rows * (4 * d + 8),
        direct=padded * d, change=padded * d, d_gate=rows * 4 * d, d_own=rows * 3 * d,
        notes=heads * sizes.notes, results=heads * sizes.results,
        d_own_tokens=chunks * c * 3 * d, d_before=(chunks + n_batch) * c * 2 * d,
        d_read_importance=n_chunks * one,
    )  # fmt: skip
    found = passage.make_room(**{f"to_{name}": t.numel() for name, t in p._asdict().items()})
    now = passage.take({"states": states, "d_found": grad.contiguous()})
    now.n_each, now.first = each, n_chunks

    def start_before(name: str, first: int) -> None:
        """For the segment from `first` on, those that were first and second being second and third."""
        now.n_settled, now.n_after, now.n_chunks = now.n_after, now.n_chunks, now.first - first
        now.first = first
        passage.start(name)

    for first in reversed(range(0, n_chunks, each)):
        start_before("nsm_recall", first)
        passage.start("nsm_retreat")
        now.normed, now.normed_after = now.normed_after, now.normed
        now.seen, now.seen_after = now.seen_after, now.seen
    start_before("nsm_recall", 0)
    start_before("nsm_finish", 0)
    return passage.maps, found
