"""RWKV's kernels in CUDA C++, compiled for a CPU, against plain torch."""

from __future__ import annotations

import pytest
import torch

from clso.baselines import rwkv
from clso.models import cuda_wkv
from clso.models.fused import difference, with_gradients


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize(("n_steps", "length"), [(1, 1), (8, 8), (19, 32), (19, 4), (9, 1)])
@pytest.mark.parametrize("on_cpu", ["forwards", "backwards"], indirect=True)
@pytest.mark.usefixtures("on_cpu")
def test_kernels_give_what_plain_torch_gives(
    n_steps: int, length: int, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_wkv, "_LEAST", length)
    generator = torch.Generator().manual_seed(n_steps)
    shapes = (5,), (5,), (7, n_steps, 5), (7, n_steps, 5)  # threads of two blocks
    rate, bonus, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    inputs = [rate.exp(), bonus, size * key, value]
    found, expected = (with_gradients(go, inputs) for go in (cuda_wkv.wkv, rwkv._in_torch))
    assert difference(found, expected) < 1e-5
