"""CUDA graphs of a population's scoring."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clso.models.replay import Replays


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_losses_of_one_call_outlive_the_next() -> None:
    blocks = torch.ones(1, 129, dtype=torch.long, device="cuda")
    replays = Replays(
        lambda values, blocks: values.double().sum(1) * blocks.double().mean(), head_width=128
    )
    # captured at the third, replayed from there on
    rows = [np.full((4, 3), i, dtype=np.float32) for i in range(6)]
    losses = [replays(values, blocks) for values in rows]
    assert torch.cat(losses).tolist() == [3.0 * i for i in range(6) for _ in range(4)]


def test_without_a_gpu_every_call_is_run_as_it_is() -> None:
    blocks = torch.ones(1, 129, dtype=torch.long)
    replays = Replays(
        lambda values, blocks: values.double().sum(1) * blocks.double().mean(), head_width=128
    )
    for i in range(5):
        assert replays(np.full((4, 3), i, dtype=np.float32), blocks).tolist() == [3.0 * i] * 4
