"""Models on disk: what is written is what is read, and a pointer is never lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clso.errors import RunFolderError
from clso.models.gpt2 import GPT2, GPT2Config, LanguageModel
from clso.models.hf import load_hf
from clso.models.pointer import SCALARS, PointerGPT2
from clso.models.store import load_model, save_model

CONFIG = GPT2Config(vocab_size=23, n_positions=12, d_model=16, n_layers=1, n_heads=2)


def make_gpt2() -> GPT2:
    return GPT2(CONFIG).init_weights(torch.Generator().manual_seed(1)).eval()


def make_pointer() -> PointerGPT2:
    generator = torch.Generator().manual_seed(0)
    rarity, projection = (
        -torch.rand(23, generator=generator),
        torch.randn(16, 5, generator=generator),
    )
    return PointerGPT2(make_gpt2(), rarity, projection, {n: 0.1 * i for i, n in enumerate(SCALARS)})


BLOCKS = torch.randint(5, (4, 13), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("make", [make_gpt2, make_pointer])
def test_saving_and_loading_changes_nothing(
    tmp_path: Path, make: Callable[[], LanguageModel]
) -> None:
    model = make()
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert torch.equal(loaded.token_losses(BLOCKS), model.token_losses(BLOCKS))


def test_the_gpt2_part_is_a_hugging_face_folder(tmp_path: Path) -> None:
    model = make_pointer()
    save_model(model, tmp_path)
    assert torch.equal(load_hf(tmp_path).token_losses(BLOCKS), model.lm.token_losses(BLOCKS))


def test_a_gpt2_that_replaces_a_pointer_has_none(tmp_path: Path) -> None:
    save_model(make_pointer(), tmp_path)
    save_model(make_gpt2(), tmp_path)
    assert isinstance(load_model(tmp_path), GPT2)


def _drop_number(folder: Path) -> None:
    numbers = json.loads((folder / "pointer.json").read_text())
    del numbers["scalars"]["sink"]
    (folder / "pointer.json").write_text(json.dumps(numbers))


def _short_rarity(folder: Path) -> None:
    tensors = load_file(folder / "pointer.safetensors")
    save_file({**tensors, "rarity": tensors["rarity"][:5].clone()}, folder / "pointer.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "pointer.json").unlink(),
        lambda folder: (folder / "pointer.safetensors").unlink(),
        lambda folder: (folder / "pointer.json").write_text("[]"),
        lambda folder: (folder / "pointer.json").write_text("{"),
        lambda folder: (folder / "pointer.safetensors").write_bytes(b"nothing"),
        lambda folder: (folder / "model.safetensors").unlink(),
        _drop_number,
        _short_rarity,
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    save_model(make_pointer(), tmp_path)
    damage(tmp_path)
    with pytest.raises(RunFolderError):
        load_model(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="LanguageModel"):
        save_model(LanguageModel(), tmp_path)


@pytest.mark.parametrize("make", [make_gpt2, make_pointer])
def test_a_pipe_is_no_file_of_a_model(tmp_path: Path, make: Callable[[], LanguageModel]) -> None:
    """Whoever opened it would wait for a writer without end."""
    save_model(make(), tmp_path)
    for path in sorted(tmp_path.iterdir()):
        data = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(RunFolderError, match="no regular file"):
            load_model(tmp_path)
        path.unlink()
        path.write_bytes(data)
    assert type(load_model(tmp_path)) is type(make())
