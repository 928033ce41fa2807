"""Models on disk: a folder that `transformers` reads, and beside it what a model has that GPT-2 has not.

A pointer model's folder is its GPT-2 part (`config.json`, `model.safetensors`) plus `pointer.json` (its numbers) and
`pointer.safetensors` (rarity, projection). A SimpleNSM has a `config.json` of its own kind (`clso.models.store_nsm`).
What kind of model a folder holds is told by what is in it.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from clso.errors import ClsoError, RunFolderError
from clso.files import read_regular
from clso.models.gpt2 import GPT2, LanguageModel
from clso.models.hf import load_hf, save_hf
from clso.models.nsm import SimpleNSM
from clso.models.pointer import PointerGPT2
from clso.models.store_nsm import holds_nsm, load_nsm, save_nsm
from clso.models.tensors import write_tensors
from clso.parsing import parse_json

__all__ = ["load_model", "save_model"]

_NUMBERS, _TENSORS = "pointer.json", "pointer.safetensors"


def save_model(model: LanguageModel, folder: Path) -> None:
    """Write `model`, float32; the folder is made, and files of another kind of model in it are removed.

    Raises `RunFolderError` for a model of a kind that has no form on disk.
    """
    if isinstance(model, PointerGPT2):
        save_hf(model.lm, folder)
        tensors = {"rarity": model.rarity, "projection": model.projection}
        write_tensors({name: value.cpu().contiguous() for name, value in tensors.items()}, folder / _TENSORS)
        numbers = {"kind": "pointer-sentinel", "scalars": model.scalars}
        (folder / _NUMBERS).write_text(json.dumps(numbers, indent=2) + "\n")
    elif isinstance(model, (GPT2, SimpleNSM)):
        for name in (_NUMBERS, _TENSORS):
            (folder / name).unlink(missing_ok=True)
        save_nsm(model, folder) if isinstance(model, SimpleNSM) else save_hf(model, folder)
    else:
        raise RunFolderError(
            "a model that is written is a GPT2, a PointerGPT2 or a SimpleNSM", got=type(model).__name__
        )


def load_model(folder: Path, *, device: str = "cpu") -> LanguageModel:
    """The model in `folder`, float32. Raises `RunFolderError` where it is missing or damaged."""
    if holds_nsm(folder):
        return load_nsm(folder, device=device)
    lm = load_hf(folder, device=device)
    if not any((folder / name).exists() for name in (_NUMBERS, _TENSORS)):
        return lm
    try:
        scalars = parse_json(read_regular(folder / _NUMBERS))["scalars"]
        tensors = load_file(folder / _TENSORS, device="cpu")
        model = PointerGPT2(lm, tensors["rarity"], tensors["projection"], scalars)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
        ClsoError,
    ) as error:
        raise RunFolderError(
            f"{folder} holds a pointer ({_NUMBERS} and {_TENSORS}) that fits its GPT-2",
            got=f"{type(error).__name__}: {error}",
            remedy="Name a folder that a finished run wrote.",
        ) from error
    return model.to(device).eval()
