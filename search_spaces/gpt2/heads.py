"""The attention heads of a grown GPT-2, each one function: what it asks for, what it is found by,
what it fetches, and where that goes.

A head writes its rows into an `Attention`, in the logical coordinates of `clso.grown.layout`. What
depends on the genome (a query, an output) stays zero, for `Template.weights` to fill.

Letters of shapes: d residual dimensions, H heads, h = d / H, K dimensions of the code, D of a name,
S of what is matched, T positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clso.grown.layout import Layout
from clso.grown.patterns import N_POSITION_DIMS, PositionPattern, lag
from clso.models.gpt2 import GPT2Config

__all__ = [
    "NAME_SCALE",
    "POSITION_RADIUS",
    "Attention",
    "context_head",
    "context_queries",
    "copy_head",
    "copy_query",
    "previous_token",
    "previous_token_head",
    "vector_norm",
]

NAME_SCALE = 0.25
"""Size of a token's own name, against the names of size 1 that the copy head brings."""
POSITION_RADIUS = 10.0
"""Radius of a circle of position codes."""
_NORM = 400.0  # about
_PREVIOUS_PEAK = 18.0  # so that next to nothing leaks into the names that neurons compare


def vector_norm(d_model: int) -> float:
    """Size of every token's vector, positions included. Codes are small against it, so that what is added later hardly
    changes it. It is sqrt(d) times a power of two, which LayerNorm's gain then is: exact in any precision."""
    root = math.sqrt(d_model)
    return float(root * 2.0 ** round(math.log2(_NORM / root)))


class Attention:
    """Weights of one layer's attention, zero at first; the views by head share their memory.

    `qkv` (3 d, d), `qkv_bias` (3 d,) and `out` (d, d) are named as in `GPT2.state_dict()`. `query`,
    `key` and `value` are (H, h, d), `query_bias` (H, h), and `output` (d, H, h)."""

    def __init__(self, config: GPT2Config) -> None:
        d, n_heads = config.d_model, config.n_heads
        self.n_positions, self.head_dim = config.n_positions, d // n_heads
        self.qkv, self.qkv_bias = torch.zeros(3 * d, d), torch.zeros(3 * d)
        self.out = torch.zeros(d, d)
        self.query, self.key, self.value = self.qkv.view(3, n_heads, self.head_dim, d)
        self.query_bias = self.qkv_bias.view(3, n_heads, self.head_dim)[0]
        self.output = self.out.view(d, n_heads, self.head_dim)


def previous_token(n_positions: int) -> PositionPattern:
    """Where the previous-token head looks."""
    return lag(1, n_positions, _PREVIOUS_PEAK)


def previous_token_head(
    attention: Attention, head: int, layout: Layout, projection: Tensor
) -> None:
    """Fetch the previous token's name. `projection` (D, S) takes names to what is matched."""
    # Look one position back: a position code (4) asks for the code before it.
    pattern = previous_token(attention.n_positions)
    attention.query[head, :N_POSITION_DIMS, layout.position_dims] = _position_query(
        pattern, attention.head_dim
    )
    # A position is found by its code (4), as it lies there.
    attention.key[head, :N_POSITION_DIMS, layout.position_dims] = torch.eye(N_POSITION_DIMS)
    # Bring that token's name (D) at size 1, as what is matched (S).
    attention.value[head, : layout.match, layout.identity_dims] = projection.T / NAME_SCALE
    # It goes where the copy head looks for it (S).
    attention.output[layout.match_dims, head, : layout.match] = torch.eye(layout.match)


def context_head(attention: Attention, head: int, layout: Layout) -> None:
    """Average the codes of earlier tokens; a genome's pattern says which (`context_queries`), and
    its map what of them is brought and what the average adds to the code."""
    # A position is found by its code (4), as it lies there.
    attention.key[head, :N_POSITION_DIMS, layout.position_dims] = torch.eye(N_POSITION_DIMS)


def context_queries(patterns: Sequence[PositionPattern], layout: Layout, head_dim: int) -> Tensor:
    """The context head's first query rows for each pattern (C, 4, d)."""
    out = torch.zeros(len(patterns), N_POSITION_DIMS, layout.d_model)
    out[:, :, layout.position_dims] = torch.stack([_position_query(p, head_dim) for p in patterns])
    return out


def copy_head(attention: Attention, head: int, layout: Layout) -> None:
    """Bring the name of a token whose predecessor is the current token (`copy_query`), rather a
    rare one's; the strengths of both are the genome's."""
    s = layout.match
    # A position is found by its previous token's name, as it is matched (S),
    attention.key[head, :s, layout.match_dims] = torch.eye(s)
    # and asked with a constant for its next key row, in which a genome's scores of rarity and of
    # position 0 stand; sqrt(h) undoes attention's own scale.
    attention.query_bias[head, s] = math.sqrt(attention.head_dim)
    # Bring that token's name (D) at size 1.
    attention.value[head, : layout.identity, layout.identity_dims] = (
        torch.eye(layout.identity) / NAME_SCALE
    )
    # It is added to the names, which the language model's head reads (D).
    attention.output[layout.identity_dims, head, : layout.identity] = torch.eye(layout.identity)


def copy_query(layout: Layout, projection: Tensor, head_dim: int) -> Tensor:
    """The copy head's query rows (S, d) at match 1: the current token's name, as it is matched."""
    out = torch.zeros(layout.match, layout.d_model)
    # sqrt(h) undoes attention's own scale.
    out[:, layout.identity_dims] = projection.T * (math.sqrt(head_dim) / NAME_SCALE)
    return out


def _position_query(pattern: PositionPattern, head_dim: int) -> Tensor:
    """Query rows (4, 4) on the position dimensions; the keys are the position codes as they lie
    there."""
    return pattern.query().float() * (math.sqrt(head_dim) / POSITION_RADIUS**2)
