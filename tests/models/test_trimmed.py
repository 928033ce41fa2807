"""A trimmed model scores as the whole one does, and holds only what speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clso.models.gpt2 import GPT2, Block, GPT2Config
from clso.models.layers import ResidualBlock
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.store import load_model, save_model
from clso.models.trimmed import trimmed

CONFIG = GPT2Config(vocab_size=31, n_positions=8, d_model=24, n_layers=4, n_heads=3)
BLOCKS = torch.randint(31, (5, 9), generator=torch.Generator().manual_seed(1))


def blocks_of(model: GPT2) -> list[Any]:
    """A trimmed block's parts may be None."""
    blocks = list(model.h)
    assert all(isinstance(block, Block) for block in blocks)
    return blocks


@torch.no_grad()
def model_with_silent_parts() -> GPT2:
    """Layer 0 whole; of layer 1 a head and three units; of layer 2 two biases; layer 3 silent."""
    model = GPT2(CONFIG).init_weights(torch.Generator().manual_seed(0)).eval()
    one, two, three = blocks_of(model)[1:]
    for block in (one, two, three):
        assert block.attn is not None
        block.attn.qkv.bias.normal_(generator=torch.Generator().manual_seed(2))
    one.attn.o.weight[:, :8] = 0
    one.attn.o.weight[:, 16:] = 0
    one.mlp.proj.weight[:, torch.arange(96) % 32 != 5] = 0
    for block in (two, three):
        block.attn.o.weight.zero_()
        block.mlp.proj.weight.zero_()
    two.attn.o.bias.fill_(0.5)
    two.mlp.proj.bias.fill_(-0.25)
    return model


def test_a_trimmed_model_scores_as_the_whole_one() -> None:
    whole = model_with_silent_parts().token_losses(BLOCKS).detach()
    got = trimmed(model_with_silent_parts()).token_losses(BLOCKS).detach()
    assert got == pytest.approx(whole, abs=1e-5)


def test_silent_parts_are_gone() -> None:
    zero, one, two, three = blocks_of(trimmed(model_with_silent_parts()))
    assert (zero.attn.n_heads, zero.mlp.fc.out_features) == (3, 96)
    assert (one.attn.n_heads, one.mlp.fc.out_features) == (1, 3)
    # a bias needs a part that carries it
    assert (two.attn.n_heads, two.mlp.fc.out_features) == (1, 1)
    assert three.attn is None
    assert three.mlp is None


def test_a_model_without_silent_parts_stays_as_it_is() -> None:
    model = GPT2(CONFIG).init_weights(torch.Generator().manual_seed(0)).eval()
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    after = {name: value.data_ptr() for name, value in trimmed(model).state_dict().items()}
    assert after == before


def test_an_nsm_is_trimmed_when_it_is_loaded_for_scoring(tmp_path: Path) -> None:
    config = NSMConfig(31, d_model=16, n_layers=3, n_heads=2, n_positions=8, n_states=3, chunk=4)
    model = SimpleNSM(config)
    model.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in [*model.blocks[1].mlp[-1].parameters(), *model.blocks[2].mixer.out.parameters()]:  # type: ignore[union-attr,index,operator]
            p.zero_()
    save_model(model, tmp_path)
    whole, scoring = load_model(tmp_path), load_model(tmp_path, trim=True)
    assert isinstance(whole, SimpleNSM)
    assert isinstance(scoring, SimpleNSM)
    kept = [(b.mixer is not None, b.mlp is not None) for b in scoring.blocks]
    assert kept == [(True, True), (True, False), (False, True)]
    assert all(isinstance(b, ResidualBlock) and b.mixer and b.mlp for b in whole.blocks)
    expected = whole.token_losses(BLOCKS[:, :9]).detach()
    assert scoring.token_losses(BLOCKS[:, :9]).detach() == pytest.approx(expected, abs=1e-5)
    assert scoring.body_flops(8) < whole.body_flops(8)
