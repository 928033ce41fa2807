"""Attention within documents by any pattern: the way that is fastest on the device at hand.

On a CPU documents of one length go together through `scaled_dot_product_attention` or the pattern's own products. On CUDA
`full` and `local` take one kernel for all lengths where there is one; the rest goes as on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from clso.models import attention_varlen
from clso.models.attention_adaptive import Evidence, adaptive_attention
from clso.models.attention_local import full_attention, local_attention
from clso.models.attention_patterns import Adaptive, Full, Local, Pattern, Pyramid, Sparse
from clso.models.attention_pyramid import pyramid_attention
from clso.models.attention_sparse import sparse_attention
from clso.models.documents import Documents

__all__ = ["attend", "attend_heads", "backend"]


def attend(
    pattern: Pattern, q: Tensor, k: Tensor, v: Tensor, documents: Documents, evidence: Evidence
) -> Tensor:
    """Causal attention of (N, heads, d_head), rows in the documents' order, with one pattern for all heads."""
    if isinstance(pattern, Adaptive):
        return adaptive_attention(q, k, v, pattern.policy, documents, evidence)
    if isinstance(pattern, (Full, Local)):
        window = pattern.window if isinstance(pattern, Local) else None
        if attention_varlen.takes(q.device, q.dtype, q.shape[2], window):
            return attention_varlen.varlen_attention(q, k, v, documents, window)
    if isinstance(pattern, Local):
        dense = partial(local_attention, pattern=pattern)
    elif isinstance(pattern, Sparse):
        dense = partial(sparse_attention, pattern=pattern)
    elif isinstance(pattern, Pyramid):
        dense = partial(pyramid_attention, pattern=pattern)
    else:
        dense = partial(full_attention)
    found = []
    for group in documents.groups:
        q_group, k_group, v_group = (
            x[group.start : group.stop].view(group.n, group.length, *x.shape[1:]).transpose(1, 2)
            for x in (q, k, v)
        )
        found.append(dense(q_group, k_group, v_group).transpose(1, 2).flatten(0, 1))
    return found[0] if len(found) == 1 else torch.cat(found)


def attend_heads(
    patterns: Sequence[Pattern],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    documents: Documents,
    evidence: Evidence,
) -> Tensor:
    """`attend` with a pattern for each head: heads of one pattern go together."""
    heads: dict[Pattern, list[int]] = {}
    for head, pattern in enumerate(patterns):
        heads.setdefault(pattern, []).append(head)
    if len(heads) == 1:
        return attend(patterns[0], q, k, v, documents, evidence)
    parts, order = [], list[int]()
    for pattern, which in heads.items():
        parts.append(attend(pattern, q[:, which], k[:, which], v[:, which], documents, evidence))
        order += which
    back = sorted(range(len(order)), key=order.__getitem__)
    return torch.cat(parts, 1)[:, back]


def backend(
    patterns: Sequence[Pattern], device: torch.device, dtype: torch.dtype, d_head: int
) -> str:
    """How these patterns are executed on heads of `d_head` dimensions, in words."""
    found = set()
    for pattern in patterns:
        window = pattern.window if isinstance(pattern, Local) else None
        by_kernel = attention_varlen.takes(device, dtype, d_head, window)
        if isinstance(pattern, (Full, Local)) and by_kernel:
            found.add("varlen_attn")
        elif isinstance(pattern, Full):
            found.add("sdpa by length")
        else:
            found.add(f"{type(pattern).__name__.lower()} by chunks")
    return ", ".join(sorted(found))
