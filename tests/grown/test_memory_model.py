"""The memory model: two ways to the same numbers, whole distributions, causal, on disk, in transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clso.errors import ConfigError, RunFolderError
from clso.grown.counted_memory import CountedMemory
from clso.grown.memory_file import MEMORY_JSON, MEMORY_TENSORS
from clso.grown.pruning import Pruning
from clso.grown.recipes import Recipe
from clso.models.gpt2 import GPT2, text_loss
from clso.models.memory import MemoryModel, distribution_loss
from clso.models.store import load_model, save_model

from .example import CONFIG, RECIPE, VOCAB, make_model, some_text


def replace_memory(model: MemoryModel, memory: CountedMemory) -> MemoryModel:
    return MemoryModel(model.lm, memory, model.recipe, model.weights)


@pytest.fixture(scope="module")
def model() -> MemoryModel:
    return make_model()


@pytest.fixture(scope="module")
def blocks() -> Tensor:
    return some_text(5 * 25, 3).view(5, 25)


@pytest.mark.parametrize("rule", ["full", "coarse", "one"])
@pytest.mark.parametrize("grown", [True, False])
def test_whole_distributions_give_what_the_fast_way_gives(
    blocks: Tensor, rule: str, grown: bool
) -> None:
    model = make_model(replace(RECIPE, rule=rule, grown=grown))
    log_p = model(blocks[:, :-1])
    assert log_p.exp().sum(-1).sub(1).abs().max().item() < 1e-6
    targets = log_p.gather(2, blocks[:, 1:, None])[..., 0]
    torch.testing.assert_close(-targets.float(), model.token_losses(blocks), atol=1e-5, rtol=1e-5)
    assert distribution_loss(model, blocks) == pytest.approx(text_loss(model, blocks), abs=1e-5)


def test_a_later_token_changes_nothing_earlier(model: MemoryModel, blocks: Tensor) -> None:
    changed = blocks.clone()
    changed[:, 12] = (changed[:, 12] + 1) % VOCAB
    before, after = model.token_losses(blocks), model.token_losses(changed)
    assert torch.equal(before[:, :11], after[:, :11])
    assert not torch.equal(before[:, 11:], after[:, 11:])
    a, b = model(blocks[:1, :-1]), model(changed[:1, :-1])
    torch.testing.assert_close(a[:, :12], b[:, :12], atol=1e-6, rtol=0)


def test_a_block_scores_alone_as_among_others(model: MemoryModel, blocks: Tensor) -> None:
    alone = torch.cat([model.token_losses(block[None]) for block in blocks])
    torch.testing.assert_close(alone, model.token_losses(blocks), atol=1e-6, rtol=1e-6)


def test_a_memory_makes_the_model_better(model: MemoryModel, blocks: Tensor) -> None:
    assert text_loss(model, blocks) < text_loss(model.lm, blocks) - 0.5


def test_a_memory_of_another_tokenizer_is_refused(model: MemoryModel) -> None:
    lm = GPT2(replace(CONFIG, vocab_size=VOCAB + 1))
    with pytest.raises(ConfigError, match="tokens"):
        MemoryModel(lm, model.memory, model.recipe, model.weights)


def test_weights_and_tables_have_to_fit_the_recipe(model: MemoryModel) -> None:
    with pytest.raises(ConfigError, match="weight for each bucket"):
        MemoryModel(model.lm, model.memory, model.recipe, model.weights[:-1])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        wrong = [w + 1 for w in model.weights]
        MemoryModel(model.lm, model.memory, model.recipe, wrong)
    higher = replace(RECIPE, order=6)
    weights = [torch.zeros(n) for n in higher.sizes]
    with pytest.raises(ConfigError, match="tables that its memory has"):
        MemoryModel(model.lm, model.memory, higher, weights)


@pytest.mark.parametrize("order", [0, 20])
def test_an_order_that_nothing_has_is_refused(order: int) -> None:
    with pytest.raises(ConfigError, match="order is 1 to"):
        Recipe(order=order)


def tensors_in(part: object) -> list[Tensor]:
    """Every tensor that a table or a tuple of tables holds."""
    if isinstance(part, Tensor):
        return [part]
    inside = part if isinstance(part, tuple) else tuple(getattr(part, "__dict__", {}).values())
    return [t for value in inside for t in tensors_in(value)]


@pytest.mark.parametrize("pruning", [Pruning(), Pruning(cut=(1, 2), skip_cut=2)])
def test_bytes_count_every_table_and_the_text(model: MemoryModel, pruning: Pruning) -> None:
    memory = replace(model.memory, pruning=pruning)
    parts = (memory.text, memory.classes, memory.count, memory.unigram, memory.tables, memory.skips)
    held = sum(t.numel() * t.element_size() for t in tensors_in(parts))
    assert memory.n_bytes == held
    lm = sum(4 * p.numel() for p in model.lm.parameters())
    weights = 8 * sum(model.recipe.sizes)
    assert replace_memory(model, memory).n_bytes == held + lm + weights


def test_on_disk_are_the_text_and_the_weights(model: MemoryModel, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    file = (tmp_path / MEMORY_TENSORS).stat().st_size
    own = 2 * 3000 + VOCAB + 8 * sum(model.recipe.sizes)
    assert 0 < file - own < 5_000, "what is more is the header"
    assert file < model.memory.n_bytes


def test_on_disk_and_back(model: MemoryModel, blocks: Tensor, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, MemoryModel)
    assert loaded.recipe == model.recipe
    assert torch.equal(loaded.token_losses(blocks), model.token_losses(blocks))
    save_model(model.lm, tmp_path)
    assert isinstance(load_model(tmp_path), GPT2), (
        "a GPT-2 in the same folder leaves no memory behind"
    )


def test_a_damaged_table_is_found(model: MemoryModel, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    path = tmp_path / MEMORY_TENSORS
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunFolderError, match="counted memory"):
        load_model(tmp_path)
    path.unlink()
    with pytest.raises(RunFolderError, match="counted memory"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "counted-memory"},
        {"order": 3},
        {"order": 20},
        {"vocab_size": 9},
        {"recipe": {"order": 20}},
        {"recipe": None},
        {"contexts": []},
        {"pruning": {"cut": 1}},
    ],
)
def test_a_header_that_does_not_fit_is_found(
    model: MemoryModel, tmp_path: Path, change: dict[str, object]
) -> None:
    save_model(model, tmp_path)
    path = tmp_path / MEMORY_JSON
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunFolderError, match="counted memory"):
        load_model(tmp_path)


def test_a_memory_beside_another_gpt2_is_found(model: MemoryModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "a")
    save_model(
        GPT2(replace(CONFIG, vocab_size=VOCAB + 2)).init_weights(torch.Generator()), tmp_path / "b"
    )
    for name in (MEMORY_JSON, MEMORY_TENSORS):
        (tmp_path / "b" / name).write_bytes((tmp_path / "a" / name).read_bytes())
    with pytest.raises(RunFolderError, match="fits its model"):
        load_model(tmp_path / "b")
