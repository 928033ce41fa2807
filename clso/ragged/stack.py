"""`Ragged`: a list of arrays of one rank and any shapes, in one flat tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.errors import ShapeError

__all__ = ["Ragged", "ambient_shape", "pad_to", "per_item"]

_T = TypeVar("_T")


class Ragged:
    """Items of one rank, type and device; storage is exactly the sum of their elements.

    Example:
        >>> r = Ragged.stack([torch.ones(2), torch.ones(5)])
        >>> len(r), r.values.numel(), tuple(r.to_dense().shape)
        (2, 7, (2, 5))

    Attributes:
        values: (n_elements,), the items one after the other, each in row-major order.
        offsets: (n_items + 1,) int64 on the CPU; item i is `values[offsets[i]:offsets[i + 1]]`.
        shapes: of the items.
    """

    def __init__(self, values: Tensor, shapes: Sequence[tuple[int, ...]]) -> None:
        """`values` (n_elements,) in the order of `shapes`. Raises `ShapeError` if they do not fit, or ranks differ."""
        if not shapes:
            raise ShapeError(
                "a stack holds at least one item", got=0, remedy="An empty item is torch.empty(0)."
            )
        rank = len(shapes[0])
        for i, shape in enumerate(shapes):
            if len(shape) != rank:
                raise ShapeError(
                    f"items have the rank of item 0, {rank}",
                    problem=f"item {i} has rank {len(shape)}",
                )
        sizes = [math.prod(shape) for shape in shapes]
        if values.dim() != 1 or len(values) != sum(sizes):
            raise ShapeError(
                f"values are flat, {sum(sizes)} for these shapes", got=tuple(values.shape)
            )
        self.values, self.shapes = values, [tuple(shape) for shape in shapes]
        self._bounds = [0, *accumulate(sizes)]
        self.offsets = torch.tensor(self._bounds)

    @classmethod
    def stack(cls, items: Sequence[Tensor]) -> Ragged:
        """One after the other (the operator Stack_k). Raises `ShapeError` for no items, or mixed ranks, types or devices."""
        items = list(items)
        for i, item in enumerate(items[1:], 1):
            for what in ("dtype", "device"):
                first, found = getattr(items[0], what), getattr(item, what)
                if found != first:
                    raise ShapeError(
                        f"items have the {what} of item 0, {first}", problem=f"item {i} has {found}"
                    )
        shapes = [tuple(item.shape) for item in items]
        values = torch.cat([item.reshape(-1) for item in items]) if items else torch.empty(0)
        return cls(values, shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: int) -> Tensor:
        """Item i: a view of `values`."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"item {i} of {len(self)}")  # ends Python's own iteration
        i %= len(self)
        return self.values[self._bounds[i] : self._bounds[i + 1]].view(self.shapes[i])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Ragged({len(self)} items of rank {self.rank}, {self.values.numel()} elements, {self.values.dtype})"

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    def unbind(self) -> list[Tensor]:
        """The items, as views."""
        return list(self)

    def to_dense(self) -> Tensor:
        """(n_items, *ambient): every item promoted with zeros to the least shape that holds all of them."""
        ambient = ambient_shape(self.shapes)
        return torch.stack([pad_to(item, ambient) for item in self])


def ambient_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The least shape that holds all of `shapes`, which have one rank."""
    return tuple(max(axis) for axis in zip(*shapes, strict=True))


def pad_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """`x` with trailing zeros up to `shape`, which is nowhere smaller."""
    if tuple(x.shape) == tuple(shape):
        return x
    return F.pad(
        x,
        [
            n
            for have, want in zip(reversed(x.shape), reversed(shape), strict=True)
            for n in (0, want - have)
        ],
    )


def per_item(
    function: Callable[[Tensor, Tensor], _T], a: Tensor | Ragged, b: Tensor | Ragged
) -> _T | list[_T]:
    """`function` of two tensors, or of two stacks item by item. Raises `ShapeError` for one of each, or unequal counts."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return function(a, b)
    if not isinstance(a, Ragged) or not isinstance(b, Ragged):
        raise ShapeError(
            "both operands are tensors, or both are stacks",
            problem=f"these are {type(a).__name__} and {type(b).__name__}",
            remedy="Stack the tensor once for each item.",
        )
    if len(a) != len(b):
        raise ShapeError("stacks have as many items", problem=f"they have {len(a)} and {len(b)}")
    return [function(x, y) for x, y in zip(a, b, strict=True)]
