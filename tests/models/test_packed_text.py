"""A text as documents: every token is predicted once, and nothing is padded or joined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clso.errors import DataError
from clso.models.documents import Documents, Group
from clso.models.packed_text import packed_text

checked = settings(max_examples=60)
lengths_of = st.lists(st.integers(0, 40), min_size=1, max_size=8)


@checked
@given(lengths_of, st.integers(1, 12))
def test_every_token_but_a_documents_first_is_a_target_once(
    lengths: list[int], longest: int
) -> None:
    tokens = np.arange(sum(lengths), dtype=np.uint16)
    firsts = np.cumsum([0, *lengths[:-1]])[np.array(lengths) > 0]
    if max(lengths) < 2:
        with pytest.raises(DataError, match="2 tokens"):
            packed_text(tokens, lengths, longest)
        return
    text = packed_text(tokens, lengths, longest)
    assert text.targets.tolist() == sorted(set(tokens.tolist()) - set(firsts.tolist()))
    assert torch.equal(text.targets, text.tokens + 1)
    assert 1 <= text.offsets.diff().min() <= text.offsets.diff().max() <= longest
    parts = list(text.batches(20))
    assert torch.equal(torch.cat([p.tokens for p in parts]), text.tokens)
    assert sum(map(len, parts)) == len(text)
    assert all(p.n_targets <= 20 or len(p) == 1 for p in parts)
    assert all(p.offsets[0] == 0 and p.offsets[-1] == p.n_targets for p in parts)


def test_a_sample_is_spread_over_the_text() -> None:
    tokens = np.arange(10_000, dtype=np.uint16)
    sample = packed_text(tokens, [100] * 100, 50, n_tokens=1000)
    assert 900 <= sample.n_targets <= 1000
    assert sample.tokens[0] < 1000
    assert sample.tokens[-1] > 9000
    assert packed_text(tokens, [100] * 100, 50, n_tokens=10**6).n_targets == 9900
    assert len(packed_text(tokens, [100] * 100, 50, n_tokens=1)) == 1


@checked
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_documents_are_sorted_by_length_and_put_back(lengths: list[int]) -> None:
    offsets = torch.tensor([0, *np.cumsum(lengths)])
    row = torch.arange(sum(lengths))
    documents = Documents(offsets, len(row), row.device)
    arranged = documents.arrange(row)
    assert documents.lengths == sorted(lengths)
    assert torch.equal(documents.restore(arranged), row)
    starts = offsets[torch.bucketize(row, offsets[1:], right=True)]
    assert torch.equal(documents.arrange(row - starts), documents.positions)
    assert documents.groups[0].start == 0
    assert documents.groups[-1].stop == len(row)
    assert sum(group.n for group in documents.groups) == len(lengths)
    assert len({group.length for group in documents.groups}) == len(documents.groups)


def test_documents_of_one_length_are_one_group() -> None:
    documents = Documents(torch.tensor([0, 3, 5, 8]), 8, torch.device("cpu"))
    assert documents.groups == [Group(0, 1, 2), Group(2, 2, 3)]
    assert documents.cumulative.tolist() == [0, 2, 5, 8]
