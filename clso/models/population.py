"""A population of GPT-2s in one batched forward pass: every matrix product is a `bmm` over the
candidates.

All candidates read the same token blocks, so a comparison between them is paired. A parameter that
no candidate sets keeps GPT-2's neutral value (zero biases, unit LayerNorm gains), and a sub-layer
that none of them uses is not computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.gpt2 import GPT2, GPT2Config
from clso.models.head_loss import population_head_loss
from clso.models.tables import Embeddings, Heads

__all__ = ["Attend", "PopulationGPT2", "blocks_per_pass", "candidates_per_pass"]

Attend = Callable[[int, Tensor], Tensor]
"""A layer's number and its queries, keys and values (P, N, 3 * d_model) -> what its heads read
(P, N, d_model)."""

_CPU_BLOCKS = 16
_CPU_BYTES = 1 << 28  # 256 MB
_MEMORY_SHARE = 0.25  # of a GPU's free memory


def blocks_per_pass(n_candidates: int, config: GPT2Config, device: torch.device) -> int:
    """Token blocks of one pass, so that memory stays bounded on a text of any length.

    On a CPU it is a fixed number, for then a candidate's loss is the same to the last bit in any
    company."""
    if device.type != "cuda":
        return _CPU_BLOCKS
    bytes_per_block = (
        4 * (3 * config.d_mlp + 8 * config.d_model) * config.n_positions * n_candidates
    )
    return max(1, _cuda_bytes(device) // bytes_per_block)


def candidates_per_pass(config: GPT2Config, device: torch.device) -> int:
    """Candidates of one pass, so that memory stays bounded at any population: their tables, and one
    block's activations."""
    tables = 2 * 4 * config.vocab_size * config.d_model
    activations = 4 * (3 * config.d_mlp + 8 * config.d_model) * config.n_positions
    if device.type == "cuda":
        return max(1, _cuda_bytes(device) // (tables + activations))
    return max(1, _CPU_BYTES // (tables + activations * _CPU_BLOCKS))


@cache
def _cuda_bytes(device: torch.device) -> int:
    """What one pass may take of a GPU's memory. Asked once: the driver takes as long to answer as
    ten kernels run."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * _MEMORY_SHARE)


def _on_cpu(table: Tensor) -> Tensor:
    """A large tensor in host memory; through pinned memory, which the allocator keeps, it comes
    several times as fast."""
    if not table.is_cuda:
        return table
    out = torch.empty(table.shape, dtype=table.dtype, pin_memory=True)
    return out.copy_(table)


@dataclass(frozen=True)
class PopulationGPT2:
    """Weights of P candidates. `params` maps a name of `GPT2.state_dict()` to a stack (P, *shape)
    on one device.

    An MLP may be narrower than GPT-2's: the units that are left out are zero.
    """

    config: GPT2Config
    wte: Embeddings
    heads: Heads
    params: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.wte)

    @torch.no_grad()
    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states of shared tokens (B, T): (P, B * T, d_model)."""
        b, t = tokens.shape
        p, heads = len(self), self.config.n_heads
        # Token vectors (P, B T, d), and positions (P, T, d) alike in every block.
        x = self.wte.rows(tokens.flatten())
        if (wpe := self.params.get("wpe.weight")) is not None:
            x = (x.view(p, b, t, -1) + wpe[:, None, :t]).flatten(1, 2)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            # (P, B T, 3 d) -> three of (P B, heads, T, d / heads)
            q, k, v = qkv.view(p * b, t, 3, heads, -1).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            # heads side by side again: (P, B T, d)
            return y.transpose(1, 2).reshape(p, b * t, -1)

        return self.layers(x, attend)

    def layers(self, x: Tensor, attend: Attend) -> Tensor:
        """From what the first layer reads, (P, N, d_model), to final hidden states; `attend` mixes
        tokens."""
        for i in range(self.config.n_layers):
            x = self._attention(x, i, attend)
            x = self._mlp(x, f"h.{i}")
        return self._norm(x, "ln_f")

    @torch.no_grad()
    def losses(self, blocks: Tensor) -> Tensor:
        """Mean loss of each candidate over blocks (B, T + 1), in nats per token: (P,) float64."""
        total = torch.zeros(len(self), dtype=torch.float64, device=blocks.device)
        for part in torch.split(blocks, blocks_per_pass(len(self), self.config, blocks.device)):
            total += population_head_loss(
                self.hidden(part[:, :-1]), self.heads, part[:, 1:].flatten()
            )
        return total / blocks[:, 1:].numel()

    @torch.no_grad()
    def single(self, candidate: int) -> GPT2:
        """One candidate as an ordinary float32 module on the CPU."""
        with torch.device("meta"):
            model = GPT2(self.config)
        everything = torch.arange(self.config.vocab_size, device=self._device)
        head = self.heads.distinct(torch.float32)[self.heads.index[candidate]]
        state = {
            "wte.weight": _on_cpu(self.wte.rows(everything)[candidate].float()),
            "head.weight": _on_cpu(head if self.heads.basis is None else head @ self.heads.basis.T),
        }
        for name, meta in model.state_dict().items():
            if name in state:
                continue
            # Made on the host: most of a deep model is silent, and need not come from a GPU. Zeros that
            # nobody writes take no memory. Laid out as `transformers` keeps it, for turning all of it
            # takes longer than making it.
            is_gain = "ln_" in name and name.endswith("weight")
            value = (torch.ones if is_gain else torch.zeros)(meta.shape[::-1])
            value = value.T if meta.ndim == 2 else value
            if (stack := self.params.get(name)) is not None:
                given = stack[candidate].float().cpu()
                value[tuple(slice(n) for n in given.shape)] = given
            state[name] = value
        model.load_state_dict(state, assign=True)
        return model.eval()

    @property
    def _device(self) -> torch.device:
        return next(iter(self.params.values())).device if self.params else torch.device("cpu")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        """LayerNorm of x (P, N, d) with each candidate's own gain and bias (P, d)."""
        gain, bias = self.params.get(f"{name}.weight"), self.params.get(f"{name}.bias")
        shared = [s for s in (gain, bias) if s is not None and s.stride(0) == 0]
        # the same for all: one fused kernel
        if x.is_cuda and len(shared) == sum(s is not None for s in (gain, bias)):
            g, b = (None if s is None else s[0] for s in (gain, bias))
            return F.layer_norm(x, (x.shape[-1],), g, b)
        y = F.layer_norm(x, (x.shape[-1],))
        y = y if gain is None else y * gain[:, None]
        return y if bias is None else y + bias[:, None]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        """x (P, N, d_in) -> (P, N, d_out) with each candidate's own matrix."""
        weight = self.params[f"{name}.weight"].transpose(1, 2)
        bias = self.params.get(f"{name}.bias")
        return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)

    def _attention(self, x: Tensor, i: int, attend: Attend) -> Tensor:
        layer = f"h.{i}"
        if f"{layer}.attn.o.weight" not in self.params:
            return x
        qkv = self._linear(self._norm(x, f"{layer}.ln_1"), f"{layer}.attn.qkv")
        return x + self._linear(attend(i, qkv), f"{layer}.attn.o")

    def _mlp(self, x: Tensor, layer: str) -> Tensor:
        if f"{layer}.mlp.proj.weight" not in self.params:
            return x
        # (P, B T, d) -> (P, B T, units) -> (P, B T, d)
        y = F.gelu(
            self._linear(self._norm(x, f"{layer}.ln_2"), f"{layer}.mlp.fc"), approximate="tanh"
        )
        return x + self._linear(y, f"{layer}.mlp.proj")
