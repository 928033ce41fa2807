"""A `SimpleNSM` on disk: `model.safetensors`, and `config.json` with the fields of `NSMConfig` and a `model_type`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from clso.errors import ClsoError, RunFolderError
from clso.files import read_regular
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.tensors import write_tensors
from clso.parsing import parse_json

__all__ = ["holds_nsm", "load_nsm", "save_nsm"]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def save_nsm(model: SimpleNSM, folder: Path) -> None:
    """Write `model`; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_tensors(tensors, folder / _WEIGHTS)
    (folder / _CONFIG).write_text(json.dumps({"model_type": model.name, **asdict(model.config)}, indent=2) + "\n")


def holds_nsm(folder: Path) -> bool:
    """Whether `folder` says that its model is a SimpleNSM."""
    try:
        found = parse_json(read_regular(folder / _CONFIG))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("model_type") == SimpleNSM.name


def load_nsm(folder: Path, *, device: str = "cpu") -> SimpleNSM:
    """What `save_nsm` wrote. Raises `RunFolderError` where it is missing or damaged."""
    try:
        values = parse_json(read_regular(folder / _CONFIG))
        del values["model_type"]
        with torch.random.fork_rng(devices=[]):  # a constructor's own draws are nobody's business
            model = SimpleNSM(NSMConfig(**values))
        model.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, ClsoError) as error:
        raise RunFolderError(
            f"{folder} holds a SimpleNSM ({_CONFIG} and {_WEIGHTS})",
            got=f"{type(error).__name__}: {error}",
            remedy="Name a folder that a finished run wrote.",
        ) from error
    return model.to(device).eval()
