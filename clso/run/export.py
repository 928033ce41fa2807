"""A finished run's winner as a folder that `transformers` loads, and on the Hugging Face hub."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from clso.disk.files import writing
from clso.errors import ClsoError, ConfigError, RunFolderError
from clso.models.gpt2 import GPT2, LanguageModel
from clso.models.hf import save_hf_generation, save_hf_tokenizer
from clso.models.memory import MemoryModel
from clso.models.pointer import PointerGPT2
from clso.models.store import save_model
from clso.models.vsla import VSLA, as_gpt2
from clso.run.finished import Winner
from clso.run.model_card import model_card

__all__ = ["export_run", "hub_token", "push_export"]


def export_run(path: Path, out: Path, *, cache_dir: Path | None = None) -> None:
    """Write the winner as a folder that `transformers` loads: model, tokenizer, settings of
    `generate`, and a model card. Of a memory model `transformers` loads the GPT-2 part, and
    `clso.hf.ClsoMemory` the memory beside it.

    `out` is there when all of it is. Raises `RunFolderError` for a run without a winner, for a
    winner that is no GPT-2, or if `out` holds anything already or cannot be made."""
    winner = Winner.open(path, cache_dir=cache_dir)
    model = _exportable(winner)
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise RunFolderError(
            "an export needs a new folder", got=str(out), remedy="Choose another one."
        )
    unfinished = out.with_name(f".{out.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with writing("an export's folder can be made", out, "Choose another one."):
        unfinished.mkdir(parents=True)
    try:
        save_model(model, unfinished)
        save_hf_tokenizer(winner.corpus.tokenizer_json, unfinished, model.config.n_positions)
        save_hf_generation(unfinished, model.config.n_positions)
        card = model_card(winner, is_mixture=isinstance(model, MemoryModel))
        (unfinished / "README.md").write_text(card, encoding="utf-8")
        os.replace(unfinished, out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _exportable(winner: Winner) -> LanguageModel:
    """The winner as what `transformers` reads. Raises `RunFolderError`."""
    model = winner.model
    if isinstance(model, VSLA):
        model = as_gpt2(model)
    if isinstance(model.lm if isinstance(model, MemoryModel) else model, GPT2):
        return model
    part = (
        "; transformers would read its GPT-2 part alone from there, which is another model, with a higher loss."
        if isinstance(model, PointerGPT2)
        else "."
    )
    raise RunFolderError(
        "transformers reads exact GPT-2s only",
        problem=f"the winner, of space {winner.folder.config.space}, is a {type(model).__name__}",
        remedy=f"{winner.path} holds the whole model, for `clso generate` and clso.models.store.load_model{part}",
    )


def hub_token(repo: str) -> str:
    """The token that `repo` ("USER/NAME") is written with, from HF_TOKEN or `hf auth login`.

    Raises `ConfigError` for a name that is none, or if no token is set."""
    from huggingface_hub import get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError("a repository of the hub is USER/NAME", got=repo) from error
    if token := get_token():
        return str(token)
    raise ConfigError(
        "an export is pushed with a token of the Hugging Face hub",
        problem="no token is set",
        remedy="Set HF_TOKEN, or log in with `hf auth login`.",
    )


def push_export(folder: Path, repo: str, token: str) -> str:
    """Upload an export to the hub, and return its address there; a repository that is new is made
    private.

    Raises `ClsoError`, exit code 1, for whatever the hub or the network refuse."""
    from huggingface_hub import HfApi

    hub: Any = HfApi(token=token)
    try:
        name = hub.create_repo(repo, private=True, exist_ok=True).repo_id
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Export from CLSO")
    except Exception as error:  # the hub's, the system's, and its HTTP library's, whichever it is
        failed = ClsoError(
            f"the Hugging Face hub takes {folder} as {repo}",
            problem=f"{type(error).__name__}: {error}",
            remedy="The folder is whole; push it again with `hf upload`.",
        )
        failed.exit_code = 1
        raise failed from error
    return f"{hub.endpoint}/{name}"
