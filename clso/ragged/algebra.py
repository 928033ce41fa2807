"""Sums and products of arrays of different shapes: an entry that one of them lacks is zero.

Each function takes two tensors, or two stacks of as many items, whose items it pairs; it raises `ShapeError` for anything
else, and for operands of different ranks, types or devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor

from clso.errors import ShapeError
from clso.ragged.stack import Ragged, ambient_shape, pad_to, per_item

__all__ = ["add", "check_pair", "kronecker", "matmul", "multiply", "outer", "stacked", "subtract"]

_Binary = Callable[[Tensor, Tensor], Tensor]


@overload
def add(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def add(a: Ragged, b: Ragged) -> Ragged: ...
def add(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """a + b, of the ambient shape (the greater length on each axis)."""
    return _pointwise(torch.add, a, b)


@overload
def subtract(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def subtract(a: Ragged, b: Ragged) -> Ragged: ...
def subtract(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """a - b, of the ambient shape."""
    return _pointwise(torch.sub, a, b)


@overload
def multiply(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def multiply(a: Ragged, b: Ragged) -> Ragged: ...
def multiply(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """Entry by entry, of the ambient shape: zero outside what both have."""
    return _pointwise(torch.mul, a, b)


@overload
def matmul(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def matmul(a: Ragged, b: Ragged) -> Ragged: ...
def matmul(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """(*batch, m, k) and (*batch', k', n) -> (*ambient batch, m, n), as after promotion with zeros; of rank 2 at least.

    Only what both have is multiplied.
    """
    return stacked(_matmul, a, b)


@overload
def kronecker(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def kronecker(a: Ragged, b: Ragged) -> Ragged: ...
def kronecker(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """The Kronecker product of two arrays of one rank; axis lengths multiply.

    It is associative and distributes from the right, (a + b) x c = a x c + b x c, and padding `a` with zeros pads the
    product. It is no semiring on zero-padding classes: the length of `b` is the stride of the result, so [1, 1] x [1] is
    [1, 1] but [1, 1] x [1, 0] is [1, 0, 1, 0], and [1, 1] x ([1] + [0, 1]) differs from the sum of the products. `outer` is
    what holds.
    """
    return stacked(_kronecker, a, b)


@overload
def outer(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def outer(a: Ragged, b: Ragged) -> Ragged: ...
def outer(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """The tensor product: shape a.shape + b.shape, any ranks. Associative, bilinear, well defined on zero-padding classes."""
    return stacked(_outer, a, b)


def stacked(function: _Binary, a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    """`function` of two tensors, or of the paired items of two stacks as a stack."""
    found = per_item(function, a, b)
    return Ragged.stack(found) if isinstance(found, list) else found


def check_pair(a: Tensor, b: Tensor, *, ranks: bool = True) -> None:
    """Raises `ShapeError` for operands of different types, devices or (with `ranks`) ranks."""
    for what in ("dtype", "device"):
        if getattr(a, what) != getattr(b, what):
            raise ShapeError(
                f"operands have one {what}",
                problem=f"they are {getattr(a, what)} and {getattr(b, what)}",
            )
    if ranks and a.dim() != b.dim():
        raise ShapeError("operands have one rank", problem=f"the ranks are {a.dim()} and {b.dim()}")


def _pointwise(function: _Binary, a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor | Ragged:
    if isinstance(a, Ragged) and isinstance(b, Ragged) and a.shapes == b.shapes:
        check_pair(a.values, b.values)
        return Ragged(function(a.values, b.values), a.shapes)

    def promoted(x: Tensor, y: Tensor) -> Tensor:
        check_pair(x, y)
        ambient = ambient_shape([tuple(x.shape), tuple(y.shape)])
        return function(pad_to(x, ambient), pad_to(y, ambient))

    return stacked(promoted, a, b)


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    check_pair(a, b)
    if a.dim() < 2:
        raise ShapeError(
            "matmul takes matrices, or batches of them",
            problem=f"the operand has rank {a.dim()}",
            remedy="Use x[None].",
        )
    ambient = [max(n, m) for n, m in zip(a.shape[:-2], b.shape[:-2], strict=True)]
    for axis in range(a.dim() - 2):
        common = min(a.shape[axis], b.shape[axis])
        a, b = a.narrow(axis, 0, common), b.narrow(axis, 0, common)
    inner = min(a.shape[-1], b.shape[-2])
    found = a.narrow(-1, 0, inner) @ b.narrow(-2, 0, inner)
    return pad_to(found, (*ambient, a.shape[-2], b.shape[-1]))


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    check_pair(a, b)
    return torch.kron(a, b)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    check_pair(a, b, ranks=False)
    return a.reshape(*a.shape, *(1,) * b.dim()) * b
