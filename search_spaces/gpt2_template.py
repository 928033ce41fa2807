"""The grown GPT-2's wiring: every weight but the tables, with slots where a genome's gains go.

Layer 0, head 0 fetches the previous token's name; head 1 averages codes of earlier tokens and adds what they say. Layer
1, head 0 copies: it looks for tokens whose predecessor is the current token, prefers rare ones, and rests on position 0
when there is none. Layer 0's MLP clears position 0 of its name, its predecessor's name and its rarity, so that resting
there brings nothing and nothing there looks like a match. What it takes away is as small as what is there: to swell
position 0's norm instead and take that back later would cost the digits that float32 has for everything else there.
Layer 1's MLP may have units that read the code and add to it. Further layers and heads stay silent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clso.crystals.grown.layout import Layout, rotation
from clso.crystals.grown.patterns import PositionPattern, lag, position_codes
from clso.models.gpt2 import GPT2Config

__all__ = ["NAME_SCALE", "NORM", "Template"]

NORM = 100.0  # of a token's vector; codes are small against it, so what is added later hardly changes the norm
NAME_SCALE = 0.1  # size of a token's own name, against the names of size 1 that the copy head brings
_POSITION = 10.0  # radius of a circle of position codes
_START = 10.0  # size of position 0's mark
_TRACE = 0.014  # of what position 0 held is left: its token comes back more often than the copy head sees (1e-4 nats)
_GATE = 30.0  # far out on GELU's sides: GELU(-30) is 0, GELU(30) is 30, to the last bit
_NAME_GAIN = 60.0  # of a name's dimensions in the units that clear them, so that `_GATE` costs them no digits


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
        """`projection` (D, S) takes names to what is matched; `patterns` are those of the context head."""
        self.config, self.layout = config, layout
        d, hd = config.d_model, config.d_model // config.n_heads
        self._head_dim = hd
        self.norm = math.sqrt(NORM**2 + 2 * _POSITION**2)
        q = rotation(d, torch.device("cpu"))
        projection = projection.cpu()

        wpe = torch.zeros(config.n_positions, d)
        wpe[:, layout.position_dims] = _POSITION * position_codes(config.n_positions).float()
        wpe[0, layout.start] = _START
        wpe[0, layout.ballast] = math.sqrt(NORM**2 - _START**2) - NORM  # the norm stays

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
        qkv_1[2 * d : 2 * d + layout.identity, layout.identity_dims] = torch.eye(layout.identity) / NAME_SCALE
        o_1[layout.identity_dims, : layout.identity] = torch.eye(layout.identity)
        match_query = torch.zeros(s, d)
        match_query[:, layout.identity_dims] = projection.T * (math.sqrt(hd) / NAME_SCALE)

        self._qkv_0, self._o_0 = (qkv_0 @ q.T).to(device), (q @ o_0).to(device)
        self._qkv_1, self._bias_1, self._o_1 = (qkv_1 @ q.T).to(device), bias_1.to(device), (q @ o_1).to(device)
        self._context_query = (context_query @ q.T).to(device)
        self._match_query = (match_query @ q.T).to(device)
        self._code_axes = q[:, layout.code_dims].contiguous().to(device)
        self._rarity_axis = q[:, layout.rarity].contiguous().to(device)
        self._start_axis = (q[:, layout.start] / _START).to(device)
        shared = {"wpe.weight": wpe @ q.T, "ln_f.bias": torch.ones(d)}
        # LayerNorm's output is then the residual vector itself.
        unit = torch.full((d,), self.norm / math.sqrt(d))
        shared |= dict.fromkeys((*(f"h.{i}.ln_{j}.weight" for i in (0, 1) for j in (1, 2)), "ln_f.weight"), unit)
        shared |= {f"h.0.mlp.{n}": w for n, w in self._clearing_mlp(projection, q).items()}
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

        Stacks of stride 0 are the same for every layout. `context` (P,) are pattern indices, `context_map` (P, K, K) what an
        average code (a row) adds to the code; the gains are (P,). `salience` multiplies the centred rarity, `sink` is
        position 0's score on that scale.
        """
        p, hd, d, layout = len(context), self._head_dim, self.config.d_model, self.layout
        qkv_0 = self._qkv_0.repeat(p, 1, 1)
        qkv_0[:, hd : hd + 4] = self._context_query[context]
        o_0 = self._o_0.repeat(p, 1, 1)
        o_0[:, :, hd : hd + layout.code] = self._code_axes @ context_map.transpose(1, 2)
        qkv_1 = self._qkv_1.repeat(p, 1, 1)
        qkv_1[:, : layout.match] = match[:, None, None] * self._match_query
        qkv_1[:, d + layout.match] = salience[:, None] * self._rarity_axis + sink[:, None] * self._start_axis
        out = {name: w.expand(p, *w.shape) for name, w in self._shared.items()}
        out["h.0.attn.qkv.weight"], out["h.0.attn.o.weight"] = qkv_0, o_0
        out["h.1.attn.qkv.weight"], out["h.1.attn.o.weight"] = qkv_1, copy[:, None, None] * self._o_1
        out["h.1.attn.qkv.bias"] = self._bias_1.repeat(p, 1)  # differs between layouts, so it is no shared stack
        return out

    def hidden_units(self, weight: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (H, d) and columns (d, H) of units that read the code by `weight` and write to it by `output`, both (H, K)."""
        return weight @ self._code_axes.T, self._code_axes @ output.T

    def _query(self, pattern: PositionPattern) -> Tensor:
        """Query rows (4, 4) on the position dimensions; the keys are the position codes as they lie there."""
        return pattern.query().float() * (math.sqrt(self._head_dim) / _POSITION**2)

    def _clearing_mlp(self, projection: Tensor, q: Tensor) -> dict[str, Tensor]:
        """Units that are 0 everywhere but at position 0, where they take what the copy head would read there to 0.

        One unit reads each dimension of the name, one the rarity, and the last `_GATE` alone, which the others add to what
        they read. Position 0 attends to none but itself, so the name that layer 0 fetched there is its own.
        """
        layout, d, n = self.layout, self.config.d_model, self.layout.identity
        rarity, gate = n, n + 1
        fc, proj = torch.zeros(n + 2, d), torch.zeros(d, n + 2)
        fc[:, layout.start] = 2 * _GATE / _START
        fc[:n, layout.identity_dims] = _NAME_GAIN * torch.eye(n)
        fc[rarity, layout.rarity] = 1.0
        taken = _TRACE - 1
        proj[layout.identity_dims, :n] = taken / _NAME_GAIN * torch.eye(n)
        proj[layout.match_dims, :n] = taken / (_NAME_GAIN * NAME_SCALE) * projection.T
        proj[layout.rarity, rarity] = taken
        proj[:, gate] = -proj[:, :gate].sum(1)
        return {"fc.weight": fc @ q.T, "fc.bias": torch.full((n + 2,), -_GATE), "proj.weight": q @ proj}
