"""An LSTM's kernels in CUDA C++, compiled for a CPU, against torch's LSTM."""

from __future__ import annotations

import pytest
import torch

from clso.models import cuda_lstm
from clso.models.fused import difference
from clso.models.layers import LSTMLayer, init_weights


@pytest.mark.parametrize("n_steps", [1, 4, 9])
@pytest.mark.parametrize("d", [16, 30, 33])
@pytest.mark.parametrize("on_cpu", ["forwards", "backwards"], indirect=True)
@pytest.mark.usefixtures("on_cpu")
def test_kernels_give_what_torch_gives(d: int, n_steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = LSTMLayer(d, 2)
    init_weights(layer, generator)
    inputs = [torch.randn(2, n_steps, d, generator=generator)]
    leaves = [*inputs, *layer.lstm.parameters()]
    leaves[0].requires_grad_()
    found = [
        [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]
        for out in (layer._fused(inputs[0]), layer.lstm(inputs[0])[0])
    ]
    assert difference(*found) < 1e-5


def test_sizes_that_kernels_take() -> None:
    assert cuda_lstm.fits(1, 64)
    assert cuda_lstm.fits(128, 37)
    for n_batch, d in ((129, 64), (1, 65)):
        assert not cuda_lstm.fits(n_batch, d)
