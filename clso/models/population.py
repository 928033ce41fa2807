"""A population of GPT-2s in one batched forward pass: every matrix product is a `bmm` over the candidates.

All candidates read the same token blocks, so a comparison between them is paired. A parameter that no candidate sets
keeps GPT-2's neutral value (zero biases, unit LayerNorm gains), and a sub-layer that none of them uses is not computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.gpt2 import GPT2, GPT2Config
from clso.models.head_loss import Tables, population_head_loss

__all__ = ["PopulationGPT2"]

_CPU_BLOCKS, _CPU_ROWS = 16, 1 << 14  # 16 Ki rows of a 512-wide MLP are 32 MB
_CUDA_MEMORY_SHARE = 0.25  # of the free memory, for activations


def _chunk(n_candidates: int, config: GPT2Config, device: torch.device) -> tuple[int, int]:
    """Blocks and candidates of one pass, so that memory stays bounded at any population and any length of text.

    On a CPU the number of blocks is fixed, for then a candidate's loss is the same to the last bit in any company.
    """
    t = config.n_positions
    if device.type != "cuda":
        return _CPU_BLOCKS, max(1, _CPU_ROWS // (_CPU_BLOCKS * t))
    free, _ = torch.cuda.mem_get_info(device)
    bytes_per_row = 4 * (3 * config.d_mlp + 8 * config.d_model)
    rows = max(t, int(free * _CUDA_MEMORY_SHARE) // bytes_per_row)
    candidates = min(n_candidates, max(1, rows // t))
    return max(1, rows // (candidates * t)), candidates


@dataclass(frozen=True)
class PopulationGPT2:
    """Weights of P candidates. `params` maps a name of `GPT2.state_dict()` to a stack (P, *shape) on one device."""

    config: GPT2Config
    wte: Tables
    head: Tables
    params: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.wte)

    @torch.no_grad()
    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states of shared tokens (B, T): (P, B * T, d_model)."""
        c = self.config
        b, t = tokens.shape
        p, d = len(self), c.d_model
        index = self.wte.index.to(tokens.device)
        x = self.wte.bank.tables[index[:, None, None], tokens].view(p, b * t, d)
        if (wpe := self.params.get("wpe.weight")) is not None:
            x = (x.view(p, b, t, d) + wpe[:, None, :t]).view(p, b * t, d)
        for i in range(c.n_layers):
            x = self._attention(x, f"h.{i}", b, t)
            x = self._mlp(x, f"h.{i}")
        return self._norm(x, "ln_f")

    @torch.no_grad()
    def losses(self, blocks: Tensor) -> Tensor:
        """Mean loss of each candidate over blocks (B, T + 1), in nats per token: (P,) float64."""
        n_blocks, n_candidates = _chunk(len(self), self.config, blocks.device)
        sums: list[Tensor] = []
        for start in range(0, len(self), n_candidates):
            part = self.members(start, start + n_candidates)
            total = torch.zeros(len(part), dtype=torch.float64, device=blocks.device)
            for some in torch.split(blocks, n_blocks):
                total += population_head_loss(part.hidden(some[:, :-1]), part.head, some[:, 1:].flatten())
            sums.append(total)
        return torch.cat(sums) / blocks[:, 1:].numel()

    def members(self, start: int, stop: int) -> PopulationGPT2:
        """The candidates from `start` to `stop`; the tables are shared."""
        if start == 0 and stop >= len(self):
            return self
        params = {n: p[start:stop] for n, p in self.params.items()}
        return PopulationGPT2(self.config, self.wte.members(start, stop), self.head.members(start, stop), params)

    def single(self, candidate: int) -> GPT2:
        """One candidate as an ordinary float32 module on the CPU."""
        model = GPT2(self.config)
        state = model.state_dict()
        for name, value in state.items():
            neutral = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            stack = self.params.get(name)
            state[name] = torch.full_like(value, neutral) if stack is None else stack[candidate].float().cpu()
        for name, tables in (("wte.weight", self.wte), ("head.weight", self.head)):
            state[name] = tables.bank.tables[tables.index[candidate]].float().cpu()
        model.load_state_dict(state)
        return model.eval()

    def _norm(self, x: Tensor, name: str) -> Tensor:
        y = F.layer_norm(x, (x.shape[-1],))
        if (gain := self.params.get(f"{name}.weight")) is not None:
            y = y * gain[:, None]
        if (bias := self.params.get(f"{name}.bias")) is not None:
            y = y + bias[:, None]
        return y

    def _linear(self, x: Tensor, name: str) -> Tensor:
        """x (P, N, d_in) -> (P, N, d_out) with each candidate's own matrix."""
        weight = self.params[f"{name}.weight"].transpose(1, 2)
        bias = self.params.get(f"{name}.bias")
        return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)

    def _attention(self, x: Tensor, layer: str, b: int, t: int) -> Tensor:
        if f"{layer}.attn.o.weight" not in self.params:
            return x
        p, _, d = x.shape
        heads = self.config.n_heads
        qkv = self._linear(self._norm(x, f"{layer}.ln_1"), f"{layer}.attn.qkv")
        q, k, v = qkv.view(p * b, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self._linear(y.transpose(1, 2).reshape(p, b * t, d), f"{layer}.attn.o")

    def _mlp(self, x: Tensor, layer: str) -> Tensor:
        if f"{layer}.mlp.proj.weight" not in self.params:
            return x
        y = F.gelu(self._linear(self._norm(x, f"{layer}.ln_2"), f"{layer}.mlp.fc"), approximate="tanh")
        return x + self._linear(y, f"{layer}.mlp.proj")
