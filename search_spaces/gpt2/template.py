"""The grown GPT-2's wiring: every weight but the tables, with slots where a genome's gains go.

Layer 0, head 0 fetches the previous token's name; head 1 averages codes of earlier tokens and adds
what they say. Layer 1, head 0 copies: it looks for tokens whose predecessor is the current token,
prefers rare ones, and rests on position 0 when there is none. Each MLP uses two units: the first
swells position 0's ballast, so that resting there brings nothing, the second takes the swelling
back. The ballast lies in coordinates of its own (`rotation`), so that nothing else is rounded in
units of its size. Layer 1's may have further units, which read the code and add to it. Further
layers and heads stay silent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clso.grown.layout import Layout, rotation
from clso.grown.patterns import PositionPattern, lag, position_codes
from clso.models.gpt2 import GPT2Config

__all__ = ["NAME_SCALE", "NORM", "Template"]

# of a token's vector; codes are small against it, so what is added later hardly changes the norm
NORM = 100.0
NAME_SCALE = (
    0.1  # size of a token's own name, against the names of size 1 that the copy head brings
)
_POSITION = 10.0  # radius of a circle of position codes
# size of position 0's mark; as large as what is next to it, so that it is read to the last digits
_START = 10.0
_SINK_BALLAST = 1e4  # ballast that the first MLP adds at position 0 and the second takes back
_GATE = 30.0  # far out on GELU's flat side: GELU(-30) is 0
_STEP = 8.0  # what the two units differ by where both are on GELU's straight side


class Template:
    """Weights for one layout, in physical coordinates.

    `weights` are for `n` candidates; what does not depend on the genome is built once.
    """

    def __init__(
        self,
        config: GPT2Config,
        layout: Layout,
        projection: Tensor,
        patterns: Sequence[PositionPattern],
        device: torch.device,
    ) -> None:
        """`projection` (D, S) takes names to what is matched; `patterns` are those of the context
        head."""
        self.config, self.layout = config, layout
        d, hd = config.d_model, config.d_model // config.n_heads
        self._head_dim = hd
        self.norm = math.sqrt(NORM**2 + 2 * _POSITION**2)
        # What LayerNorm lets through at the swollen position, against elsewhere.
        # of position 0, so that its mark leaves the norm as it is
        ballast = math.sqrt(NORM**2 - _START**2)
        shrink = self.norm / math.sqrt(
            (_SINK_BALLAST + ballast) ** 2 + _START**2 + 2 * _POSITION**2
        )
        q = rotation(d, torch.device("cpu"))
        projection = projection.cpu()

        wpe = torch.zeros(config.n_positions, d)
        wpe[:, layout.position_dims] = _POSITION * position_codes(config.n_positions).float()
        wpe[0, layout.start] = _START
        wpe[0, layout.ballast] = ballast - NORM

        qkv_0, o_0 = torch.zeros(3 * d, d), torch.zeros(d, d)
        qkv_0[:4, layout.position_dims] = self._query(lag(1, config.n_positions))
        for head in (0, 1):
            qkv_0[d + head * hd : d + head * hd + 4, layout.position_dims] = torch.eye(4)
        qkv_0[2 * d : 2 * d + layout.match, layout.identity_dims] = projection.T / NAME_SCALE
        o_0[layout.match_dims, : layout.match] = torch.eye(layout.match)
        qkv_0[2 * d + hd : 2 * d + hd + layout.code, layout.code_dims] = torch.eye(layout.code)
        context_query = torch.zeros(len(patterns), 4, d)
        context_query[:, :, layout.position_dims] = torch.stack([self._query(p) for p in patterns])

        s = layout.match
        qkv_1, bias_1, o_1 = torch.zeros(3 * d, d), torch.zeros(3 * d), torch.zeros(d, d)
        qkv_1[d : d + s, layout.match_dims] = torch.eye(s)
        bias_1[s] = math.sqrt(hd)
        qkv_1[2 * d : 2 * d + layout.identity, layout.identity_dims] = (
            torch.eye(layout.identity) / NAME_SCALE
        )
        o_1[layout.identity_dims, : layout.identity] = torch.eye(layout.identity)
        match_query = torch.zeros(s, d)
        match_query[:, layout.identity_dims] = projection.T * (math.sqrt(hd) / NAME_SCALE)

        self._qkv_0, self._o_0 = (qkv_0 @ q.T).to(device), (q @ o_0).to(device)
        self._qkv_1, self._bias_1, self._o_1 = (
            (qkv_1 @ q.T).to(device),
            bias_1.to(device),
            (q @ o_1).to(device),
        )
        self._context_query = (context_query @ q.T).to(device)
        self._match_query = (match_query @ q.T).to(device)
        self._code_axes = q[:, layout.code_dims].contiguous().to(device)
        self._rarity_axis = q[:, layout.rarity].contiguous().to(device)
        self._start_axis = (q[:, layout.start] / (_START * shrink)).to(device)
        shared = {"wpe.weight": wpe @ q.T, "ln_f.bias": torch.ones(d)}
        # LayerNorm's output is then the residual vector itself.
        unit = torch.full((d,), self.norm / math.sqrt(d))
        shared |= dict.fromkeys(
            (*(f"h.{i}.ln_{j}.weight" for i in (0, 1) for j in (1, 2)), "ln_f.weight"), unit
        )
        for i, (swell, scale) in enumerate(((_SINK_BALLAST, 1.0), (-_SINK_BALLAST, shrink))):
            shared |= {f"h.{i}.mlp.{n}": w for n, w in self._start_mlp(swell, scale, q).items()}
        self._shared = {name: w.to(device) for name, w in shared.items()}

    def weights(
        self,
        context: Tensor,
        context_map: Tensor,
        *,
        match: Tensor,
        salience: Tensor,
        sink: Tensor,
        copy: Tensor,
    ) -> dict[str, Tensor]:
        """Stacks (P, ...) by the names of `GPT2.state_dict()`.

        Stacks of stride 0 are the same for every layout. `context` (P,) are pattern indices,
        `context_map` (P, K, K) what an average code (a row) adds to the code; the gains are (P,).
        `salience` multiplies the centred rarity, `sink` is position 0's score on that scale."""
        p, hd, d, layout = len(context), self._head_dim, self.config.d_model, self.layout
        qkv_0 = self._qkv_0.repeat(p, 1, 1)
        qkv_0[:, hd : hd + 4] = self._context_query[context]
        o_0 = self._o_0.repeat(p, 1, 1)
        o_0[:, :, hd : hd + layout.code] = self._code_axes @ context_map.transpose(1, 2)
        qkv_1 = self._qkv_1.repeat(p, 1, 1)
        qkv_1[:, : layout.match] = match[:, None, None] * self._match_query
        qkv_1[:, d + layout.match] = (
            salience[:, None] * self._rarity_axis + sink[:, None] * self._start_axis
        )
        out = {name: w.expand(p, *w.shape) for name, w in self._shared.items()}
        out["h.0.attn.qkv.weight"], out["h.0.attn.o.weight"] = qkv_0, o_0
        out["h.1.attn.qkv.weight"], out["h.1.attn.o.weight"] = (
            qkv_1,
            copy[:, None, None] * self._o_1,
        )
        # differs between layouts, so it is no shared stack
        out["h.1.attn.qkv.bias"] = self._bias_1.repeat(p, 1)
        return out

    def hidden_units(self, weight: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (H, d) and columns (d, H) of units that read the code by `weight` and write to it by
        `output`, both (H, K)."""
        return weight @ self._code_axes.T, self._code_axes @ output.T

    def _query(self, pattern: PositionPattern) -> Tensor:
        """Query rows (4, 4) on the position dimensions; the keys are the position codes as they lie
        there."""
        return pattern.query().float() * (math.sqrt(self._head_dim) / _POSITION**2)

    def _start_mlp(self, ballast: float, shrink: float, q: Tensor) -> dict[str, Tensor]:
        """Two units whose difference is 0 everywhere but at position 0, where it is `_STEP`,
        whatever the norm there."""
        d, layout = self.config.d_model, self.layout
        fc, proj = torch.zeros(2, d), torch.zeros(d, 2)
        fc[:, layout.start] = 3 * _GATE / (_START * shrink)
        proj[layout.ballast] = torch.tensor([ballast, -ballast]) / _STEP
        return {
            "fc.weight": fc @ q.T,
            "fc.bias": torch.tensor([-_GATE, -_GATE - _STEP]),
            "proj.weight": q @ proj,
        }
