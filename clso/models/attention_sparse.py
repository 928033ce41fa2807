"""Sparse attention over blocks: each query's own block, block 0, and the K other earlier blocks that it likes best.

A query likes a block by its product with the mean of the block's keys; of equals the later one is taken, and no gradient
goes through the choice. The parts are attended to one by one, and joined by their log-sum-exps, so that no query ever holds
copies of the keys that it chose: queries are sorted by the block they go to instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clso.models.attention_local import full_attention
from clso.models.attention_patterns import Sparse

__all__ = ["choose_blocks", "sparse_attention"]

_CHOICES_AT_ONCE = 1 << 22  # query-block products in memory


def sparse_attention(q: Tensor, k: Tensor, v: Tensor, pattern: Sparse) -> Tensor:
    """Causal attention of (a, b, n, d_head)."""
    a, b, n, d = q.shape
    if pattern.is_full(n):
        return full_attention(q, k, v)
    q, k, v = (x.reshape(a * b, n, d) for x in (q * d**-0.5, k, v))
    parts = [_own_block(q, k, v, pattern.block), _first_block(q, k, v, pattern.block)]
    parts.append(_chosen_blocks(q, k, v, pattern))
    out, lse = (torch.cat([part[i] for part in parts], 2) for i in (0, 1))
    return (lse.softmax(2)[..., None] * out).sum(2).to(q.dtype).reshape(a, b, n, d)


def choose_blocks(q: Tensor, k: Tensor, pattern: Sparse) -> Tensor:
    """Blocks that queries choose: (r, n, d) -> (r, n - 2 * block, k), the best first, -1 for none.

    The first two blocks' queries have nothing to choose. Memory is linear in n.
    """
    r, n, d = q.shape
    size, first = pattern.block, 2 * pattern.block
    n_candidates = (
        -(-n // size) - 2
    )  # blocks 1 to the last but one: what the last block's queries choose from
    means = k[:, size : size * (1 + n_candidates)].reshape(r, n_candidates, size, d).mean(2)
    order = torch.arange(
        n_candidates, 0, -1, device=q.device
    )  # the later first, and a stable sort keeps it so
    step = max(1, _CHOICES_AT_ONCE // (r * n_candidates))
    found = []
    for at in range(first, n, step):
        rows = torch.arange(at, min(at + step, n), device=q.device)
        likes = (q[:, rows] @ means.transpose(1, 2)).flip(2)
        likes = likes.masked_fill(order >= (rows // size)[:, None], -math.inf)
        best, place = likes.sort(dim=2, descending=True, stable=True)
        chosen = order[place[..., : pattern.k]]
        found.append(chosen.masked_fill(best[..., : pattern.k] == -math.inf, -1))
    return torch.cat(found, 1)


def _own_block(q: Tensor, k: Tensor, v: Tensor, size: int) -> tuple[Tensor, Tensor]:
    r, n, d = q.shape
    inside = n - n % size
    out, lse = (
        x.reshape(r, inside, *x.shape[3:])
        for x in _attend(*(x[:, :inside].reshape(r, -1, size, d) for x in (q, k, v)), causal=True)
    )
    if inside < n:
        last = _attend(q[:, inside:], k[:, inside:], v[:, inside:], causal=True)
        out, lse = torch.cat((out, last[0]), 1), torch.cat((lse, last[1]), 1)
    return out[:, :, None], lse[:, :, None]


def _first_block(q: Tensor, k: Tensor, v: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of all queries behind it; none for its own."""
    out, lse = _attend(q[:, size:], k[:, :size], v[:, :size])
    return _behind(out[:, :, None], size, 0.0), _behind(lse[:, :, None], size, -math.inf)


def _chosen_blocks(q: Tensor, k: Tensor, v: Tensor, pattern: Sparse) -> tuple[Tensor, Tensor]:
    r, n, d = q.shape
    size, first = pattern.block, 2 * pattern.block
    n_blocks = n // size
    with torch.no_grad():
        chosen = choose_blocks(q, k, pattern)
        row = torch.arange(r, device=q.device)[:, None, None]
        bucket = torch.where(chosen < 0, r * n_blocks, row * n_blocks + chosen).flatten()
        by_bucket = bucket.argsort(stable=True)
        counts = bucket.bincount(minlength=r * n_blocks + 1)[:-1].tolist()
        by_bucket = by_bucket[: sum(counts)]
        query = (
            torch.arange(r * n, device=q.device)
            .view(r, n, 1)[:, first:]
            .expand_as(chosen)
            .flatten()[by_bucket]
        )
    queries = torch.split(q.reshape(r * n, d)[query], counts)
    keys, values = (x[:, : n_blocks * size].reshape(r * n_blocks, size, d) for x in (k, v))
    found = [
        _attend(rows, block, value)
        for rows, block, value in zip(queries, keys, values, strict=True)
        if len(rows)
    ]
    out = q.new_zeros(chosen.numel(), d).index_copy(0, by_bucket, torch.cat([o for o, _ in found]))
    scores = torch.cat([s for _, s in found])
    lse = scores.new_full((chosen.numel(),), -math.inf).index_copy(0, by_bucket, scores)
    shape = chosen.shape
    return _behind(out.view(*shape, d), first, 0.0), _behind(lse.view(shape), first, -math.inf)


def _attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> tuple[Tensor, Tensor]:
    """Attention of scaled queries (..., n, d), and the log-sum-exp of their scores (..., n)."""
    scores = q @ k.transpose(-1, -2)
    scores = scores.to(
        torch.promote_types(scores.dtype, torch.float32)
    )  # parts are joined by what is small in 16 bits
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    lse = scores.logsumexp(-1)
    return (scores - lse[..., None]).exp().to(v.dtype) @ v, lse


def _behind(x: Tensor, n: int, filler: float) -> Tensor:
    """(r, m, ...) with `n` rows of `filler` before it."""
    return torch.cat((x.new_full((x.shape[0], n, *x.shape[2:]), filler), x), 1)
