"""Sequence models: what every family of the `models` plugin group is, as a language model or as a
classifier.

A family subclasses `SequenceModel` and gives the part between the embedding and the head: `body`,
which is causal, and `body_flops`. Conventions of the FLOP formulas: multiply-adds times two of
every matrix product of one forward pass over ONE sequence, as the code executes it (a causal
attention counts its full square, a chunked form its padding), which is what
`torch.utils.flop_counter` counts. Left out, as the counter leaves it out: everything elementwise
(norms, activations, softmax, gates, the scans of recurrences) and look-ups in tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.errors import ConfigError
from clso.models.gpt2 import LanguageModel
from clso.models.head_loss import row_losses
from clso.models.layers import Layer, init_weights, sinusoids

__all__ = ["SequenceConfig", "SequenceModel", "StackedModel"]


@dataclass(frozen=True)
class SequenceConfig:
    """Sizes that every family has; a family's own fields, in a subclass, have defaults.

    `n_positions` is the longest sequence taken. `n_classes` 0 is a language model, otherwise a
    classifier of sequences."""

    vocab_size: int
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_positions: int = 1024
    n_classes: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_layers", "n_heads", "n_positions"):
            self.require_at_least(1, name)
        self.require_at_least(0, "n_classes")
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                "d_model is a multiple of twice n_heads", got=(self.d_model, self.n_heads)
            )

    def require_at_least(self, low: int, name: str) -> None:
        """Raises `ConfigError` if the field `name` is below `low`."""
        if getattr(self, name) < low:
            raise ConfigError(f"{name} is at least {low}", got=getattr(self, name))

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class SequenceModel(LanguageModel):
    """Embedding, a family's causal `body`, layer norm and a linear head without bias.

    `name` is the family's name as a plugin, `Config` its configuration, `positions` whether
    sinusoids (Vaswani et al. 2017) are added to the embeddings; a recurrence knows the order of its
    tokens by itself."""

    name: ClassVar[str]
    Config: ClassVar[type[SequenceConfig]] = SequenceConfig
    positions: ClassVar[bool] = True
    capturable: ClassVar[bool] = False
    """Whether a training step may be replayed as a CUDA graph: `forward` asks the device nothing and
    does the same at each call."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        if not isinstance(config, self.Config):
            raise ConfigError(
                f"{self.name} is configured by {self.Config.__name__}", got=type(config).__name__
            )
        self.config: SequenceConfig = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.n_classes or config.vocab_size, bias=False)

    def body(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model); row t depends on rows up to t only."""
        raise NotImplementedError

    def body_flops(self, n_tokens: int) -> int:
        """FLOPs of `body` for one sequence of `n_tokens` (the module's conventions)."""
        raise NotImplementedError

    def embed(self, tokens: Tensor) -> Tensor:
        """What `body` reads: (B, T) -> (B, T, d_model). Raises `ConfigError` if T is over
        `n_positions`."""
        n_tokens = tokens.shape[1]
        if n_tokens > self.config.n_positions:
            raise ConfigError(
                f"at most {self.config.n_positions} positions",
                got=n_tokens,
                remedy="Raise n_positions.",
            )
        x: Tensor = self.embedding(tokens)
        return x + sinusoids(n_tokens, self.config.d_model, x) if self.positions else x

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states, causal: (B, T) -> (B, T, d_model)."""
        out: Tensor = self.norm(self.body(self.embed(tokens)))
        return out

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits: (B, T) -> (B, T, vocab_size) of a language model, (B, n_classes) of a classifier.

        A classifier reads the mean of the hidden states over time, over the tokens where `mask` (B,
        T) is true. Padding stands after a sequence's tokens: causal models cannot see it there, so
        that it changes nothing. A language model has no use for a mask."""
        x = self.hidden(tokens)
        if self.config.n_classes:
            weights = torch.ones_like(x[..., :1]) if mask is None else mask[..., None].to(x.dtype)
            x = (x * weights).sum(1) / weights.sum(1).clamp_min(1)
        out: Tensor = self.head(x)
        return out

    def next_log_p(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(tokens[None])[0, -1])  # no head for the others
        return F.log_softmax(logits.double(), dim=-1)

    def token_losses(self, blocks: Tensor) -> Tensor:
        """Negative log-likelihood of each target in nats, blocks (n, T + 1) -> (n, T);
        differentiable."""
        if self.config.n_classes:
            raise ConfigError(
                "a language model predicts tokens",
                problem=f"this is a classifier of {self.config.n_classes} classes",
            )
        rows, targets = self.hidden(blocks[:, :-1]).flatten(0, 1), blocks[:, 1:].flatten()
        # the tiles' fused kernel has no backward pass, and tiles save nothing under autograd
        if torch.is_grad_enabled():
            losses = F.cross_entropy((rows @ self.head.weight.T).float(), targets, reduction="none")
        else:
            losses = row_losses(rows, self.head.weight, targets)
        return losses.view(len(blocks), -1)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> SequenceModel:
        """The start of training, drawn from `generator` alone (`clso.models.layers.init_weights`).
        Returns self."""
        init_weights(self, generator)
        self.head.weight.normal_(0.0, 0.02, generator=generator)  # a first guess near uniform
        return self

    def forward_flops(self, n_tokens: int) -> int:
        """FLOPs of one forward pass over one sequence of `n_tokens`, head included (the module's
        conventions)."""
        c = self.config
        head = 2 * c.d_model * (c.n_classes or c.vocab_size * n_tokens)
        return self.body_flops(n_tokens) + head

    def trace(self, tokens: Tensor) -> dict[str, Tensor]:
        """What happens inside, for interpretability: names and tensors, none if a family has
        nothing to show."""
        return {}


class StackedModel(SequenceModel):
    """A body of `n_layers` equal blocks, one after the other."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(self.block(layer) for layer in range(config.n_layers))

    def block(self, layer: int) -> Layer:
        """Block number `layer`, new; `self.config` is set."""
        raise NotImplementedError

    def body(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x

    def body_flops(self, n_tokens: int) -> int:
        return sum(block.flops(n_tokens) for block in self.blocks if isinstance(block, Layer))
