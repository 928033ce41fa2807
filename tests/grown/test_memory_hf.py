"""The memory in `transformers`: the same loss, and generation from the mixture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import text_loss
from clso.models.memory import MemoryModel
from clso.models.store import save_model

from .example import VOCAB, make_model, some_text

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from clso.hf import ClsoMemory  # noqa: E402


@pytest.fixture(scope="module")
def model() -> MemoryModel:
    return make_model()


@pytest.fixture(scope="module")
def folder(model: MemoryModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported")
    save_model(model, path)
    return path


def test_the_same_loss_through_transformers(model: MemoryModel, folder: Path) -> None:
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    memory = ClsoMemory.from_pretrained(folder)
    blocks = some_text(2 * 25, 3).view(2, 25)
    total = 0.0
    with torch.no_grad():
        logits = theirs(blocks[:, :-1]).logits
    for t in range(24):
        log_p = memory(blocks[:, : t + 1], logits[:, t])
        total -= float(log_p.gather(1, blocks[:, t + 1, None]).sum())
    assert total / 48 == pytest.approx(text_loss(model, blocks), abs=1e-4)


def test_generate_samples_from_the_mixture(model: MemoryModel, folder: Path) -> None:
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    memory = ClsoMemory.from_pretrained(folder)
    prompt = some_text(8, 4)[None]
    out = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        logits_processor=[memory],
        max_new_tokens=10,
        do_sample=False,
        pad_token_id=0,
    )
    expected = prompt
    for _ in range(10):
        expected = torch.cat([expected, model(expected)[:, -1].argmax(-1, keepdim=True)], 1)
    assert out.tolist() == expected.tolist()


def test_padding_at_the_beginning_is_left_out(folder: Path) -> None:
    memory = ClsoMemory.from_pretrained(folder, pad_token_id=VOCAB - 1)
    plain = ClsoMemory.from_pretrained(folder)
    ids, scores = some_text(6, 5)[None], torch.zeros(1, VOCAB)
    padded = torch.cat([torch.full((1, 3), VOCAB - 1), ids], 1)
    assert torch.equal(memory(padded, scores), plain(ids, scores))
    with pytest.raises(ConfigError, match="one token at least"):
        memory(torch.full((1, 3), VOCAB - 1), scores)


def test_a_gpt2_of_another_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        ClsoMemory.from_pretrained(folder)(
            torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, VOCAB + 1)
        )


def test_a_folder_without_a_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="counted memory"):
        ClsoMemory.from_pretrained(tmp_path)
