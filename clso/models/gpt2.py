"""GPT-2 (Radford et al. 2019), exactly: pre-LayerNorm, learned positions, tanh-GELU, causal
attention, no head bias.

One module serves the AdamW baseline (it trains) and the re-measuring of winners (it loads grown or
evolved weights), so both sides of every comparison run the same forward pass. Parameter names are
`wte.weight`, `wpe.weight`, `h.{i}.ln_1.*`, `h.{i}.attn.qkv.*`, `h.{i}.attn.o.*`, `h.{i}.ln_2.*`,
`h.{i}.mlp.fc.*`, `h.{i}.mlp.proj.*`, `ln_f.*` and `head.weight`; every matrix is (out, in)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.errors import ConfigError
from clso.models.head_loss import row_losses
from clso.models.packed_text import PackedText

__all__ = ["GPT2", "GPT2Config", "LanguageModel", "Text", "init_gpt2", "n_targets", "text_loss"]


@dataclass(frozen=True)
class GPT2Config:
    """Sizes of a GPT-2 style model; the defaults are the reference protocol's."""

    vocab_size: int = 50257
    n_positions: int = 128
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 2
    tied_head: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "d_model", "n_layers", "n_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1", got=getattr(self, name))
        if self.d_model % self.n_heads:
            raise ConfigError("d_model is a multiple of n_heads", got=(self.d_model, self.n_heads))

    @property
    def d_mlp(self) -> int:
        return 4 * self.d_model

    def forward_flops(self, n_tokens: int) -> int:
        """Multiply-adds times two of one forward pass over blocks of `n_positions`, LayerNorm and
        GELU left out."""
        d = self.d_model
        per_token = (
            self.n_layers * (24 * d * d + 4 * self.n_positions * d) + 2 * d * self.vocab_size
        )
        return per_token * n_tokens


class Sizes(Protocol):
    """What every configuration tells."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def n_positions(self) -> int: ...

    @property
    def d_model(self) -> int: ...


Text = Tensor | PackedText
"""What a loss is measured on: token blocks (n, T + 1), or documents."""


def n_targets(text: Text) -> int:
    """Tokens of `text` that are predicted."""
    return text.n_targets if isinstance(text, PackedText) else text[:, 1:].numel()


class LanguageModel(nn.Module):
    """What can be measured on token blocks: a GPT-2, a model around one, or a
    `clso.models.sequence.SequenceModel`."""

    config: Sizes
    blocks_at_once = 128
    """Token blocks that a GPU measures together."""

    def token_losses(self, blocks: Tensor) -> Tensor:
        """Negative log-likelihood of each target in nats: blocks (n, T + 1) -> (n, T)."""
        raise NotImplementedError

    def next_log_p(self, tokens: Tensor) -> Tensor:
        """Log-probabilities (V,) float64 of the token after `tokens` (T,), T at most
        `n_positions`. By default of `forward`'s last position."""
        return F.log_softmax(self(tokens[None])[0, -1].double(), dim=-1)

    def packed_losses(self, tokens: Tensor, offsets: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood (N,) in nats of each token's target (N,), for documents of any lengths in one row.

        A model that takes documents gives it; `ConfigError` for another.
        """
        raise ConfigError(
            "documents of different lengths are packed for a model with packed()",
            got=type(self).__name__,
            remedy="Use a VSLA, or token blocks.",
        )


class Attention(nn.Module):
    def __init__(self, d_model: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.n_heads, width = n_heads, n_heads * head_dim
        self.qkv = nn.Linear(d_model, 3 * width)
        self.o = nn.Linear(width, d_model)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        # (b, t, 3 width) -> three of (b, heads, t, width / heads)
        q, k, v = self.qkv(x).view(b, t, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o(y.transpose(1, 2).reshape(b, t, -1))
        return out


class MLP(nn.Module):
    def __init__(self, d_model: int, n_units: int) -> None:
        super().__init__()
        self.fc = nn.Linear(d_model, n_units)
        self.proj = nn.Linear(n_units, d_model)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(F.gelu(self.fc(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """One layer. A sub-layer may be `None`: one that adds nothing (`clso.models.trimmed`)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        d, n_heads = config.d_model, config.n_heads
        self.ln_1 = nn.LayerNorm(d)
        self.attn: Attention | None = Attention(d, n_heads, d // n_heads)
        self.ln_2 = nn.LayerNorm(d)
        self.mlp: MLP | None = MLP(d, config.d_mlp)

    def forward(self, x: Tensor) -> Tensor:
        if self.attn is not None:
            x = x + self.attn(self.ln_1(x))
        if self.mlp is not None:
            x = x + self.mlp(self.ln_2(x))
        return x


class GPT2(LanguageModel):
    """The model. `init_weights` gives GPT-2's own random start, for training."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config: GPT2Config = config
        # Given a weight, an embedding draws none; on the meta device that would import torch's
        # compiler (2 s).
        v, t, d = config.vocab_size, config.n_positions, config.d_model
        self.wte = nn.Embedding(v, d, _weight=torch.empty(v, d))
        self.wpe = nn.Embedding(t, d, _weight=torch.empty(t, d))
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied_head:
            self.head.weight = self.wte.weight

    def init_weights(self, generator: torch.Generator) -> GPT2:
        """GPT-2's random start, see `init_gpt2`. Returns self."""
        init_gpt2(self, self.config.n_layers, generator)
        return self

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states, after `ln_f`: (batch, time) -> (batch, time, d_model)."""
        if tokens.shape[1] > self.config.n_positions:
            raise ConfigError(f"at most {self.config.n_positions} positions", got=tokens.shape[1])
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        out: Tensor = self.ln_f(x)
        return out

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, time, vocab_size)."""
        out: Tensor = self.head(self.hidden(tokens))
        return out

    def next_log_p(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(tokens[None])[0, -1])  # no head for the others
        return F.log_softmax(logits.double(), dim=-1)

    def token_losses(self, blocks: Tensor) -> Tensor:
        rows = self.hidden(blocks[:, :-1]).flatten(0, 1)
        losses: Tensor = row_losses(rows, self.head.weight, blocks[:, 1:].flatten())
        return losses.view(len(blocks), -1)


@torch.no_grad()
def init_gpt2(model: nn.Module, n_layers: int, generator: torch.Generator) -> None:
    """Normal(0, 0.02), residual projections scaled by 1/sqrt(2 n_layers), zero biases (GPT-2's initialisation)."""
    for name, p in model.named_parameters():
        if p.dim() < 2:
            p.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
            continue
        residual = name.endswith(("attn.o.weight", "mlp.proj.weight"))
        p.normal_(0.0, 0.02 / math.sqrt(2 * n_layers) if residual else 0.02, generator=generator)


@torch.no_grad()
def text_loss(model: LanguageModel, blocks: Text, *, block_batch: int | None = None) -> float:
    """Mean loss in nats per token over blocks (n, T + 1), summed in float64, `block_batch` blocks at a time.

    A text as documents is for models that take them: `ConfigError` for another.
    """
    device = next(model.parameters()).device
    if isinstance(blocks, PackedText):
        return _documents_loss(model, blocks.to(device))
    if block_batch is None:
        block_batch = model.blocks_at_once if device.type == "cuda" else 16
    total = torch.zeros((), dtype=torch.float64, device=device)
    for part in torch.split(blocks, block_batch):
        total += model.token_losses(part.to(device).long()).double().sum()
    return total.item() / blocks[:, 1:].numel()


def _documents_loss(model: LanguageModel, text: PackedText) -> float:
    total = torch.zeros((), dtype=torch.float64, device=text.device)
    for part in text.batches():
        total += model.packed_losses(part.tokens, part.offsets, part.targets).double().sum()
    return total.item() / text.n_targets
