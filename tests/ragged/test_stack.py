"""Stacks store what they are given, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clso.errors import ShapeError
from clso.ragged import Ragged, check_offsets, pyramid_stack, window_stack

checked = settings(max_examples=60)
shapes = st.integers(0, 3).flatmap(
    lambda rank: st.lists(st.tuples(*[st.integers(0, 4)] * rank), min_size=1, max_size=5)
)


@checked
@given(shapes)
def test_a_stack_is_its_items(found: list[tuple[int, ...]]) -> None:
    items = [
        torch.arange(math.prod(shape)).reshape(shape) + 10 * i for i, shape in enumerate(found)
    ]
    stack = Ragged.stack(items)
    assert stack.values.numel() == sum(map(math.prod, found))
    assert stack.offsets.tolist() == [sum(map(math.prod, found[:i])) for i in range(len(found) + 1)]
    assert len(stack) == len(items)
    for i, (item, same) in enumerate(zip(items, stack.unbind(), strict=True)):
        assert torch.equal(item, same)
        assert torch.equal(item, stack[i - len(items)])
    dense = stack.to_dense()
    for item, row in zip(items, dense, strict=True):
        assert torch.equal(row[tuple(map(slice, item.shape))], item)
    assert dense.sum() == stack.values.sum()


def test_items_are_views() -> None:
    stack = Ragged.stack([torch.zeros(2), torch.zeros(3)])
    stack[1].fill_(7)
    assert stack.values.tolist() == [0, 0, 7, 7, 7]


def test_gradients_reach_the_items() -> None:
    items = [torch.randn(n, requires_grad=True) for n in (2, 0, 3)]
    (Ragged.stack(items).to_dense() * 2).sum().backward()
    assert [item.grad.tolist() for item in items if item.grad is not None] == [
        [2, 2],
        [],
        [2, 2, 2],
    ]


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ([], "0"),
        ([torch.zeros(1), torch.zeros(1, 1)], "item 1"),
        ([torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)], "item 2"),
        ([torch.zeros(1), torch.zeros(1, device="meta")], "item 1"),
    ],
)
def test_items_that_do_not_go_together(items: list[torch.Tensor], named: str) -> None:
    with pytest.raises(ShapeError, match=named):
        Ragged.stack(items)


@checked
@given(st.integers(0, 12), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_pyramids_share_their_values(n: int, widths: list[int]) -> None:
    x = torch.arange(2 * n).reshape(n, 2)
    size = 1
    for w, level in zip(widths, pyramid_stack(x, widths), strict=True):
        size *= w
        assert level.values.data_ptr() == x.data_ptr()
        assert torch.equal(torch.cat(level.unbind()), x)
        assert [len(window) for window in level] == [
            min(size, n - at) for at in range(0, n, size)
        ] or n == 0


def test_windows_of_a_stack_span_no_items() -> None:
    windows = window_stack(Ragged.stack([torch.arange(5), torch.arange(0), torch.arange(3)]), 2)
    assert [w.tolist() for w in windows] == [[0, 1], [2, 3], [4], [], [0, 1], [2]]


def test_bad_windows() -> None:
    with pytest.raises(ShapeError, match="width 0 is 0"):
        window_stack(torch.zeros(3), 0)
    with pytest.raises(ShapeError, match="width 1"):
        pyramid_stack(torch.zeros(3), (2, -1))
    with pytest.raises(ShapeError, match="rank 0"):
        window_stack(torch.tensor(1.0), 2)
    with pytest.raises(ShapeError, match="width"):
        pyramid_stack(torch.zeros(3), ())


@pytest.mark.parametrize(
    ("offsets", "named"),
    [
        ([1, 4], "start at 0; got 1"),
        ([0, 3], "end at the number of tokens, 4; got 3"),
        ([0, 3, 2, 4], "document 1"),
        ([0, 2, 2, 4], "document 1 has none"),
        ([0, 1, 4], "document 1 has 3"),
        ([0], "documents"),
    ],
)
def test_bad_offsets(offsets: list[int], named: str) -> None:
    with pytest.raises(ShapeError, match=named):
        check_offsets(torch.tensor(offsets), 4, longest=2 if named == "document 1 has 3" else None)


def test_offsets_are_whole_numbers() -> None:
    with pytest.raises(ShapeError, match="float32"):
        check_offsets(torch.tensor([0.0, 4.0]), 4)
    assert check_offsets(torch.tensor([0, 1, 4]), 4) == [0, 1, 4]
