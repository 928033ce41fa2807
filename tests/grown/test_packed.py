"""Small numbers and sorted keys survive their packing; parts of other tables are found."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clso.grown.packed import Children, SmallNumbers


@pytest.mark.parametrize("values", [[], [0, 1, 254], [255, 0, 256, 2_000_000_000, 255]])
def test_numbers_of_any_size_come_back(values: list[int]) -> None:
    packed = SmallNumbers.of(torch.tensor(values, dtype=torch.long))
    assert packed.wide().tolist() == values
    assert packed.n_bytes == len(values) + 4 * sum(v >= 255 for v in values)


@pytest.mark.parametrize(("vocab_size", "token_bytes"), [(65_536, 2), (65_537, 4)])
def test_keys_come_back_with_contexts_that_have_none(vocab_size: int, token_bytes: int) -> None:
    context = torch.tensor([1, 1, 4, *[6] * 300])
    last = torch.tensor([0, vocab_size - 1, 7, *range(300)])
    keys = context * vocab_size + last
    packed = Children.of(keys, 9, vocab_size)
    assert torch.equal(packed.keys(vocab_size), keys)
    assert packed.last.element_size() == token_bytes
    assert packed.n_bytes == 9 + 4 + token_bytes * len(keys), (
        "one context has more than a byte holds"
    )


def test_what_does_not_belong_together_is_found() -> None:
    packed = Children.of(torch.tensor([1, 2, 11]), 2, 10)
    with pytest.raises(ValueError, match="other entries"):
        replace(packed, last=packed.last[:-1]).keys(10)
    numbers = SmallNumbers.of(torch.tensor([1, 300]))
    with pytest.raises(ValueError, match="missing"):
        replace(numbers, large=numbers.large[:0]).wide()
