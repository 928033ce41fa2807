"""Layers that several families share: residual blocks, sinusoidal positions, the common random
start."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models.fused import difference, is_possible, is_trusted, with_gradients

__all__ = [
    "CausalAttention",
    "LSTMLayer",
    "Layer",
    "ResidualBlock",
    "in_chunks",
    "init_weights",
    "merge_heads",
    "pad_to_multiple",
    "sinusoids",
    "split_heads",
]


class Layer(nn.Module):
    """(B, T, d) -> (B, T, d), causal over T."""

    def flops(self, n_tokens: int) -> int:
        """Of one sequence of `n_tokens`, by the conventions of `clso.models.sequence`."""
        raise NotImplementedError

    def init_own(self, generator: torch.Generator) -> None:
        """Draw from `generator`, in place, what `init_weights` draws no better; without
        gradients."""


@torch.no_grad()
def init_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Embeddings normal(0, 1), matrices normal(0, 1 / sqrt(fan-in)), norms one, biases zero; then
    each layer's own rule.

    Forget biases of LSTMs are 1 (Jozefowicz et al. 2015).
    """
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if isinstance(module, nn.Embedding):
                p.normal_(generator=generator)
            elif p.dim() >= 2:
                p.normal_(0.0, p[0].numel() ** -0.5, generator=generator)
            elif isinstance(module, (nn.LSTM, nn.LSTMCell)) and name.startswith("bias_ih"):
                p.zero_()[len(p) // 4 : len(p) // 2] = 1.0
            else:
                p.fill_(
                    1.0
                    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and name == "weight"
                    else 0.0
                )
    for module in model.modules():
        if isinstance(module, Layer):
            module.init_own(generator)


def sinusoids(n_positions: int, d_model: int, like: Tensor) -> Tensor:
    """Sinusoidal positions (n_positions, d_model) of Vaswani et al. 2017, section 3.5, of `like`'s
    type and device."""
    rates = torch.exp(
        torch.arange(0, d_model, 2, device=like.device) * (-math.log(10_000.0) / d_model)
    )
    angles = torch.arange(n_positions, device=like.device)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).to(like.dtype)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(..., T, d) -> (..., heads, T, d / heads)."""
    return x.reshape(*x.shape[:-1], n_heads, -1).transpose(-3, -2)


def merge_heads(x: Tensor) -> Tensor:
    """(..., heads, T, d / heads) -> (..., T, d)."""
    return x.transpose(-3, -2).flatten(-2)


def pad_to_multiple(x: Tensor, size: int) -> Tensor:
    """(B, T, d) with zeros after the last row, so that `size` divides T: causal layers do not see
    them."""
    missing = -x.shape[1] % size
    return F.pad(x, (0, 0, 0, missing)) if missing else x  # a pad of nothing is a copy


def in_chunks(x: Tensor, size: int) -> Tensor:
    """(B, T, d) -> (B, chunks, size, d), zeros after the last row."""
    padded = pad_to_multiple(x, size)
    return padded.reshape(len(x), -1, size, x.shape[2])


class ResidualBlock(Layer):
    """Pre-norm: x + mixer(norm(x)), then x + mlp(norm(x)) with a GELU layer of four times the
    width. Either may be `None`: one that adds nothing (`clso.models.trimmed`)."""

    mixer: Layer | None
    mlp: nn.Sequential | None

    def __init__(self, d_model: int, mixer: Layer) -> None:
        super().__init__()
        self.d_model = d_model
        self.ln_1 = nn.LayerNorm(d_model)
        self.mixer = mixer
        self.ln_2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * d_model, d_model),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.mixer is not None:
            x = x + self.mixer(self.ln_1(x))
        return x if self.mlp is None else x + self.mlp(self.ln_2(x))

    def flops(self, n_tokens: int) -> int:
        mixer = 0 if self.mixer is None else self.mixer.flops(n_tokens)
        mlp = 0 if self.mlp is None else 16 * self.d_model**2 * n_tokens
        return mixer + mlp


class CausalAttention(Layer):
    """Multi-head causal attention by `scaled_dot_product_attention`: quadratic time; linear memory
    if it is fused."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.d_model, self.n_heads = d_model, n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.n_heads) for part in self.qkv(x).chunk(3, dim=-1))
        out: Tensor = self.out(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return out

    def flops(self, n_tokens: int) -> int:
        return (8 * self.d_model + 4 * n_tokens) * self.d_model * n_tokens


class LSTMLayer(Layer):
    """`torch.nn.LSTM`, on CUDA by kernels of our own where they fit; torch's counter sees no FLOPs
    in its fused kernels (cuDNN, oneDNN), the formula counts them."""

    def __init__(self, d_model: int, n_layers: int = 1) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_model, d_model, n_layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self._is_fused(x):
            return self._fused(x)
        out: Tensor = self.lstm(x)[0]
        return out

    def _is_fused(self, x: Tensor) -> bool:
        if not is_possible(x):
            return False
        from clso.models import cuda_lstm

        n_batch, d = len(x), self.lstm.hidden_size
        return cuda_lstm.fits(n_batch, d) and is_trusted(
            "LSTM", (x.device, d), lambda: _lstm_difference(x.device, d)
        )

    def _fused(self, x: Tensor) -> Tensor:
        from clso.models import cuda_lstm

        for of_input, of_hidden, bias, other in self.lstm.all_weights:
            x = cuda_lstm.lstm(F.linear(x, of_input, bias + other), of_hidden)
        return x

    def flops(self, n_tokens: int) -> int:
        return 16 * self.lstm.num_layers * self.lstm.hidden_size**2 * n_tokens


def _lstm_difference(device: torch.device, d: int) -> float:
    """Between our kernels and torch: of results and all gradients."""
    generator = torch.Generator().manual_seed(0)
    layer = LSTMLayer(d)
    init_weights(layer, generator)
    layer.to(device)
    inputs = [torch.randn(2, 20, d, generator=generator).to(device)]

    def torchs(x: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):  # which may round to TF32
            out: Tensor = layer.lstm(x)[0]
        return out

    return difference(*(with_gradients(go, inputs) for go in (layer._fused, torchs)))
