"""The recurrence of a `StateMixer` with a GRU, and its reverse, as one Triton kernel each: a program
goes through the chunks of a sequence with the states in registers.

Heads are not taken apart. A row of queries or values stands there once for each head, with zeros
where the others' dimensions are, so that every product is one of two plain matrices. Products are
three of TF32, with errors near those of float32. All have a row for each state, so that there are
fewer than 64: from there on Triton takes the instructions of a whole group of warps, and a kernel of
them read beyond shared memory on an H200. Its descriptors of operands were among the registers that
ptxas spilled, which is the likely cause.

Letters of constants: D dimensions, H heads of W, C tokens of a chunk, S states, rounded up to N.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["advance", "fits", "retreat"]

_LEAST = 16  # of a side of a matrix product
_MOST_STATES = 32  # rows of every product: see above
_MOST_QUERIES = 256  # of all heads together


def fits(d_model: int, n_heads: int, n_states: int, chunk: int) -> bool:
    """Whether the kernels take these sizes."""
    rows = _rounded(n_states)
    queries = n_heads * max(chunk, rows)
    powers = all(n & (n - 1) == 0 for n in (d_model, n_heads, chunk))
    large = d_model >= _LEAST and n_heads * chunk >= _LEAST
    small = d_model <= 128 and rows <= _MOST_STATES and queries <= _MOST_QUERIES
    return powers and large and small


def _rounded(n_states: int) -> int:
    return max(_LEAST, 1 << (n_states - 1).bit_length())


@triton.jit
def _dot(a, b):  # type: ignore[no-untyped-def]
    return tl.dot(a, b, input_precision="tf32x3")


@triton.jit(do_not_specialize=["n_chunks", "n_batch"])  # type: ignore[untyped-decorator]
def _advance(  # type: ignore[no-untyped-def]
    tokens, norm, norm_bias, maps, maps_bias, gate, gate_bias, importance, states,
    n_chunks, n_batch, nothing,
    D: tl.constexpr, H: tl.constexpr, C: tl.constexpr, S: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    W: tl.constexpr = D // H
    sequence = tl.program_id(0).to(tl.int64)
    d, s = tl.arange(0, D), tl.arange(0, N)
    there = (s < S)[:, None]
    at_state = s[:, None] * D + d[None, :]
    of_state = (tl.arange(0, H)[:, None, None] == (d // W)[None, None, :]).to(tl.float32)
    row = tl.arange(0, H * C)
    mine = (row // C)[:, None] == (d // W)[None, :]
    ones = mine.to(tl.float32)
    at_token = (row % C)[:, None] * (2 * D) + d[None, :]
    by_dimension = (row // C)[None, :] == (d // W)[:, None]
    at_dimension = (row % C)[None, :] * (2 * D) + d[:, None]
    square = d[:, None] * (3 * D) + d[None, :]
    wide = d[:, None] * (4 * D) + d[None, :]
    weight, bias = tl.load(norm + d)[None, :], tl.load(norm_bias + d)[None, :]
    share = tl.load(importance + s, mask=s < S, other=0.0)[:, None]
    query_bias = tl.load(maps_bias + d)[None, :]
    key_bias = tl.load(maps_bias + D + d)[None, :]
    value_bias = tl.load(maps_bias + 2 * D + d)[None, :]
    r_bias, z_bias = tl.load(gate_bias + d)[None, :], tl.load(gate_bias + D + d)[None, :]
    i_bias = tl.load(gate_bias + 2 * D + d)[None, :]
    h_bias = tl.load(gate_bias + 3 * D + d)[None, :]
    state = tl.load(states + sequence * S * D + at_state, mask=there, other=0.0)
    for j in range(n_chunks):
        # what is loaded anew does not fill all of shared memory
        own_maps, own_gate = maps + j * nothing, gate + j * nothing
        base = tokens + (sequence * n_chunks + j) * (C * 2 * D)
        query = tl.load(base + at_dimension, mask=by_dimension, other=0.0)
        sent = tl.load(base + D + at_token, mask=mine, other=0.0)
        centred = state - (tl.sum(state, 1) / D)[:, None]
        scale = tl.rsqrt(tl.sum(centred * centred, 1) / D + 1e-5)
        normed = centred * scale[:, None] * weight + bias
        talk = _dot(normed, tl.load(own_maps + square)) + query_bias
        key = _dot(normed, tl.load(own_maps + D + square)) + key_bias
        value = _dot(normed, tl.load(own_maps + 2 * D + square)) + value_bias
        routed = _weights(_dot(key, query), share)
        listening = _weights(_dot(key, tl.trans(_by_head(talk, of_state, D, H, N))), share)
        mass = _dot(routed, ones)
        message = _dot(routed, sent) / tl.maximum(mass, 1e-6)
        heard = _dot(_turned(listening, H, N), _by_head(value, of_state, D, H, N))
        r = _dot(message, tl.load(own_gate + wide)) + r_bias
        z = _dot(message, tl.load(own_gate + D + wide)) + z_bias
        i = _dot(message, tl.load(own_gate + 2 * D + wide)) + i_bias
        r += _dot(heard, tl.load(own_gate + D * 4 * D + wide))
        z += _dot(heard, tl.load(own_gate + D * 4 * D + D + wide))
        i += _dot(heard, tl.load(own_gate + D * 4 * D + 2 * D + wide))
        r += _dot(state, tl.load(own_gate + 2 * D * 4 * D + wide))
        z += _dot(state, tl.load(own_gate + 2 * D * 4 * D + D + wide))
        h = _dot(state, tl.load(own_gate + 2 * D * 4 * D + 3 * D + wide)) + h_bias
        new = 2 * tl.sigmoid(2 * (i + tl.sigmoid(r) * h)) - 1
        new += tl.sigmoid(z) * (state - new)
        kept = tl.exp(-tl.sum(mass, 1) / D)  # each head's mass stands there W times
        state = new + kept[:, None] * (state - new)
        out = states + ((j + 1) * n_batch + sequence) * S * D
        tl.store(out + at_state, state, mask=there)


@triton.jit
def _weights(scores, share):  # type: ignore[no-untyped-def]
    """Of the states, one a row, in each column."""
    peak = tl.max(tl.where(share > 0, scores, -float("inf")), 0)[None, :]
    e = share * tl.exp(tl.minimum(scores - peak, 30.0))
    return e / tl.maximum(tl.sum(e, 0)[None, :], 1e-20)


@triton.jit
def _softmax_back(grad, weights):  # type: ignore[no-untyped-def]
    return weights * (grad - tl.sum(grad * weights, 0)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _by_head(x, of_state, D: tl.constexpr, H: tl.constexpr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """(N, D) -> (H N, D): once for each head, without the others' dimensions."""
    return tl.reshape(x[None, :, :] * of_state, (H * N, D))


@triton.jit  # type: ignore[untyped-decorator]
def _turned(x, H: tl.constexpr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """(N, H N) from states heard by heads and listeners -> (N, H N) listeners by heads and states."""
    return tl.reshape(tl.permute(tl.reshape(x, (N, H, N)), (2, 1, 0)), (N, H * N))


@triton.jit(do_not_specialize=["n_chunks", "n_batch"])  # type: ignore[untyped-decorator]
def _retreat(  # type: ignore[no-untyped-def]
    tokens, own, weights, inverse, moved, change, by_argument, direct, grad, shown, mean, deviation,
    norm, maps, gate, carried, d_gate, d_sent, d_weights, d_own, n_chunks, n_batch, nothing,
    D: tl.constexpr, H: tl.constexpr, C: tl.constexpr, S: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    W: tl.constexpr = D // H
    sequence = tl.program_id(0).to(tl.int64)
    d, s = tl.arange(0, D), tl.arange(0, N)
    there = (s < S)[:, None]
    rows = s[:, None] * D + d[None, :]
    of_state = (tl.arange(0, H)[:, None, None] == (d // W)[None, None, :]).to(tl.float32)
    row = tl.arange(0, H * C)
    mine = (row // C)[:, None] == (d // W)[None, :]
    at_token = (row % C)[:, None] * (2 * D) + d[None, :]
    by_dimension = (row // C)[None, :] == (d // W)[:, None]
    at_dimension = (row % C)[None, :] * (2 * D) + d[:, None]
    ones = by_dimension.to(tl.float32)
    of_row = (row // C) * ((C + S) * S) + (row % C) * S
    routed_at = of_row[None, :] + s[:, None]
    routed_there = (s < S)[:, None] & (row >= 0)[None, :]
    other = tl.arange(0, H * N)
    listened = (other // N) * ((C + S) * S) + (C + other % N) * S
    listening_at = listened[None, :] + s[:, None]
    listening_there = (other % N < S)[None, :] & (s < S)[:, None]
    square = d[:, None] * D + d[None, :]
    wide = d[:, None] * (3 * D) + d[None, :]
    scaled = tl.load(norm + d)[None, :]
    g = tl.load(carried + sequence * S * D + rows, mask=there, other=0.0)
    for back in range(n_chunks):
        j = n_chunks - 1 - back
        own_maps, own_gate = maps + j * nothing, gate + j * nothing
        at = (j * n_batch + sequence) * S
        here = at * D + rows
        four = at * (4 * D) + s[:, None] * (4 * D) + d[None, :]
        three = at * (3 * D) + s[:, None] * (3 * D) + d[None, :]
        base = tokens + (sequence * n_chunks + j) * (C * 2 * D)
        query = tl.load(base + at_token, mask=mine, other=0.0)
        said = tl.load(base + D + at_dimension, mask=by_dimension, other=0.0)
        all_weights = (j * n_batch + sequence) * (H * (C + S) * S)
        routed = tl.load(weights + all_weights + routed_at, mask=routed_there, other=0.0)
        listening = tl.load(weights + all_weights + listening_at, mask=listening_there, other=0.0)
        d_r = tl.load(by_argument + four, mask=there, other=0.0) * g
        d_z = tl.load(by_argument + D + four, mask=there, other=0.0) * g
        d_i = tl.load(by_argument + 2 * D + four, mask=there, other=0.0) * g
        d_h = tl.load(by_argument + 3 * D + four, mask=there, other=0.0) * g
        tl.store(d_gate + four, d_r, mask=there)
        tl.store(d_gate + D + four, d_z, mask=there)
        tl.store(d_gate + 2 * D + four, d_i, mask=there)
        tl.store(d_gate + 3 * D + four, d_h, mask=there)
        message = _dot(d_r, tl.load(own_gate + wide))
        heard = _dot(d_r, tl.load(own_gate + D + wide))
        by_state = _dot(d_r, tl.load(own_gate + 2 * D + wide))
        message += _dot(d_z, tl.load(own_gate + D * 3 * D + wide))
        heard += _dot(d_z, tl.load(own_gate + D * 3 * D + D + wide))
        by_state += _dot(d_z, tl.load(own_gate + D * 3 * D + 2 * D + wide))
        message += _dot(d_i, tl.load(own_gate + 2 * D * 3 * D + wide))
        heard += _dot(d_i, tl.load(own_gate + 2 * D * 3 * D + D + wide))
        by_state += _dot(d_h, tl.load(own_gate + 3 * D * 3 * D + 2 * D + wide))
        sent = message * tl.load(inverse + here, mask=there, other=0.0)
        tl.store(d_sent + here, sent, mask=there)
        by_mass = sent * tl.load(moved + here, mask=there, other=0.0)
        by_kept = tl.sum(g * tl.load(change + here, mask=there, other=0.0), 1)
        d_routed = _dot(sent, said) + _dot(by_mass, ones) + by_kept[:, None]
        tl.store(d_weights + all_weights + routed_at, d_routed, mask=routed_there)
        key = tl.load(own + D + three, mask=there, other=0.0)
        value = tl.load(own + 2 * D + three, mask=there, other=0.0)
        talk = tl.load(own + three, mask=there, other=0.0)
        heards = _by_head(heard, of_state, D, H, N)
        d_listening = _dot(value, tl.trans(heards))
        tl.store(d_weights + all_weights + listening_at, d_listening, mask=listening_there)
        d_routed = _softmax_back(d_routed, routed)
        d_listening = _softmax_back(d_listening, listening)
        d_talk = _dot(_turned(d_listening, H, N), _by_head(key, of_state, D, H, N))
        d_key = _dot(d_routed, query) + _dot(d_listening, _by_head(talk, of_state, D, H, N))
        d_value = _dot(listening, heards)
        tl.store(d_own + three, d_talk, mask=there)
        tl.store(d_own + D + three, d_key, mask=there)
        tl.store(d_own + 2 * D + three, d_value, mask=there)
        normed = _dot(d_talk, tl.load(own_maps + square))
        normed += _dot(d_key, tl.load(own_maps + D * D + square))
        normed += _dot(d_value, tl.load(own_maps + 2 * D * D + square))
        normed *= scaled
        each = tl.load(deviation + at + s, mask=s < S, other=0.0)[:, None]
        middle = tl.load(mean + at + s, mask=s < S, other=0.0)[:, None]
        unit = (tl.load(shown + here, mask=there, other=0.0) - middle) * each
        along = (tl.sum(normed * unit, 1) / D)[:, None]
        by_norm = each * (normed - (tl.sum(normed, 1) / D)[:, None] - unit * along)
        g = g * tl.load(direct + here, mask=there, other=0.0) + by_state + by_norm
        g += tl.load(grad + here, mask=there, other=0.0)
    tl.store(carried + sequence * S * D + rows, g, mask=there)


def advance(
    tokens: Tensor,
    norm: tuple[Tensor, Tensor],
    maps: tuple[Tensor, Tensor],
    gate: tuple[Tensor, Tensor],
    importance: Tensor,
    states: Tensor,
    n_heads: int,
) -> None:
    """Fill `states` (J + 1, B, S, d) from its first entry.

    `tokens` (B, J, c, 2 d) are route queries and values; `norm`, `maps` (d, 3 d) and `gate` (3 d, 4
    d) a matrix and a bias each, contiguous."""
    assert all(t.is_contiguous() for t in (tokens, *norm, *maps, *gate, importance, states))
    n_batch, n_chunks, chunk, _ = tokens.shape
    n_states, d = states.shape[2:]
    launch: Any = _advance[(n_batch,)]
    launch(
        tokens, *norm, *maps, *gate, importance, states, n_chunks, n_batch, 0,
        D=d, H=n_heads, C=chunk, S=n_states, N=_rounded(n_states), num_warps=_WARPS, num_stages=1,
    )  # fmt: skip


_WARPS = 8


def retreat(
    tokens: Tensor,
    by_chunk: tuple[Tensor, ...],
    norm: Tensor,
    maps: Tensor,
    gate: Tensor,
    carried: Tensor,
    n_heads: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take `carried` (B, S, d) from after K chunks to before them, in place: gradients of the
    gate's arguments (K, B, S, 4 d), messages times mass (K, B, S, d), weights (K, B, H, c + S, S)
    and maps (K, B, S, 3 d).

    `by_chunk` are maps (K, B, S, 3 d), weights, one over the masses, messages' change with them,
    the state's (K, B, S, d each), the gate's derivatives (K, B, S, 4 d), (K, B, S, d), the states'
    own gradients, states, and their mean and one over their deviation (K, B, S)."""
    assert all(t.is_contiguous() for t in (tokens, *by_chunk, norm, maps, gate, carried))
    n_batch, k, chunk, _ = tokens.shape
    n_states, d = carried.shape[1:]
    made = by_chunk[0].new_empty
    d_gate, d_own = made(k, n_batch, n_states, 4 * d), torch.empty_like(by_chunk[0])
    d_sent, d_weights = made(k, n_batch, n_states, d), torch.empty_like(by_chunk[1])
    launch: Any = _retreat[(n_batch,)]
    launch(
        tokens, *by_chunk, norm, maps, gate, carried, d_gate, d_sent, d_weights, d_own,
        k, n_batch, 0,
        D=d, H=n_heads, C=chunk, S=n_states, N=_rounded(n_states), num_warps=_WARPS, num_stages=1,
    )  # fmt: skip
    return d_gate, d_sent, d_weights, d_own
