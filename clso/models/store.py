"""Models on disk: a folder that `transformers` reads, and beside it what a model has that GPT-2 has
not.

A pointer model's folder is its GPT-2 part (`config.json`, `model.safetensors`) plus `pointer.json`
(its numbers) and `pointer.safetensors` (rarity, projection); a memory model's is its grown part, a
GPT-2 or a SimpleNSM, plus `memory.json` and `memory.safetensors` (`clso.grown.memory_file`). A
SimpleNSM or a VSLA has a `config.json` of its own kind. What kind of model a folder holds is told by what is in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from clso.disk.damage import reading
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.disk.tensors import load_tensors, write_tensors
from clso.errors import ClsoError, ConfigError, RunFolderError
from clso.grown.memory_file import MEMORY_FILES, holds_memory, load_memory, save_memory
from clso.models.gpt2 import GPT2, LanguageModel
from clso.models.hf import load_hf, save_hf
from clso.models.memory import MemoryModel
from clso.models.modules import WEIGHTS, build_module, read_module, write_module
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.pointer import PointerGPT2
from clso.models.trimmed import trimmed_nsm
from clso.models.vsla import VSLA, VSLAConfig

__all__ = ["load_model", "save_model"]

_CONFIG = "config.json"
_NUMBERS, _TENSORS = "pointer.json", "pointer.safetensors"


def save_model(model: LanguageModel, folder: Path) -> None:
    """Write `model`, float32; the folder is made, and files of another kind of model in it are
    removed.

    Raises `RunFolderError` for a model of a kind that has no form on disk.
    """
    for kind, names in ((PointerGPT2, (_NUMBERS, _TENSORS)), (MemoryModel, MEMORY_FILES)):
        for name in () if isinstance(model, kind) else names:
            (folder / name).unlink(missing_ok=True)
    if isinstance(model, MemoryModel):
        save_model(model.lm, folder)
        save_memory(folder, model.memory, model.recipe, model.weights)
    elif isinstance(model, PointerGPT2):
        save_hf(model.lm, folder)
        tensors = {"rarity": model.rarity, "projection": model.projection}
        write_tensors(
            {name: value.cpu().contiguous() for name, value in tensors.items()}, folder / _TENSORS
        )
        numbers = {"kind": "pointer-sentinel", "scalars": model.scalars}
        (folder / _NUMBERS).write_text(json.dumps(numbers, indent=2) + "\n")
    elif isinstance(model, GPT2):
        save_hf(model, folder)
    elif isinstance(model, (SimpleNSM, VSLA)):
        described = {"model_type": model.name, **asdict(model.config)}
        write_module(model, described, folder, _CONFIG)
    else:
        raise RunFolderError(
            "a model that is written is a GPT2, a PointerGPT2, a MemoryModel, a SimpleNSM or a VSLA",
            got=type(model).__name__,
        )


def load_model(folder: Path, *, device: str = "cpu", trim: bool = False) -> LanguageModel:
    """The model in `folder`, float32; with `trim` a GPT-2 or an NSM without silent parts, for
    scoring alone (`clso.models.trimmed`). Raises `RunFolderError` if it is missing or damaged."""
    lm = _without_company(folder, device, trim)
    if holds_memory(folder):
        with reading(folder, "a memory that fits its model", refusals=(ConfigError,)):
            return MemoryModel(lm, *load_memory(folder)).to(device).eval()
    has_pointer = any((folder / name).exists() for name in (_NUMBERS, _TENSORS))
    if not isinstance(lm, GPT2) or not has_pointer:
        return lm
    what = f"a pointer ({_NUMBERS} and {_TENSORS}) that fits its GPT-2"
    with reading(folder, what, refusals=(ClsoError,)):
        scalars = parse_json(read_regular(folder / _NUMBERS))["scalars"]
        tensors = load_tensors(folder / _TENSORS)
        model = PointerGPT2(lm, tensors["rarity"], tensors["projection"], scalars)
    return model.to(device).eval()


def _without_company(folder: Path, device: str, trim: bool) -> LanguageModel:
    """What `config.json` is of."""
    family = _own_kind(folder)
    if family is None:
        return load_hf(folder, device=device, trim=trim)
    what = f"a {family.__name__} ({_CONFIG} and {WEIGHTS})"
    with reading(folder, what, refusals=(ClsoError,)):
        model = read_module(folder, _CONFIG, partial(_build, family), device=device)
    return trimmed_nsm(model) if trim and isinstance(model, SimpleNSM) else model


def _own_kind(folder: Path) -> type[SimpleNSM] | type[VSLA] | None:
    """The class that `folder` says its model is of; None for a GPT-2 and what lies beside one."""
    try:
        found = parse_json(read_regular(folder / _CONFIG))
    except (OSError, ValueError):
        return None
    kind = found.get("model_type") if isinstance(found, dict) else None
    return next((family for family in (SimpleNSM, VSLA) if family.name == kind), None)


def _build(family: type[SimpleNSM] | type[VSLA], described: dict[str, Any]) -> SimpleNSM | VSLA:
    del described["model_type"]
    if issubclass(family, VSLA):
        return build_module(VSLA, VSLAConfig(**described))
    return build_module(SimpleNSM, NSMConfig(**described))
