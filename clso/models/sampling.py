"""Text from a language model, token by token.

Temperature, top-k and nucleus sampling (Holtzman et al. 2020, "The Curious Case of Neural Text
Degeneration") on the distribution of the next token. A context longer than the model's
`n_positions` slides: the oldest token is dropped for each new one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.distribution import MemoryReader
from clso.models.gpt2 import LanguageModel
from clso.models.memory import MemoryModel

__all__ = ["Sampling", "sample"]


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn.

    `temperature` divides the log-probabilities; 0 takes the likeliest token. `top_k` keeps that
    many of the likeliest tokens (0: all), `top_p` then the fewest of them whose probabilities reach
    that share. Raises `ConfigError` for values outside their ranges."""

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError("a temperature is a number, at least 0", got=self.temperature)
        if self.top_k < 0:
            raise ConfigError("top_k is at least 0, which keeps all", got=self.top_k)
        if not 0 < self.top_p <= 1:
            raise ConfigError("top_p is above 0, and at most 1", got=self.top_p)

    def draw(self, log_p: Tensor, generator: torch.Generator) -> int:
        """A token from its log-probabilities (V,), by `generator` alone; ties go to the lower id."""
        if self.temperature == 0:
            return int(log_p.argmax())
        log_p = log_p.double().cpu()
        # the largest is 0, which no temperature makes infinite
        ranked, ids = ((log_p - log_p.max()) / self.temperature).sort(descending=True, stable=True)
        p = ranked[: self.top_k or None].softmax(0)
        before = p.cumsum(0) - p
        p = p.masked_fill(before >= self.top_p, 0)
        p[0] = p[0].clamp_min(torch.finfo(p.dtype).tiny)  # the likeliest is always kept
        return int(ids[torch.multinomial(p, 1, generator=generator)])


def sample(
    model: LanguageModel, prompt: Sequence[int], n_tokens: int, sampling: Sampling, *, seed: int = 0
) -> Iterator[int]:
    """`n_tokens` tokens that follow `prompt`, as they are drawn.

    Equal arguments give equal tokens. Raises `ConfigError` for a prompt without a token, or a seed
    of more than 63 bits."""
    if not prompt:
        raise ConfigError("a prompt has at least one token", got=0, remedy="Give some text.")
    if not 0 <= seed < 1 << 63:
        raise ConfigError("a seed is at least 0, and below 2^63", got=seed)
    generator = torch.Generator().manual_seed(seed)
    return islice(_tokens(model, prompt, sampling, generator), n_tokens)


def _tokens(
    model: LanguageModel, prompt: Sequence[int], sampling: Sampling, generator: torch.Generator
) -> Iterator[int]:
    window = list(prompt[-model.config.n_positions :])
    next_log_p = _mixture(model) if isinstance(model, MemoryModel) else model.next_log_p
    device = next(model.parameters()).device
    while True:
        with torch.no_grad():
            log_p = next_log_p(torch.tensor(window, device=device))
        yield (token := sampling.draw(log_p, generator))
        window = [*window, token][-model.config.n_positions :]


def _mixture(model: MemoryModel) -> Callable[[Tensor], Tensor]:
    """A memory model's `next_log_p`, for windows that each go on from the one before: the memory
    reads a token once."""
    reader = MemoryReader(model.memory, model.recipe, model.weights)

    def next_log_p(window: Tensor) -> Tensor:
        tokens = window.tolist()
        if len(tokens) == len(reader.tokens):
            reader.forget_oldest()
        for token in tokens[len(reader.tokens) :]:
            reader.push(token)
        grown = model.lm.next_log_p(window).exp()
        return reader.distribution(grown).log()

    return next_log_p
