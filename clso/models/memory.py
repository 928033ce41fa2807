"""A grown model, counted memory and the block's own past, mixed in probability space.

    model = MemoryModel(lm, memory, recipe, weights)
    model.token_losses(blocks)       # all targets of many blocks at once
    model(tokens)                    # whole distributions, position by position: a second way to the same numbers

Around a GPT-2 it is no GPT-2. Contexts never reach beyond the block, and a position sees nothing later than itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.errors import ConfigError
from clso.grown.counted_memory import CountedMemory
from clso.grown.distribution import MemoryReader
from clso.grown.experts import observe
from clso.grown.mixture import mix
from clso.grown.recipes import Recipe
from clso.models.gpt2 import LanguageModel

__all__ = ["MemoryModel", "distribution_loss", "target_probabilities"]


class MemoryModel(LanguageModel):
    """The mixture. `weights` holds each stage's, by bucket, as `clso.grown.mixture.fit_weights` gives them.

    Raises `ConfigError` if the memory does not fit the model's tokens, or the weights the recipe.
    """

    blocks_at_once = 1024  # a GPU's time for a memory is that of starting operations

    def __init__(
        self, lm: LanguageModel, memory: CountedMemory, recipe: Recipe, weights: Sequence[Tensor]
    ) -> None:
        super().__init__()
        if memory.vocab_size != lm.config.vocab_size:
            raise ConfigError(
                f"a memory has its model's {lm.config.vocab_size} tokens",
                got=memory.vocab_size,
                remedy="Count the text with the model's tokenizer.",
            )
        check_weights(recipe, weights)
        recipe.require(memory)
        self.config = lm.config
        self.lm = lm
        self.memory = memory
        self.recipe = recipe
        self.weights = [w.double() for w in weights]

    @property
    def n_bytes(self) -> int:
        """Bytes of every table and weight."""
        lm = sum(p.numel() * p.element_size() for p in self.lm.parameters())
        return lm + self.memory.n_bytes + sum(w.numel() * w.element_size() for w in self.weights)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MemoryModel:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        probe = fn(torch.empty(0))
        self.memory = self.memory.to(probe.device)
        self.weights = [w.to(probe.device) for w in self.weights]
        return self

    @torch.no_grad()
    def token_losses(self, blocks: Tensor) -> Tensor:
        """Negative log-likelihood of each target in nats: blocks (n, T + 1) -> (n, T) float32."""
        parts = torch.split(blocks.long(), self.blocks_at_once)
        return torch.cat([self._token_losses(part) for part in parts])

    def _token_losses(self, blocks: Tensor) -> Tensor:
        seen = observe(self.memory, self.recipe, blocks)
        if self.recipe.grown:
            seen.fill_in(target_probabilities(self.lm, blocks))
        row = torch.cat([*self.weights, seen.base.new_empty(0)])[None]
        p = mix(seen.base, seen.experts, seen.slots, row)
        return p.log().neg().float().view(len(blocks), -1)

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probabilities (batch, time, vocabulary) float64, each position from its own past alone."""
        log_p = F.log_softmax(self.lm(tokens).double(), dim=-1)
        rows = []
        for block, grown in zip(tokens.tolist(), log_p.exp(), strict=True):
            reader = MemoryReader(self.memory, self.recipe, self.weights)
            for token, p in zip(block, grown, strict=True):
                reader.push(token)
                rows.append(reader.distribution(p).log())
        return torch.stack(rows).view(*tokens.shape, -1)


def target_probabilities(lm: LanguageModel, blocks: Tensor) -> Tensor:
    """What a model gives the targets of blocks (n, T + 1): (n T,) float64, for `Observed.fill_in`."""
    parts = torch.split(blocks, lm.blocks_at_once)
    return torch.cat([lm.token_losses(part) for part in parts]).neg().double().exp().flatten()


def check_weights(recipe: Recipe, weights: Sequence[Tensor]) -> None:
    """Raises `ConfigError` unless each stage of the recipe has a weight in [0, 1] for each bucket."""
    sizes = tuple(len(w) for w in weights)
    if sizes != recipe.sizes:
        raise ConfigError("a mixture has a weight for each bucket of each stage", got=sizes)
    if not all(bool(((w >= 0) & (w <= 1)).all()) for w in weights):
        raise ConfigError("a mixture's weights are between 0 and 1")


@torch.no_grad()
def distribution_loss(model: MemoryModel, blocks: Tensor) -> float:
    """Mean loss in nats per token over blocks (n, T + 1), by whole distributions, token by token.

    Raises `ConfigError` if a distribution does not sum to 1 within 1e-6.
    """
    total = 0.0
    for block in blocks:
        log_p = model(block[None, :-1])[0]
        off = float((log_p.exp().sum(1) - 1).abs().max())
        if not off <= 1e-6:
            raise ConfigError("a memory model's distributions sum to 1 within 1e-6", got=off)
        total -= float(log_p.gather(1, block[1:, None].long().to(log_p.device)).sum())
    return total / blocks[:, 1:].numel()
