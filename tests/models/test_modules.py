from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from clso.errors import ConfigError, DataError, RunFolderError
from clso.models.modules import build_module, n_parameters, reading


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


@pytest.mark.parametrize("error", [OSError("gone"), KeyError("wte"), RuntimeError("a\n b " * 900)])
def test_damage_is_one_short_line(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(RunFolderError, match=r"it cannot be read \(.*\): .* holds a thing") as caught,
        reading(tmp_path, "a thing"),
    ):
        raise error
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_refusals_that_were_not_named_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError), reading(tmp_path, "a thing", refusals=(ConfigError,)):
        raise ConfigError("sizes go together")
    with pytest.raises(DataError), reading(tmp_path, "a thing", refusals=(ConfigError,)):
        raise DataError("another matter")
