"""The grown GPT-2's wiring: every weight but the tables, with slots for what a genome decides.

Layer 0 has the previous-token head and the context head, layer 1 the copy head (`heads`). The copy
head rests on position 0 if there is nothing to copy. Each MLP uses two units: the first swells
position 0's ballast, so that resting there brings nothing, the second takes the swelling back. The
ballast lies in coordinates of its own (`rotation`), so that nothing else is rounded in units of its
size. Layer 1's MLP may have further units, which read the code and add to it. Further layers and
heads stay silent.

Letters of shapes: P candidates, d residual dimensions, h = d / heads, C context patterns, K
dimensions of the code, D of a name, S of what is matched."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clso.grown.layout import Layout, rotation
from clso.grown.names import AT_OTHERS, AT_PAIR
from clso.grown.patterns import N_POSITION_DIMS, PositionPattern, position_codes
from clso.models.gpt2 import GPT2Config
from clso.search_spaces.gpt2.heads import (
    NAME_SCALE,
    POSITION_RADIUS,
    Attention,
    context_head,
    context_queries,
    copy_head,
    copy_query,
    previous_token_head,
    vector_norm,
)

__all__ = ["NAME_SCALE", "Template"]

# size of position 0's mark; as large as what is next to it, so that it is read to the last digits
_START = 10.0
_SINK_BALLAST = 4e4  # ballast that the first MLP adds at position 0 and the second takes back
_GATE = 30.0  # far out on GELU's flat side: GELU(-30) is 0
_STEP = 8.0  # what the two units differ by if both are on GELU's straight side
_SILENT = 2 * (AT_PAIR - AT_OTHERS)  # what a pair's unit gets less at position 0
_PREVIOUS, _CONTEXT = 0, 1  # heads of layer 0
_COPY = 0  # head of layer 1


class Template:
    """Weights for one layout, in physical coordinates.

    `weights` are for P candidates; what does not depend on the genome is built once.
    """

    def __init__(
        self,
        config: GPT2Config,
        layout: Layout,
        projection: Tensor,
        patterns: Sequence[PositionPattern],
        device: torch.device,
    ) -> None:
        """`projection` (D, S) takes names to what is matched; `patterns` (C) are those of the
        context head."""
        self.config, self.layout, self._device = config, layout, device
        d, self._head_dim = config.d_model, config.d_model // config.n_heads
        self.norm = vector_norm(d)
        # Of a token's own vector, which both circles of positions are added to.
        self.own_norm = math.sqrt(self.norm**2 - 2 * POSITION_RADIUS**2)
        # position 0's mark takes its share of the ballast, so that it leaves the norm as it is
        ballast = math.sqrt(self.own_norm**2 - _START**2)
        # what LayerNorm lets through at the swollen position, against elsewhere
        shrink = self.norm / math.sqrt(
            (_SINK_BALLAST + ballast) ** 2 + _START**2 + 2 * POSITION_RADIUS**2
        )
        self._rotation = rotation(d, torch.device("cpu"))  # (d, d), physical from logical
        projection = projection.cpu()

        # The layers' heads, in logical coordinates.
        first, second = Attention(config), Attention(config)
        previous_token_head(first, _PREVIOUS, layout, projection)
        context_head(first, _CONTEXT, layout)
        copy_head(second, _COPY, layout)
        # The same in physical ones: (3 d, d), (d, d), (3 d,).
        self._qkv_0, self._out_0 = self._reads(first.qkv), self._writes(first.out)
        self._qkv_1, self._out_1 = self._reads(second.qkv), self._writes(second.out)
        self._qkv_bias_1 = second.qkv_bias.to(device)
        # What a genome picks from or scales: (C, 4, d), (S, d), (d, K), (d,), (d,).
        self._context_queries = self._reads(context_queries(patterns, layout, self._head_dim))
        self._copy_query = self._reads(copy_query(layout, projection, self._head_dim))
        self._code_axes = self._axes(layout.code_dims)
        self._rarity_axis = self._axes(layout.rarity)
        # What neurons read: names (d, D), previous names where they are matched (d, D), the mark (d,).
        self._name_axes = self._axes(layout.identity_dims)
        self._matched_name_axes = self._axes(layout.match_dims) @ projection.T.to(device)
        self._mark_axis = self._axes(layout.start)
        self._start_axis = (self._rotation[:, layout.start] / (_START * shrink)).to(device)

        # Positions (T, d): both circles, and at position 0 its mark and the ballast that makes
        # room for it.
        wpe = torch.zeros(config.n_positions, d)
        wpe[:, layout.position_dims] = POSITION_RADIUS * position_codes(config.n_positions).float()
        wpe[0, layout.start] = _START
        wpe[0, layout.ballast] = ballast - self.own_norm
        # LayerNorm's output is the residual vector itself, and ln_f's bias a constant feature (d,).
        unit = torch.full((d,), self.norm / math.sqrt(d), device=device)
        norms = ("h.0.ln_1", "h.0.ln_2", "h.1.ln_1", "h.1.ln_2", "ln_f")
        self._shared = {
            "wpe.weight": self._reads(wpe),
            "ln_f.bias": torch.ones(d, device=device),
            **dict.fromkeys((f"{norm}.weight" for norm in norms), unit),
            **self._sink_units("h.0.mlp", _SINK_BALLAST, 1.0),
            **self._sink_units("h.1.mlp", -_SINK_BALLAST, shrink),
        }

    def weights(
        self,
        context: Tensor,
        context_reads: Tensor,
        context_map: Tensor,
        *,
        match: Tensor,
        salience: Tensor,
        sink: Tensor,
        copy: Tensor,
    ) -> dict[str, Tensor]:
        """Stacks (P, ...) by the names of `GPT2.state_dict()`.

        Stacks of stride 0 are the same for every layout. `context` (P,) are pattern indices,
        `context_reads` (P, K, R) what of a code (a row) is averaged, `context_map` (P, R, K) what that
        adds to the code; the gains are (P,).
        `salience` multiplies the centred rarity, `sink` is position 0's score on that scale."""
        p, d, layout = len(context), self.config.d_model, self.layout
        # Layer 0's queries, keys and values (P, 3 d, d): the context head's first query rows
        # (P, 4, d) are its pattern's.
        begin = _CONTEXT * self._head_dim
        qkv_0 = self._qkv_0.repeat(p, 1, 1)
        qkv_0[:, begin : begin + N_POSITION_DIMS] = self._context_queries[context]
        # Its values (R rows) are what it averages of the code.
        values, carried = 2 * d + begin, context_map.shape[1]
        qkv_0[:, values : values + carried] = context_reads.mT @ self._code_axes.T
        # Layer 0's output (P, d, d): the average (R columns) adds its map's part to the code.
        out_0 = self._out_0.repeat(p, 1, 1)
        out_0[:, :, begin : begin + carried] = self._code_axes @ context_map.mT
        # Layer 1's queries, keys and values (P, 3 d, d): the copy head asks for the name (S rows)
        # as strongly as `match` says,
        begin = _COPY * self._head_dim
        qkv_1 = self._qkv_1.repeat(p, 1, 1)
        qkv_1[:, begin : begin + layout.match] = match[:, None, None] * self._copy_query
        # and the key row after the name's (P, d) scores rarity and position 0.
        qkv_1[:, d + begin + layout.match] = (
            salience[:, None] * self._rarity_axis + sink[:, None] * self._start_axis
        )
        return {
            **{name: w.expand(p, *w.shape) for name, w in self._shared.items()},
            "h.0.attn.qkv.weight": qkv_0,
            "h.0.attn.o.weight": out_0,
            "h.1.attn.qkv.weight": qkv_1,
            # differs between layouts, so it is no shared stack (P, 3 d)
            "h.1.attn.qkv.bias": self._qkv_bias_1.repeat(p, 1),
            "h.1.attn.o.weight": copy[:, None, None] * self._out_1,
        }

    def hidden_units(self, weight: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (H, d) and columns (d, H) of H units that read the code by `weight` and write to it
        by `output`, both (H, K)."""
        return weight @ self._code_axes.T, self._code_axes @ output.T

    def pair_units(self, current: Tensor, previous: Tensor) -> Tensor:
        """Rows (n, d) that read the current token's name by `current` (n, D) and the previous one's by `previous` (n, D).

        They are silent at position 0, whose previous token is itself."""
        rows = (current / NAME_SCALE) @ self._name_axes.T + previous @ self._matched_name_axes.T
        return rows - (_SILENT / _START) * self._mark_axis

    def in_code(self, codes: Tensor) -> Tensor:
        """Codes (P, n, K) as vectors (P, n, d), each candidate's in a product of its own: the last bits of a product depend
        on how many rows it has."""
        return torch.bmm(codes, self._code_axes.T.expand(len(codes), -1, -1))

    def _reads(self, rows: Tensor) -> Tensor:
        """Rows (..., d) that read the residual stream, from logical to physical coordinates."""
        return (rows @ self._rotation.T).to(self._device)

    def _writes(self, columns: Tensor) -> Tensor:
        """Columns (d, ...) that are added to the residual stream, from logical to physical
        coordinates."""
        return (self._rotation @ columns).to(self._device)

    def _axes(self, dims: slice | int) -> Tensor:
        """Logical axes as physical vectors (d, ...)."""
        return self._rotation[:, dims].contiguous().to(self._device)

    def _sink_units(self, mlp: str, ballast: float, shrink: float) -> dict[str, Tensor]:
        """Two units of `mlp`, whose difference is 0 everywhere but at position 0, where it is
        `_STEP`, whatever the norm there; it adds `ballast`. `shrink` is what LayerNorm leaves of
        position 0's mark."""
        fc, proj = torch.zeros(2, self.config.d_model), torch.zeros(self.config.d_model, 2)
        # Both read the mark (2, d),
        fc[:, self.layout.start] = 3 * _GATE / (_START * shrink)
        # and their difference is scaled to the ballast (d, 2).
        proj[self.layout.ballast] = torch.tensor([ballast, -ballast]) / _STEP
        return {
            f"{mlp}.fc.weight": self._reads(fc),
            # without the mark both are on GELU's flat side; with it they differ by the step
            f"{mlp}.fc.bias": torch.tensor([-_GATE, -_GATE - _STEP], device=self._device),
            f"{mlp}.proj.weight": self._writes(proj),
        }
