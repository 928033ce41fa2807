from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.hf import load_hf, save_hf

CONFIG = GPT2Config(vocab_size=60, n_positions=16, d_model=16, n_layers=2, n_heads=2)


def random_model(config: GPT2Config) -> GPT2:
    """A model in which every parameter, biases and gains included, is random."""
    model = GPT2(config)
    generator = torch.Generator().manual_seed(3)
    for p in model.parameters():
        p.data = 0.2 * torch.randn(p.shape, generator=generator) + (1.0 if p.dim() == 1 else 0.0)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_hf(random_model(CONFIG), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("tied", [False, True])
def test_saving_and_loading_changes_nothing(tmp_path: Path, tied: bool) -> None:
    model = random_model(GPT2Config(vocab_size=60, n_positions=16, d_model=16, n_layers=2, n_heads=2, tied_head=tied))
    save_hf(model, tmp_path)
    loaded = load_hf(tmp_path)
    assert loaded.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    blocks = torch.randint(60, (4, 17))
    assert text_loss(loaded, blocks) == text_loss(model, blocks)


@pytest.mark.parametrize("tied", [False, True])
def test_transformers_computes_the_same_logits(tmp_path: Path, tied: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    model = random_model(GPT2Config(vocab_size=60, n_positions=16, d_model=16, n_layers=2, n_heads=2, tied_head=tied))
    save_hf(model, tmp_path)
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens = torch.randint(60, (3, 16))
    with torch.no_grad():
        assert torch.allclose(theirs.eval()(tokens).logits, model(tokens), atol=1e-5)


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None  # type: ignore[func-returns-value,return-value]


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def _without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.attn.c_attn.weight"]
    save_file(tensors, folder / "model.safetensors")


def _set(key: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        _drop("config.json"),
        _drop("model.safetensors"),
        _write("config.json", "{"),
        _write("config.json", "{}"),
        _write("config.json", "[]"),
        _write("model.safetensors", "no tensors"),
        _write("model.safetensors", ""),
        _truncate,
        _without_a_tensor,
        _set("n_embd", 32),
        _set("n_embd", "wide"),
        _set("n_layer", 0),
        _set("n_head", 3),
        _set("vocab_size", 61),
    ],
)
def test_a_damaged_folder_is_one_line(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises((RunFolderError, ConfigError), match=r"holds a GPT-2|at least 1|multiple of|n_inner is null or 128"):
        load_hf(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds a GPT-2"):
        load_hf(tmp_path / "nothing")
