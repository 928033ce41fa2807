"""RWKV-4 (Peng et al. 2023, arXiv 2305.13048): linear time, linear memory, constant state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models.fused import difference, is_possible, is_trusted, with_gradients
from clso.models.layers import Layer
from clso.models.scan import linear_scan
from clso.models.sequence import SequenceConfig, StackedModel

__all__ = ["RWKV", "wkv"]


def wkv(rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Equation 16 of the paper: the mean of values, weighed e^(k_i - (t - 1 - i) rate) before t and
    e^(bonus + k_t) at t.

    rate > 0 and bonus (d,), key and value (B, T, d) -> (B, T, d). Numerator and denominator are
    linear recurrences, kept in units of e^top, where top is the largest exponent so far: nothing
    overflows, whatever the keys. The result does not depend on top, which therefore needs no
    gradient."""
    if is_possible(key) and is_trusted("wkv", key.device, lambda: _difference(key.device)):
        from clso.models import cuda_wkv

        return cuda_wkv.wkv(rate, bonus, key, value)
    return _in_torch(rate, bonus, key, value)


def _in_torch(rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with torch.no_grad():
        aged = torch.arange(key.shape[1], device=key.device)[:, None] * rate
        top = (key + aged).cummax(dim=1).values - aged
        top_before = F.pad(top[:, :-1], (0, 0, 1, 0), value=-torch.inf)
        unit = torch.maximum(top_before, bonus + key)
    decay, new = torch.exp(top_before - rate - top), torch.exp(key - top)
    earlier, now = torch.exp(top_before - unit), torch.exp(bonus + key - unit)
    total, weight = (F.pad(linear_scan(decay, x)[:, :-1], (0, 0, 1, 0)) for x in (new * value, new))
    return (earlier * total + now * value) / (earlier * weight + now)


def _difference(device: torch.device) -> float:
    """Between our kernels and plain torch: of results and all gradients."""
    from clso.models import cuda_wkv

    generator = torch.Generator().manual_seed(0)
    shapes = (6,), (6,), (2, 150, 6), (2, 150, 6)  # several segments of time
    inputs = [torch.randn(shape, generator=generator).to(device) for shape in shapes]
    inputs[0] = inputs[0].exp()
    return difference(*(with_gradients(go, inputs) for go in (cuda_wkv.wkv, _in_torch)))


def before(x: Tensor) -> Tensor:
    """The token before each (B, T, d), zeros before the first."""
    return F.pad(x[:, :-1], (0, 0, 1, 0))


def mixed(x: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """Token shift: `share` of each channel of this token, the rest of the one before."""
    return torch.lerp(last, x, share)


class TimeMix(Layer):
    """The paper's replacement of attention. Parameters named as in `transformers.models.rwkv`, here
    and below."""

    def __init__(self, d_model: int, depth: float, height: float) -> None:
        super().__init__()
        self.depth, self.height = depth, height
        self.time_decay = nn.Parameter(torch.zeros(d_model))
        self.time_first = nn.Parameter(torch.zeros(d_model))
        self.time_mix_key = nn.Parameter(torch.zeros(1, 1, d_model))
        self.time_mix_value = nn.Parameter(torch.zeros(1, 1, d_model))
        self.time_mix_receptance = nn.Parameter(torch.zeros(1, 1, d_model))
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.output = nn.Linear(d_model, d_model, bias=False)

    def init_own(self, generator: torch.Generator) -> None:
        """The paper's start (appendix E): slow to fast channels, slower in deeper layers."""
        d = len(self.time_decay)
        channel = torch.arange(d, device=self.time_decay.device)
        self.time_decay.copy_(8 * (channel / max(d - 1, 1)) ** (0.7 + 1.3 * self.depth) - 5)
        self.time_first.copy_(math.log(0.3) + 0.5 * ((channel + 1) % 3 - 1))
        share = (channel / d) ** self.height
        self.time_mix_key.copy_(share)
        self.time_mix_value.copy_(share + 0.3 * self.depth)
        self.time_mix_receptance.copy_(share**0.5)

    def forward(self, x: Tensor) -> Tensor:
        last = before(x)
        key, value = (
            self.key(mixed(x, last, self.time_mix_key)),
            self.value(mixed(x, last, self.time_mix_value)),
        )
        receptance = torch.sigmoid(self.receptance(mixed(x, last, self.time_mix_receptance)))
        out: Tensor = self.output(
            receptance * wkv(torch.exp(self.time_decay), self.time_first, key, value)
        )
        return out


class ChannelMix(Layer):
    """The paper's feed-forward layer: squared ReLU, gated."""

    def __init__(self, d_model: int, height: float) -> None:
        super().__init__()
        self.height = height
        self.time_mix_key = nn.Parameter(torch.zeros(1, 1, d_model))
        self.time_mix_receptance = nn.Parameter(torch.zeros(1, 1, d_model))
        self.key = nn.Linear(d_model, 4 * d_model, bias=False)
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(4 * d_model, d_model, bias=False)

    def init_own(self, generator: torch.Generator) -> None:
        d = self.time_mix_key.shape[-1]
        share = (torch.arange(d, device=self.time_mix_key.device) / d) ** self.height
        self.time_mix_key.copy_(share)
        self.time_mix_receptance.copy_(share)

    def forward(self, x: Tensor) -> Tensor:
        last = before(x)
        key = F.relu(self.key(mixed(x, last, self.time_mix_key))).square()
        out: Tensor = torch.sigmoid(
            self.receptance(mixed(x, last, self.time_mix_receptance))
        ) * self.value(key)
        return out


class RWKVBlock(Layer):
    """Time mix, then channel mix, each on a layer norm and added to its input."""

    def __init__(self, d_model: int, layer: int, n_layers: int) -> None:
        super().__init__()
        depth, height = layer / max(n_layers - 1, 1), 1 - layer / n_layers
        self.d_model = d_model
        self.ln1 = nn.LayerNorm(d_model)
        self.attention = TimeMix(d_model, depth, height)
        self.ln2 = nn.LayerNorm(d_model)
        self.feed_forward = ChannelMix(d_model, height)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.ln1(x))
        out: Tensor = x + self.feed_forward(self.ln2(x))
        return out

    def flops(self, n_tokens: int) -> int:
        return 26 * self.d_model**2 * n_tokens


class RWKV(StackedModel):
    """`n_layers` RWKV-4 blocks, after a layer norm of the embeddings. `n_heads` is not used: every
    channel is its own."""

    name = "rwkv"
    capturable = True
    positions = False

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.pre_ln = nn.LayerNorm(config.d_model)

    def block(self, layer: int) -> Layer:
        return RWKVBlock(self.config.d_model, layer, self.config.n_layers)

    def body(self, x: Tensor) -> Tensor:
        return super().body(self.pre_ln(x))
