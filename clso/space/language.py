"""Language-model search spaces: the part that all of them share.

A space of this kind turns genomes into models over one corpus. It says what a batch of genomes
loses on given token blocks (`losses`, the search's hot path) and builds one genome as a module
(`model`, for re-measuring and export)."""

from __future__ import annotations

import traceback
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from clso.errors import DataError
from clso.models.gpt2 import GPT2Config, LanguageModel, Text, n_targets
from clso.space import Genome, Measure, Objective, SearchSpace
from clso.space.context import SpaceContext
from clso.space.functions import measure_batch
from clso.space.options import LanguageModelOptions, make_options
from clso.space.results import Evaluation

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = ["LanguageModelObjective", "LanguageModelSpace", "token_blocks"]


def evenly(n: int, available: int) -> np.ndarray[Any, Any]:
    """`n` places of so many, spread evenly."""
    return np.arange(n) * available // n


def token_blocks(
    tokens: np.ndarray[Any, Any], n_positions: int, n_blocks: int | None = None
) -> Tensor:
    """Cut a text into blocks (n, n_positions + 1) that share one token with the next: every target
    is scored once.

    With `n_blocks` fewer than there are, the blocks are spread evenly over the text. Raises
    `DataError` if the text holds no whole block."""
    _require_block(len(tokens), n_positions)
    available = (len(tokens) - 1) // n_positions
    n = available if n_blocks is None else min(n_blocks, available)
    starts = evenly(n, available) * n_positions
    cut = np.lib.stride_tricks.sliding_window_view(tokens, n_positions + 1)[starts]
    return torch.from_numpy(cut.astype(np.int64))


def _require_block(n_tokens: int, n_positions: int) -> None:
    if n_tokens <= n_positions:
        raise DataError(
            f"a text has at least {n_positions + 1} tokens",
            got=n_tokens,
            remedy="Give a longer text, or a lower n_positions.",
        )


class LanguageModelSpace(SearchSpace):
    """A space whose genomes are language models over `corpus`. A subclass's `Options` extend
    `LanguageModelOptions`."""

    measures = (Measure("loss", unit="nats per token"),)
    Options: ClassVar[type] = LanguageModelOptions

    def __init__(self, context: SpaceContext) -> None:
        self.context = context
        self.options = make_options(self.Options, context.options)

    @classmethod
    def from_context(cls, context: SpaceContext) -> SearchSpace:
        return cls(context)

    @cached_property
    def corpus(self) -> Corpus:
        return self.context.load_corpus()

    @cached_property
    def config(self) -> GPT2Config:
        """The models' sizes. Raises `DataError` for a text that is shorter than a block; of `test`, which
        a search does not read, `text` says so."""
        shortest = min(len(self.corpus.tokens(split)) for split in ("fitness", "valid"))
        _require_block(shortest, self.options.n_positions)  # before anything of that size is made
        return GPT2Config(vocab_size=self.corpus.vocab_size, **self.options.sizes)

    @abstractmethod
    def losses(self, genomes: Sequence[Genome], blocks: Any) -> Tensor:
        """Mean loss of each genome on a shared text on the device, as `text` gives it: (P,)
        float64, nats per token."""

    @abstractmethod
    def model(self, genome: Genome) -> LanguageModel:
        """One genome as a float32 module on the CPU."""

    def final_model(self, genome: Genome) -> LanguageModel:
        """The winner as it is published: by default `model`; a space may regrow it on statistics
        and fitness text."""
        return self.model(genome)

    def text(self, split: str, n_tokens: int | None = None) -> Text:
        """A split as models are measured on it, on the device; about `n_tokens` of it if given.
        By default `blocks`."""
        return self.blocks(split, n_tokens)

    def blocks(self, split: str, n_tokens: int | None = None) -> Tensor:
        """Token blocks of a split, on the device; about `n_tokens` of them if given."""
        t = self.config.n_positions
        n_blocks = None if n_tokens is None else max(1, n_tokens // t)
        return token_blocks(self.corpus.tokens(split), t, n_blocks).to(self.context.device)

    def objective(self) -> Objective:
        return LanguageModelObjective(self)


class LanguageModelObjective:
    """Measures genomes on the fitness text. A rung's blocks are the same for every candidate."""

    def __init__(self, space: LanguageModelSpace) -> None:
        self.space = space
        self._rungs = [space.text("fitness", n) for n in space.context.fitness_tokens]
        self.fidelities = tuple(map(n_targets, self._rungs))

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """All of `genomes` in batched forward passes; if that fails, one by one, so that only the
        culprit fails."""
        return self.begin(genomes, fidelity)()

    def begin(self, genomes: Sequence[Genome], fidelity: int) -> Callable[[], list[Evaluation]]:
        """`evaluate`, waiting for a GPU only when what is returned is called: then it also says
        what went wrong."""
        blocks = self._rungs[fidelity]
        started = self._start(genomes, blocks)
        return lambda: measure_batch(
            lambda batch: self._read(self._start(batch, blocks), batch, blocks),
            genomes,
            fidelity,
            n_tokens=self.fidelities[fidelity],
            started=lambda: self._read(started, genomes, blocks),
        )

    def _start(self, genomes: Sequence[Genome], blocks: Text) -> Future[Tensor]:
        """Queue the forward pass of a batch: its losses (P,), which a GPU may still be computing,
        or what it raised."""
        started: Future[Tensor] = Future()
        try:
            started.set_result(self.space.losses(genomes, blocks))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # `sys.exit` in a plugin is its batch's failure, no more
            # its tensors must not take the memory that the next attempt needs
            traceback.clear_frames(error.__traceback__)
            started.set_exception(error)
        return started

    def _read(
        self, started: Future[Tensor], genomes: Sequence[Genome], blocks: Text
    ) -> list[float]:
        """The losses of a batch that was started; anew in halves if the device's memory did not
        hold it."""
        try:
            losses: list[float] = started.result().tolist()
        except torch.cuda.OutOfMemoryError:
            if len(genomes) == 1:
                raise
        else:
            return losses
        torch.cuda.empty_cache()
        half = len(genomes) // 2
        return [
            loss
            for part in (genomes[:half], genomes[half:])
            for loss in self._read(self._start(part, blocks), part, blocks)
        ]
