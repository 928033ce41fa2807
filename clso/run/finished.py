"""A finished run's winner: measured again from disk, or written for other tools."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clso.data import Corpus, load_corpus
from clso.data.corpus import load_other
from clso.device import resolve_device
from clso.errors import RunFolderError
from clso.models.gpt2 import GPT2, Text, n_targets, text_loss
from clso.models.hf import save_hf_tokenizer
from clso.models.memory import MemoryModel, distribution_loss
from clso.models.packed_text import packed_text
from clso.models.pointer import PointerGPT2
from clso.models.store import load_model, save_model
from clso.models.vsla import VSLA, as_gpt2
from clso.run.folder import RunFolder
from clso.space.language import token_blocks

__all__ = ["evaluate_run", "export_run"]

_TOLERANCE = 1e-4  # nats per token: other kernels, other devices
_log = logging.getLogger(__name__)


def evaluate_run(
    path: Path,
    *,
    data: str | None = None,
    split: str = "test",
    device: str = "auto",
    cache_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`loss` (nats per token), `n_tokens` and `split` of a run's winner, on its own text or on
    another.

    `progress` receives a line a step of reading another text. `recorded_loss` is what the run
    stated for that split, if it did; a warning says if the two differ by more than 1e-4. Raises
    `RunFolderError` for a run without a winner, or whose files are not what it wrote; `DataError`
    for a text that cannot be used."""
    where = resolve_device(device)
    folder = RunFolder.open(path)
    model = load_model(_winner(folder), device=where, trim=True)
    corpus = _corpus(folder, cache_dir)
    other = corpus if data is None else load_other(corpus, data, progress)
    tokens, longest = other.tokens(split), model.config.n_positions
    blocks = token_blocks(tokens, longest).to(where)
    text: Text = blocks
    if isinstance(model, VSLA):
        text = packed_text(tokens, other.document_lengths(split), longest).to(where)
    # A memory model is read in another way than the run's own: whole distributions, token by token.
    loss = (
        distribution_loss(model, blocks)
        if isinstance(model, MemoryModel)
        else text_loss(model, text)
    )
    found = {"loss": loss, "n_tokens": n_targets(text), "split": split}
    recorded = folder.read_result()["best"].get(f"{split}_loss") if data is None else None
    if recorded is None:
        return found
    if not abs(found["loss"] - recorded) <= _TOLERANCE:
        _log.warning(
            "the loss that %s recorded on %s is %.4f, not %.4f",
            path,
            split,
            recorded,
            found["loss"],
        )
    return {**found, "recorded_loss": recorded}


def export_run(path: Path, out: Path, *, cache_dir: Path | None = None) -> None:
    """Write the winner as a folder that `transformers` loads, with its tokenizer. Of a memory model
    `transformers` loads the GPT-2 part, and `clso.hf.ClsoMemory` the memory beside it.

    Raises `RunFolderError` for a run without a winner, for a winner that is no GPT-2, or if
    `out` holds anything already."""
    folder = RunFolder.open(path)
    model = load_model(_winner(folder))
    if isinstance(model, VSLA):
        model = as_gpt2(model)
    if not isinstance(model, (GPT2, MemoryModel)):
        raise RunFolderError(
            "transformers reads exact GPT-2s only",
            problem=f"the winner, of space {folder.config.space}, is a {type(model).__name__}",
            remedy=f"{_winner(folder)} holds the whole model, for clso.models.store.load_model"
            + (
                "; transformers would read its GPT-2 part alone from there, which is another model, with a higher loss."
                if isinstance(model, PointerGPT2)
                else "."
            ),
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError(
            "an export needs a new folder", got=str(out), remedy="Choose another one."
        )
    tokenizer = _corpus(folder, cache_dir).tokenizer_json
    save_model(model, out)
    save_hf_tokenizer(tokenizer, out)


def _corpus(folder: RunFolder, cache_dir: Path | None) -> Corpus:
    """The run's own text. If it has changed, a tokenizer that is trained on it has, too, and its
    ids mean other things."""
    config = folder.config
    corpus = load_corpus(config.data, config.tokenizer, cache_dir)
    recorded = folder.read_manifest().get("corpus")
    if not isinstance(recorded, dict) or recorded.get("hash") != corpus.content_hash:
        raise RunFolderError(
            "the run's text is the one that it was made with",
            got=config.data,
            remedy="It has changed since; put it back, for the model's tokenizer comes from it.",
        )
    return corpus


def _winner(folder: RunFolder) -> Path:
    best = folder.path / "best"
    if not folder.finished or not best.is_dir():
        raise RunFolderError(
            "a finished run of a language-model space has a winner",
            got=str(folder.path),
            remedy=f"Finish it with `clso resume {folder.path}`.",
        )
    folder.read_result()
    folder.require_written("best/")
    for path in best.rglob("*"):
        if not (path.is_file() or path.is_dir()):
            raise RunFolderError("a winner is regular files", got=str(path))
    return best
