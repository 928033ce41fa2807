from __future__ import annotations

import torch
from torch import nn

from clso.models.modules import build_module, n_parameters


class Drawn(nn.Linear):
    """Weights from the constructor's own draws, a bias from `init_weights`."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def init_weights(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.bias.normal_(generator=generator)


def test_a_seed_decides_all_weights_and_the_global_stream_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first = build_module(Drawn, 3, seed=5)
    torch.rand(7)
    again, other = build_module(Drawn, 3, seed=5), build_module(Drawn, 3, seed=6)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])
    torch.random.set_rng_state(before)
    build_module(Drawn, 3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_frozen_and_shared_numbers_are_not_counted_again() -> None:
    model = nn.Sequential(first := nn.Linear(2, 2), first, nn.Linear(2, 2).requires_grad_(False))
    assert n_parameters(model) == 6
