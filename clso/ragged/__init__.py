"""Tensors of different shapes, stored without padding, and the algebra of variable shapes on them.

    r = Ragged.stack([torch.ones(2, 3), torch.ones(4, 1)])   # 10 numbers, not 24
    add(r, r).unbind()

Two arrays that differ by trailing zeros stand for the same thing (a zero-padding class); operations on arrays of different
shapes read what is missing as zero. Convolution and addition make a commutative semiring of these classes. The Kronecker
product does not: see `kronecker`. Everything is differentiable, and exact on integers.
"""

from __future__ import annotations

from clso.ragged.algebra import add, kronecker, matmul, multiply, outer, subtract
from clso.ragged.convolution import convolve
from clso.ragged.offsets import check_offsets
from clso.ragged.padding_classes import equivalent, shrink
from clso.ragged.stack import Ragged
from clso.ragged.windows import pyramid_stack, window_stack

__all__ = [
    "Ragged",
    "add",
    "check_offsets",
    "convolve",
    "equivalent",
    "kronecker",
    "matmul",
    "multiply",
    "outer",
    "pyramid_stack",
    "shrink",
    "subtract",
    "window_stack",
]
