"""A finished run's winner, read from disk: measured again, or asked for text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clso.data import Corpus, load_corpus
from clso.data.corpus import load_other
from clso.device import resolve_device
from clso.errors import RunFolderError
from clso.models.gpt2 import LanguageModel, Text, n_targets, text_loss
from clso.models.memory import MemoryModel, distribution_loss
from clso.models.packed_text import packed_text
from clso.models.sampling import Sampling, sample
from clso.models.store import load_model
from clso.models.vsla import VSLA
from clso.run.folder import RunFolder
from clso.space.language import token_blocks

__all__ = ["Winner", "evaluate_run"]

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
    winner = Winner.open(path, device=device, trim=True, cache_dir=cache_dir)
    folder, model, corpus = winner.folder, winner.model, winner.corpus
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


@dataclass(frozen=True)
class Winner:
    """The language model that a finished run found, and the text that it was made of.

    Examples
    --------
    winner = Winner.open(Path("runs/local/mine"))
    for piece in winner.generate("def ", 100, Sampling(temperature=0.8), seed=0):
        print(piece, end="")
    """

    folder: RunFolder
    model: LanguageModel
    corpus: Corpus

    @classmethod
    def open(
        cls, path: Path, *, device: str = "cpu", trim: bool = False, cache_dir: Path | None = None
    ) -> Winner:
        """Of the run in `path`; `trim` as in `load_model`.

        Raises
        ------
        RunFolderError
            No finished run, a winner that is no language model, or files that are not what the
            run wrote.
        DataError
            The run's text cannot be read.
        """
        where = resolve_device(device)
        folder = RunFolder.open(path)
        model = load_model(_best(folder), device=where, trim=trim)
        return cls(folder, model, _corpus(folder, cache_dir))

    @property
    def path(self) -> Path:
        """The folder of the model, for `clso.models.store.load_model`."""
        return self.folder.path / "best"

    def generate(
        self, prompt: str, n_tokens: int, sampling: Sampling, *, seed: int = 0
    ) -> Iterator[str]:
        """What follows `prompt`, in pieces that end with whole characters, as they are drawn.

        Equal arguments give equal text. Raises `ConfigError` for an empty prompt."""
        drawn = sample(self.model, self.corpus.encode(prompt), n_tokens, sampling, seed=seed)
        return _whole_characters(drawn, self.corpus)


def _whole_characters(tokens: Iterable[int], corpus: Corpus) -> Iterator[str]:
    """The tokens' text; one that ends within a character waits for the next, at most 3 of them,
    for no character has more bytes."""
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        text = corpus.decode(waiting)
        if not text.endswith("\ufffd") or len(waiting) > 3:
            yield text
            waiting = []
    if waiting:
        yield corpus.decode(waiting)


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


def _best(folder: RunFolder) -> Path:
    best = folder.path / "best"
    if not folder.finished:
        raise RunFolderError(
            "a finished run of a language-model space has a winner",
            got=str(folder.path),
            remedy=f"Finish it with `clso resume {folder.path}`.",
        )
    folder.read_result()  # first: settings that were changed are named as such
    config = folder.config
    if config.task or not (best / "config.json").exists():
        searched = f"task {config.task}" if config.task else f"space {config.space}"
        raise RunFolderError(
            "a finished run of a language-model space has a winner that predicts text",
            problem=f"{folder.path}, of {searched}, has none",
        )
    folder.require_written("best/")
    for path in best.rglob("*"):
        if not (path.is_file() or path.is_dir()):
            raise RunFolderError("a winner is regular files", got=str(path))
    return best
