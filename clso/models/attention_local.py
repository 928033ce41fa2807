"""Full and local attention over documents of one length: (..., heads, n, d_head) -> the same, causal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.attention_patterns import Local

__all__ = ["band", "full_attention", "local_attention"]


def full_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (a, b, n, d_head)."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def local_attention(q: Tensor, k: Tensor, v: Tensor, pattern: Local) -> Tensor:
    """Causal attention to the last `window` keys, of (a, b, n, d_head).

    The first `window` queries are an ordinary causal attention; then come chunks of queries, each with the keys that any
    of its queries sees, so that memory and FLOPs are linear in n.
    """
    n, w, chunk = q.shape[2], pattern.window, pattern.chunk
    if n <= w:
        return full_attention(q, k, v)
    parts = [full_attention(q[:, :, :w], k[:, :, :w], v[:, :, :w])]
    full, rest = divmod(n - w, chunk)
    end = w + full * chunk
    if full:
        parts.append(_chunks(q[:, :, w:end], k[:, :, 1:end], v[:, :, 1:end], w, chunk))
    if rest:
        at = end - w + 1
        parts.append(
            F.scaled_dot_product_attention(
                q[:, :, end:], k[:, :, at:], v[:, :, at:], band(rest, w - 1, w, q.device)
            )
        )
    return torch.cat(parts, dim=2)


def _chunks(q: Tensor, k: Tensor, v: Tensor, w: int, chunk: int) -> Tensor:
    a, b, n, d = q.shape

    def spans(x: Tensor) -> Tensor:  # (a, b * chunks, w - 1 + chunk, d)
        return (
            x.unfold(2, w - 1 + chunk, chunk)
            .transpose(3, 4)
            .reshape(a, b * (n // chunk), w - 1 + chunk, d)
        )

    queries = q.reshape(a, b * (n // chunk), chunk, d)
    out = F.scaled_dot_product_attention(
        queries, spans(k), spans(v), band(chunk, w - 1, w, q.device)
    )
    return out.reshape(a, b, n, d)


def band(n_queries: int, before: int, window: int, device: torch.device) -> Tensor:
    """Which keys each query sees, itself and the `window` - 1 before it: (n_queries, before + n_queries).

    The keys are `before` ahead of the first query, and the queries' own.
    """
    keys = torch.arange(before + n_queries, device=device)
    offset = before + torch.arange(n_queries, device=device)[:, None] - keys
    return (offset >= 0) & (offset < window)
