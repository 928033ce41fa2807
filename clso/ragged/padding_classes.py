"""Zero-padding classes: arrays that differ by trailing zeros alone.

A document is no such class: its length is part of it, and softmax does not respect the classes (it gives [1, 2] other
weights than [1, 2, 0]). So a model shrinks nothing.
"""

from __future__ import annotations

from typing import overload

from torch import Tensor

from clso.errors import ConfigError
from clso.ragged.algebra import check_pair
from clso.ragged.stack import Ragged, ambient_shape, pad_to, per_item

__all__ = ["equivalent", "shrink"]


@overload
def shrink(x: Tensor, tol: float = 0) -> Tensor: ...
@overload
def shrink(x: Ragged, tol: float = 0) -> Ragged: ...
def shrink(x: Tensor | Ragged, tol: float = 0) -> Tensor | Ragged:
    """The minimal representative: trailing hyperplanes of zeros go, zeros between others stay.

    What is at most `tol` in size counts as zero. An array of zeros alone becomes empty on every axis.
    """
    _check(tol)
    if isinstance(x, Ragged):
        return Ragged.stack([_shrink(item, tol) for item in x])
    return _shrink(x, tol)


@overload
def equivalent(a: Tensor, b: Tensor, tol: float = 0) -> bool: ...
@overload
def equivalent(a: Ragged, b: Ragged, tol: float = 0) -> list[bool]: ...
def equivalent(a: Tensor | Ragged, b: Tensor | Ragged, tol: float = 0) -> bool | list[bool]:
    """Whether two arrays of one rank differ by at most `tol`, once promoted to one shape; for stacks, item by item."""
    _check(tol)

    def test(x: Tensor, y: Tensor) -> bool:
        check_pair(x, y)
        ambient = ambient_shape([tuple(x.shape), tuple(y.shape)])
        return bool(((pad_to(x, ambient) - pad_to(y, ambient)).abs() <= tol).all())

    return per_item(test, a, b)


def _check(tol: float) -> None:
    if not 0 <= tol < float("inf"):
        raise ConfigError("tol is a number of at least 0", got=tol)


def _shrink(x: Tensor, tol: float) -> Tensor:
    if x.dim() == 0:
        return x
    kept = ~(x.detach().abs() <= tol)  # NaN is no zero
    if not kept.any():
        return x[(slice(0),) * x.dim()]
    places = kept.nonzero().amax(0).add(1).tolist()
    return x[tuple(slice(n) for n in places)]
