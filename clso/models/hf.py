"""GPT-2 weights in the layout that `transformers.GPT2LMHeadModel.from_pretrained` reads, and back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clso.errors import RunFolderError
from clso.models.gpt2 import GPT2, GPT2Config

__all__ = ["load_hf", "save_hf", "write_tensors"]

# Our suffix -> GPT-2's. Hugging Face keeps GPT-2's matrices as Conv1D, which is (in, out), hence the transposes.
_BLOCK = {"attn.qkv": "attn.c_attn", "attn.o": "attn.c_proj", "mlp.fc": "mlp.c_fc", "mlp.proj": "mlp.c_proj"}
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


def _hf_name(name: str) -> tuple[str, bool]:
    """Hugging Face's name of our parameter, and whether the matrix is stored transposed."""
    if name == "head.weight":
        return "lm_head.weight", False
    for ours, theirs in _BLOCK.items():
        if ours in name:
            return f"transformer.{name.replace(ours, theirs)}", name.endswith("weight")
    return f"transformer.{name}", False


def save_hf(model: GPT2, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write `config.json` and `model.safetensors`; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "head.weight" and model.config.tied_head:
            continue
        theirs, transposed = _hf_name(name)
        tensors[theirs] = (value.T if transposed else value).to("cpu", dtype).contiguous()
    write_tensors(tensors, folder / _WEIGHTS)
    c = model.config
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": c.vocab_size,
        "n_positions": c.n_positions,
        "n_embd": c.d_model,
        "n_layer": c.n_layers,
        "n_head": c.n_heads,
        "n_inner": c.d_mlp,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": c.tied_head,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": str(dtype).removeprefix("torch."),
    }
    (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """`save_file`, with the operating system's refusal (a full disk, say) as the `OSError` that it is."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        number = int(code.group(1))
        raise OSError(number, os.strerror(number), str(path)) from error


def load_hf(folder: Path, *, device: str = "cpu") -> GPT2:
    """The model in `folder`, float32. Raises `RunFolderError` where it is missing, damaged or not a GPT-2."""
    try:
        c = json.loads((folder / _CONFIG).read_text())
        config = GPT2Config(
            vocab_size=c["vocab_size"],
            n_positions=c["n_positions"],
            d_model=c["n_embd"],
            n_layers=c["n_layer"],
            n_heads=c["n_head"],
            tied_head=c.get("tie_word_embeddings", True),
        )
        tensors = load_file(folder / _WEIGHTS, device="cpu")
        with torch.device("meta"):
            model = GPT2(config)
        state = {}
        for name in model.state_dict():
            if name == "head.weight" and config.tied_head:
                state[name] = tensors["transformer.wte.weight"].float()
                continue
            theirs, transposed = _hf_name(name)
            value = tensors[theirs].float()
            state[name] = (value.T if transposed else value).contiguous()
        model.load_state_dict(state, assign=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RunFolderError(
            f"{folder} holds a GPT-2 ({_CONFIG} and {_WEIGHTS})",
            got=f"{type(error).__name__}: {error}",
            remedy="Name a folder that `clso export` or a finished run wrote.",
        ) from error
    return model.to(device).eval()
