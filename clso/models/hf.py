"""GPT-2 weights in the layout that `transformers.GPT2LMHeadModel.from_pretrained` reads, and
back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from clso.disk.damage import reading
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import load_tensors, write_tensors
from clso.models.gpt2 import GPT2
from clso.models.hf_config import HFConfig, read_config, write_config
from clso.models.modules import WEIGHTS
from clso.models.trimmed import trimmed

__all__ = ["load_hf", "save_hf", "save_hf_generation", "save_hf_tokenizer"]

# Our suffix -> GPT-2's. Hugging Face keeps GPT-2's matrices as Conv1D, which is (in, out), hence
# the transposes.
_BLOCK = {
    "attn.qkv": "attn.c_attn",
    "attn.o": "attn.c_proj",
    "mlp.fc": "mlp.c_fc",
    "mlp.proj": "mlp.c_proj",
}
_CONFIG, _PICKLE = "config.json", "pytorch_model.bin"
_PREFIX = "transformer."
_HEADS = ("lm_head.weight", "lm_head.bias")
# causal masks, which old versions saved
_MASK = re.compile(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)")


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
    write_tensors(tensors, folder / WEIGHTS)
    write_config(model.config, str(dtype).removeprefix("torch."), folder / _CONFIG)


def save_hf_tokenizer(json_text: str, folder: Path, n_positions: int) -> None:
    """Write a tokenizer beside a model of `n_positions`, as `transformers.AutoTokenizer` reads it.

    The configuration names the plain class: without it, `transformers` takes a GPT-2's tokenizer to
    be OpenAI's and adds `<|endoftext|>`, for which the model has no row."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": n_positions,
        "bos_token": None,
        "eos_token": None,
        "unk_token": None,
    }
    (folder / "tokenizer.json").write_text(json_text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def save_hf_generation(folder: Path, n_positions: int) -> None:
    """Write what `generate` does unasked: it samples, and ends before a position that is not there."""
    config = {
        "do_sample": True,
        "temperature": 0.8,
        "max_length": n_positions,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    (folder / "generation_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_hf(folder: Path, *, device: str = "cpu", trim: bool = False) -> GPT2:
    """The GPT-2 in `folder`, float32: as `save_hf`, `save_pretrained` or the hub writes it.

    `trim` leaves out what is multiplied by zeros (`clso.models.trimmed`), for scoring alone.
    Tensors in one `model.safetensors` or in shards with an index, with or without the prefix
    `transformer.`.

    Raises:
        RunFolderError: missing, damaged, not a GPT-2, or with tensors that a GPT-2 has not.
        ConfigError: a setting in `config.json` that `GPT2` does not compute.
    """
    with reading(folder, f"a GPT-2 ({_CONFIG} and {WEIGHTS})", remedy=_remedy(folder)):
        config = read_config(folder / _CONFIG)
        state = _state(_read_tensors(folder, device), config)
        with torch.device("meta"):
            model = GPT2(config.sizes)
        model.load_state_dict(state, assign=True)
        model = trimmed(model) if trim else model
        for parameter in model.parameters():  # after the trimming: zeros need no copy
            parameter.data = parameter.data.contiguous()
    return model.to(device).eval()


def _remedy(folder: Path) -> str:
    if (folder / _PICKLE).exists() and not (folder / WEIGHTS).exists():
        return f"{_PICKLE} is a pickle, which can run code: save the model as {WEIGHTS} (`save_pretrained` does)."
    return "Name a folder that `clso export`, a finished run or `save_pretrained` wrote."


def _read_tensors(folder: Path, device: str) -> dict[str, Tensor]:
    """All tensors by their names, those of the shards together."""
    index = folder / f"{WEIGHTS}.index.json"
    if (folder / WEIGHTS).exists() or not index.exists():
        return load_tensors(folder / WEIGHTS, device=device)
    places = parse_json(read_regular(index))["weight_map"]
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard:
            raise ValueError(f"a shard lies beside its index, got {shard!r}")
        tensors |= load_tensors(folder / shard, device=device)
    for name in places:
        if name not in tensors:
            raise KeyError(name)
    return tensors


def _state(tensors: dict[str, Tensor], config: HFConfig) -> dict[str, Tensor]:
    """The module's state; whatever of the checkpoint it has no place for is refused."""
    # The base model is saved without the prefix, and so are the hub's first GPT-2s.
    found = {
        name if name in _HEADS else _PREFIX + name.removeprefix(_PREFIX): t
        for name, t in tensors.items()
    }
    if len(found) != len(tensors):
        raise ValueError(f"tensors are named with {_PREFIX} or without, not both")
    for name, value in found.items():
        if not value.is_floating_point():
            if _MASK.fullmatch(name):
                continue
            raise ValueError(f"weights are floating-point numbers, got {name} in {value.dtype}")
    last = f"{_PREFIX}h.{config.sizes.n_layers - 1}.ln_1.weight"
    if last not in found:  # before as many layers are built as a damaged file may ask for
        raise KeyError(last)
    with torch.device("meta"):
        names = list(GPT2(config.sizes).state_dict())
    state = {}
    for name in names:
        if name == "head.weight" and config.sizes.tied_head:
            continue
        theirs, transposed = _hf_name(name)
        value = found.pop(theirs).float()
        state[name] = value.T if transposed else value
    if config.sizes.tied_head:
        state["head.weight"] = state["wte.weight"]
        head = found.pop("lm_head.weight", None)
        if head is not None and not torch.equal(head.float(), state["wte.weight"]):
            raise ValueError("tie_word_embeddings is true, but lm_head.weight is not wte.weight")
    for name in found:
        if not _MASK.fullmatch(name):
            raise ValueError(f"a GPT-2 has no tensor {name}")
    for layer in range(config.sizes.n_layers):
        if (factor := config.query_factor(layer)) != 1:
            for part in ("weight", "bias"):
                state[f"h.{layer}.attn.qkv.{part}"][: config.sizes.d_model] *= factor
    return state
