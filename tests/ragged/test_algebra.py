"""The algebra of variable shapes against dense, padded arithmetic; integers exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from torch import Tensor

from clso.errors import ConfigError, ShapeError
from clso.ragged import (
    Ragged,
    add,
    convolve,
    equivalent,
    kronecker,
    matmul,
    multiply,
    outer,
    shrink,
    subtract,
)

checked = settings(max_examples=60)
_PAIR = 7  # an ambient axis longer than any drawn one


def arrays(rank: int, low: int = 0, high: int = 4) -> st.SearchStrategy[Tensor]:
    """Integers of any shape of `rank`."""

    def of(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
        n = int(np.prod(shape, dtype=int))
        values = st.lists(st.integers(-3, 3), min_size=n, max_size=n)
        return values.map(lambda v: torch.tensor(v, dtype=torch.int64).reshape(shape))

    return st.tuples(*[st.integers(low, high)] * rank).flatmap(of)


def pairs(low: int = 0) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    return st.integers(1, 3).flatmap(lambda rank: st.tuples(arrays(rank, low), arrays(rank, low)))


def padded(x: Tensor, length: int = _PAIR) -> Tensor:
    out = torch.zeros([length] * x.dim(), dtype=x.dtype)
    out[tuple(map(slice, x.shape))] = x
    return out


@pytest.mark.parametrize(
    ("ours", "dense"), [(add, torch.add), (subtract, torch.sub), (multiply, torch.mul)]
)
@checked
@given(pair=pairs())
def test_pointwise(
    ours: Callable[..., Any], dense: Callable[..., Tensor], pair: tuple[Tensor, Tensor]
) -> None:
    a, b = pair
    found = ours(a, b)
    assert tuple(found.shape) == tuple(map(max, zip(a.shape, b.shape, strict=True)))
    assert torch.equal(padded(found), dense(padded(a), padded(b)))
    stack = ours(Ragged.stack([a, b]), Ragged.stack([b, b]))
    assert torch.equal(stack[0], found)
    assert torch.equal(stack[1], dense(b, b))


@checked
@given(st.integers(2, 3).flatmap(lambda rank: st.tuples(arrays(rank), arrays(rank))))
def test_matmul(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    found = matmul(a, b)
    assert tuple(found.shape[-2:]) == (a.shape[-2], b.shape[-1])
    assert torch.equal(padded(found), padded(a) @ padded(b))


@checked
@given(pairs(low=1))
def test_convolution_by_pairs(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    expected = torch.from_numpy(signal.convolve(a.numpy(), b.numpy(), method="direct").copy())
    for method in ("auto", "direct"):
        assert torch.equal(convolve(a, b, method), expected)
    torch.testing.assert_close(
        convolve(a.double(), b.double(), "fft"), expected.double(), atol=1e-9, rtol=0
    )


def test_convolution_of_lengths_that_transforms_like_less() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(997, dtype=torch.float64), torch.randn(1500, dtype=torch.float64)
    expected = torch.from_numpy(np.convolve(a.numpy(), b.numpy()))
    for method in ("auto", "direct", "fft"):
        torch.testing.assert_close(convolve(a, b, method), expected, atol=1e-9, rtol=0)
    complex_a = torch.complex(a, a.flip(0))
    complex_expected = torch.from_numpy(np.convolve(complex_a.numpy(), b.numpy().astype(complex)))
    torch.testing.assert_close(
        convolve(complex_a, b.to(complex_a.dtype), "fft"), complex_expected, atol=1e-9, rtol=0
    )


@checked
@given(st.integers(1, 2).flatmap(lambda rank: st.tuples(*[arrays(rank, 0, 3)] * 3)))
def test_convolution_is_a_commutative_semiring_on_padding_classes(
    triple: tuple[Tensor, Tensor, Tensor],
) -> None:
    a, b, c = triple
    one = torch.ones([1] * a.dim(), dtype=a.dtype)
    assert equivalent(convolve(a, b), convolve(b, a))
    assert equivalent(convolve(convolve(a, b), c), convolve(a, convolve(b, c)))
    assert equivalent(convolve(a, add(b, c)), add(convolve(a, b), convolve(a, c)))
    assert equivalent(convolve(a, one), a)
    assert equivalent(convolve(padded(a), b), convolve(a, b))
    assert equivalent(convolve(a, torch.zeros_like(a)), torch.zeros_like(a))


@checked
@given(st.integers(1, 2).flatmap(lambda rank: st.tuples(*[arrays(rank, 0, 3)] * 3)))
def test_what_holds_of_the_kronecker_product(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    a, b, c = triple
    assert torch.equal(kronecker(a, b), torch.from_numpy(np.kron(a.numpy(), b.numpy())))
    assert torch.equal(kronecker(kronecker(a, b), c), kronecker(a, kronecker(b, c)))
    assert equivalent(kronecker(add(a, b), c), add(kronecker(a, c), kronecker(b, c)))
    assert equivalent(kronecker(padded(a), b), kronecker(a, b))


def test_what_does_not_hold_of_the_kronecker_product() -> None:
    ones, one, second = torch.tensor([1, 1]), torch.tensor([1]), torch.tensor([0, 1])
    whole, parts = (
        kronecker(ones, add(one, second)),
        add(kronecker(ones, one), kronecker(ones, second)),
    )
    assert whole.tolist() == [1, 1, 1, 1]
    assert parts.tolist() == [1, 2, 0, 1]  # not distributive from the left
    assert not equivalent(
        kronecker(ones, one), kronecker(ones, torch.tensor([1, 0]))
    )  # not well defined on the right
    assert not equivalent(kronecker(ones, second), kronecker(second, ones))


@checked
@given(st.integers(1, 2).flatmap(lambda rank: st.tuples(*[arrays(rank, 0, 3)] * 3)))
def test_the_outer_product_is_what_holds(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    a, b, c = triple
    assert torch.equal(outer(a, b), torch.from_numpy(np.multiply.outer(a.numpy(), b.numpy())))
    assert torch.equal(outer(outer(a, b), c), outer(a, outer(b, c)))
    assert equivalent(outer(add(a, b), c), add(outer(a, c), outer(b, c)))
    assert equivalent(outer(a, add(b, c)), add(outer(a, b), outer(a, c)))
    assert equivalent(outer(padded(a), b), outer(a, b))
    assert equivalent(outer(a, padded(b)), outer(a, b))


@checked
@given(st.integers(1, 3).flatmap(arrays))
def test_the_minimal_representative(x: Tensor) -> None:
    least = shrink(x)
    assert equivalent(x, least)
    for axis, n in enumerate(least.shape):
        assert n == 0 or least.select(axis, n - 1).any()
    assert torch.equal(shrink(padded(x)), least)


def test_inner_zeros_stay() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 1e-9], [0.0, 0.0, 0.0]])
    assert shrink(x, tol=1e-6).tolist() == [[0, 0], [0, 1]]
    assert tuple(shrink(x).shape) == (2, 3)
    assert tuple(shrink(torch.tensor([0.0, float("nan"), 0.0])).shape) == (2,)
    assert shrink(Ragged.stack([x[0], x[1]])).shapes == [(0,), (3,)]


def test_softmax_does_not_respect_padding_classes() -> None:
    x, longer = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0, 0.0])
    assert equivalent(x, longer)
    assert not equivalent(x.softmax(0), longer.softmax(0), tol=0.01)


@pytest.mark.parametrize("ours", [add, subtract, multiply, matmul, kronecker, outer, convolve])
def test_gradients(ours: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(n, m, dtype=torch.float64, requires_grad=True) for n, m in ((2, 3), (3, 2)))
    assert torch.autograd.gradcheck(ours, (a, b))


def test_gradients_of_transforms() -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (5, 3))
    assert torch.autograd.gradcheck(lambda x, y: convolve(x, y, "fft"), (a, b))
    assert torch.autograd.gradcheck(lambda x: shrink(x).sum(), (a,))


def test_operands_that_do_not_go_together() -> None:
    x, stack = torch.zeros(2), Ragged.stack([torch.zeros(2)])
    with pytest.raises(ShapeError, match="rank"):
        add(x, torch.zeros(2, 2))
    with pytest.raises(ShapeError, match="int64"):
        outer(x, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ShapeError, match="meta"):
        convolve(x, torch.zeros(2, device="meta"))
    with pytest.raises(ShapeError, match="Tensor and Ragged"):
        add(x, stack)  # type: ignore[call-overload]
    with pytest.raises(ShapeError, match="1 and 2"):
        add(stack, Ragged.stack([x, x]))
    with pytest.raises(ShapeError, match="rank 1"):
        matmul(x, x)
    with pytest.raises(ShapeError, match="int64"):
        convolve(torch.tensor([1]), torch.tensor([1]), "fft")
    with pytest.raises(ConfigError, match="'slow'"):
        convolve(x, x, "slow")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="-1"):
        shrink(x, tol=-1)
