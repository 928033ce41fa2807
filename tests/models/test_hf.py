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
    model = random_model(
        GPT2Config(vocab_size=60, n_positions=16, d_model=16, n_layers=2, n_heads=2, tied_head=tied)
    )
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
    model = random_model(
        GPT2Config(vocab_size=60, n_positions=16, d_model=16, n_layers=2, n_heads=2, tied_head=tied)
    )
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
        _set("n_layer", 10**9),
        _set("n_head", 3),
        _set("vocab_size", 61),
    ],
)
def test_a_damaged_folder_is_one_line(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(
        (RunFolderError, ConfigError),
        match=r"holds a GPT-2|at least 1|multiple of|n_inner is null or 128",
    ):
        load_hf(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds a GPT-2"):
        load_hf(tmp_path / "nothing")


def _transformers_model(folder: Path, **settings: Any) -> Any:
    """A GPT-2 of `transformers` with large random weights, saved in `folder`."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"vocab_size": 60, "n_positions": 16, "n_embd": 16, "n_layer": 3, "n_head": 2}
    tokens = {"bos_token_id": None, "eos_token_id": None}
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**{**sizes, **tokens, **settings})
    ).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    model.save_pretrained(folder)
    return model


def _largest_difference(folder: Path, theirs: Any) -> float:
    tokens = torch.randint(60, (3, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return float((load_hf(folder)(tokens) - theirs(tokens).logits).abs().max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tie_word_embeddings": False},
        {"activation_function": "gelu_pytorch_tanh"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True},
        {"n_inner": 64},
    ],
)
def test_settings_are_computed_as_transformers_computes_them(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    assert _largest_difference(tmp_path, _transformers_model(tmp_path, **settings)) < 1e-4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_function", "relu"),
        ("activation_function", "gelu"),
        ("layer_norm_epsilon", 1e-12),
        ("n_inner", 48),
        ("model_type", "llama"),
        ("add_cross_attention", True),
        ("scale_attn_weights", "yes"),
        ("tie_word_embeddings", 1),
        ("quantization_config", {"bits": 4}),
        ("pruned_heads", {"0": [1]}),
        ("rope_theta", 10_000.0),
    ],
)
def test_a_setting_that_is_not_computed_is_refused_by_name(
    folder: Path, key: str, value: Any
) -> None:
    _set(key, value)(folder)
    with pytest.raises(ConfigError, match=f"has {key} = ") as caught:
        load_hf(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("torch_dtype", "float16"), ("do_sample", True), ("unheard_of", None)]
)
def test_what_changes_no_logit_is_taken(folder: Path, key: str, value: Any) -> None:
    _set(key, value)(folder)
    assert load_hf(folder).config == CONFIG


def _change_tensors(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {**t, "lm_head.bias": torch.ones(60)}, "no tensor lm_head.bias"),
        (
            lambda t: {**t, "transformer.h.0.ln_3.weight": torch.ones(16)},
            "no tensor transformer.h.0.ln_3.weight",
        ),
        (
            lambda t: {**t, "wte.weight": torch.ones(60, 16)},
            "with transformer. or without, not both",
        ),
        (
            lambda t: {n: v.to(torch.int8) if "c_fc.w" in n else v for n, v in t.items()},
            "c_fc.weight in torch.int8",
        ),
    ],
)
def test_tensors_without_a_place_are_refused_by_name(
    folder: Path, change: Any, message: str
) -> None:
    _change_tensors(folder, change)
    with pytest.raises(RunFolderError, match=message):
        load_hf(folder)


def test_a_head_that_is_said_to_be_tied_and_is_not(folder: Path) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    del values["tie_word_embeddings"]  # then transformers ties
    path.write_text(json.dumps(values))
    with pytest.raises(RunFolderError, match=r"lm_head\.weight is not wte\.weight"):
        load_hf(folder)


def test_names_of_the_base_model_and_masks_of_old_versions(tmp_path: Path) -> None:
    theirs = _transformers_model(tmp_path / "whole")
    theirs.transformer.save_pretrained(tmp_path / "base")
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 16, 16).tril().byte() for i in range(3)}
    _change_tensors(tmp_path / "base", lambda tensors: tensors | masks)
    assert "wte.weight" in load_file(tmp_path / "base" / "model.safetensors")
    assert _largest_difference(tmp_path / "base", theirs) < 1e-4


def test_shards(tmp_path: Path) -> None:
    theirs = _transformers_model(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    assert _largest_difference(tmp_path / "shards", theirs) < 1e-4


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "../model.safetensors"}}',
        '{"weight_map": {"a": "missing.safetensors"}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_index_of_shards_is_one_line(folder: Path, index: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(RunFolderError, match="holds a GPT-2") as caught:
        load_hf(folder)
    assert "\n" not in str(caught.value)


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RunFolderError, match="pickle, which can run code"):
        load_hf(folder)
