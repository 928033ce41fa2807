"""Non-overlapping windows of a sequence, without copies of zeros: the last one is as short as the rest is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from clso.errors import ShapeError
from clso.ragged.stack import Ragged

__all__ = ["pyramid_stack", "window_stack"]


def window_stack(x: Tensor | Ragged, w: int) -> Ragged:
    """Windows of `w` entries along the first axis, the last one shorter: (n, *rest) -> items (w, *rest).

    The windows of a stack's items follow each other, and none spans two items. An empty item is one empty window. Values
    are shared with `x` if it is contiguous. Raises `ShapeError` for `w` below 1 or rank 0.
    """
    return pyramid_stack(x, (w,))[0]


def pyramid_stack(x: Tensor | Ragged, widths: Sequence[int]) -> list[Ragged]:
    """Windows of windows: level l's hold `widths[l]` of level l - 1's, so `widths[0] * ... * widths[l]` entries.

    All levels share one set of values. Raises `ShapeError` for no width or one below 1, naming it, or rank 0.
    """
    if not widths:
        raise ShapeError("a pyramid has at least one width", got=list(widths))
    for i, w in enumerate(widths):
        if w < 1:
            raise ShapeError("a window holds at least 1 entry", problem=f"width {i} is {w}")
    values, shapes = (
        (x.values, x.shapes) if isinstance(x, Ragged) else (x.reshape(-1), [tuple(x.shape)])
    )
    if not shapes[0]:
        raise ShapeError("windows are cut along an axis", problem="rank 0 has none")
    levels, size = [], 1
    for w in widths:
        size *= w
        levels.append(Ragged(values, [cut for shape in shapes for cut in _cuts(shape, size)]))
    return levels


def _cuts(shape: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    n, *rest = shape
    bounds = [*range(0, n, size), n]
    return [(b - a, *rest) for a, b in pairwise(bounds)] or [(0, *rest)]
