"""A counted memory beside a GPT-2 in `transformers`: a logits processor that makes of both the mixture they were fitted for.

from transformers import AutoModelForCausalLM
from clso.hf import ClsoMemory

model = AutoModelForCausalLM.from_pretrained(folder)        # what `clso export` wrote
memory = ClsoMemory.from_pretrained(folder)
model.generate(ids, logits_processor=[memory], do_sample=True, temperature=0.8)
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from clso.errors import ConfigError, MissingDependencyError
from clso.grown.counted_memory import CountedMemory
from clso.grown.distribution import MemoryReader
from clso.grown.memory_file import load_memory
from clso.grown.recipes import Recipe
from clso.models.memory import check_weights

try:
    from transformers import LogitsProcessor
except ImportError as error:
    raise MissingDependencyError(
        "clso.hf needs the package transformers", remedy='Install it with pip install "clso[hf]".'
    ) from error

__all__ = ["ClsoMemory"]


class ClsoMemory(LogitsProcessor):  # type: ignore[misc]
    """Turns a GPT-2's logits into the log-probabilities of its mixture with a memory.

    Parameters
    ----------
    memory, recipe, weights : what `clso.grown.memory_file.load_memory` gives.
    pad_token_id : a token that is left out at the beginning of a row, if prompts are padded there.

    Raises `ConfigError` if the weights do not fit the recipe, or the recipe the memory.
    """

    def __init__(
        self,
        memory: CountedMemory,
        recipe: Recipe,
        weights: list[Tensor],
        *,
        pad_token_id: int | None = None,
    ) -> None:
        check_weights(recipe, weights)
        recipe.require(memory)
        self.memory, self.recipe, self.weights = memory, recipe, weights
        self.pad_token_id = pad_token_id
        self._readers: dict[int, MemoryReader] = {}  # by row of the batch

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, pad_token_id: int | None = None) -> ClsoMemory:
        """The memory in a folder that `clso export` wrote. Raises `RunFolderError` if it is missing or damaged."""
        return cls(*load_memory(Path(folder)), pad_token_id=pad_token_id)

    def to(self, device: str | torch.device) -> ClsoMemory:
        """Move the tables to a device; a call does so by itself."""
        self.memory = self.memory.to(torch.device(device))
        self.weights = [w.to(device) for w in self.weights]
        self._readers.clear()
        return self

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Log-probabilities (B, V) of the token after `input_ids` (B, T), from the GPT-2's logits `scores` (B, V).

        Raises `ConfigError` if the GPT-2 has another vocabulary than the memory, or a row no token.
        """
        if scores.shape[-1] != self.memory.vocab_size:
            raise ConfigError(
                f"a memory has its GPT-2's {scores.shape[-1]} tokens", got=self.memory.vocab_size
            )
        if self.memory.device != input_ids.device:
            self.to(input_ids.device)
        grown = torch.softmax(scores.double(), dim=-1)
        rows = [
            self._read(row, self._past(ids).tolist()).distribution(p)
            for row, (ids, p) in enumerate(zip(input_ids, grown, strict=True))
        ]
        return torch.stack(rows).log().to(scores.dtype)

    def _read(self, row: int, past: list[int]) -> MemoryReader:
        """A reader that has read `past`: the row's last one, if that only has to read on."""
        reader = self._readers.get(row)
        if reader is None or past[: len(reader.tokens)] != reader.tokens:
            reader = MemoryReader(self.memory, self.recipe, self.weights)
            self._readers[row] = reader
        for token in past[len(reader.tokens) :]:
            reader.push(token)
        return reader

    def _past(self, ids: Tensor) -> Tensor:
        """A row without the padding at its beginning."""
        if self.pad_token_id is not None:
            kept = (ids != self.pad_token_id).nonzero()
            ids = ids[int(kept[0]) :] if len(kept) else ids[:0]
        if not len(ids):
            raise ConfigError("a memory speaks after one token at least", got=0)
        return ids
