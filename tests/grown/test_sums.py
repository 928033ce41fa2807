"""Sums that are the same on every call."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from clso.grown.sums import run_sums, sums


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 3))
def test_runs_are_summed_as_places_are(lengths: list[int], seed: int) -> None:
    n, e = len(lengths), sum(lengths)
    place = torch.repeat_interleave(torch.arange(n), torch.tensor(lengths, dtype=torch.long))
    ends = torch.tensor(lengths, dtype=torch.long).cumsum(0)
    values = torch.rand(2, e, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.stack([sums(place, row, n) for row in values])
    torch.testing.assert_close(
        run_sums(values, ends), expected, rtol=0, atol=1e-8, check_dtype=False
    )
    counts = (values * 10).long()
    expected = torch.stack([sums(place, row, n) for row in counts])
    assert run_sums(counts, ends).tolist() == expected.tolist()
