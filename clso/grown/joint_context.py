"""Value maps of several attention patterns at once, cut to the rank that their heads can carry.

The regression of `clso.grown.context`, with the patterns' averaged codes side by side as features:
heads that look at overlapping stretches of the context must share what they explain, or it is added
twice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["JointMaps", "fit_joint_maps"]

_ROWS = 1 << 17  # tokens whose features are held at once: 100 MB for two patterns at rank 96
_SHRINK = 1.0
"""Pseudo-occurrences with which a rare token's mean context is drawn to the average one."""


@dataclass(frozen=True)
class JointMaps:
    """`down` (h, k, r) and `up` (h, r, k): pattern i adds f_i @ down_i @ up_i.

    `expected` (V, k) is the mean of their sum over the occurrences of each token, to be subtracted
    from its code."""

    down: Tensor
    up: Tensor
    expected: Tensor


def fit_joint_maps(
    blocks: Tensor,
    attentions: Tensor,
    a: Tensor,
    b: Tensor,
    rank: int,
    *,
    ridge: float = 0.3,
    damping: float = 1.0,
) -> JointMaps:
    """Fit one map for each pattern, jointly.

    `blocks` (n, T + 1) are the statistics text, `attentions` (h, T, T) the patterns' weights, `a`,
    `b` (V, k) the codes; `ridge` and `damping` are shares of the mean eigenvalue of the two
    matrices that are inverted. Each map M (k, k) is cut to `rank` by the singular values of L^T M,
    with L L^T the covariance of its demeaned features: the cut that loses least of what the head
    adds."""
    v, k = a.shape
    h, t, _ = attentions.shape
    attentions = attentions.to(a.device)
    # Sums by current token, and products over all positions, of what heads see (f) and what is to
    # be explained (r).
    sum_f, sum_r, n = a.new_zeros(v, h * k), a.new_zeros(v, k), a.new_zeros(v)
    ff, fr, rr = a.new_zeros(h * k, h * k), a.new_zeros(h * k, k), a.new_zeros(k, k)
    for part in torch.split(blocks, max(1, _ROWS // t)):
        x, y = part[:, :-1], part[:, 1:].flatten()
        # Codes averaged by each pattern, side by side (N, h k), and target codes (N, k).
        f = torch.einsum("hts,nsk->nthk", attentions, a[x]).reshape(-1, h * k)
        r, x = b[y], x.flatten()
        sum_f.index_add_(0, x, f)
        sum_r.index_add_(0, x, r)
        n += torch.bincount(x, minlength=v)
        ff, fr, rr = ff + f.T @ f, fr + f.T @ r, rr + r.T @ r
    # Take each token's own means away: what is left varies within a token's occurrences.
    share = 1 / n.clamp(min=1)[:, None]
    ff = ff - sum_f.T @ (sum_f * share)
    fr = fr - sum_f.T @ (sum_r * share)
    rr = rr - sum_r.T @ (sum_r * share)
    n_free = (n.clamp(min=1) - 1).sum().clamp(min=1)
    covariance, sigma = ff / n_free, rr / n_free
    for matrix, amount in ((ff, ridge), (sigma, damping), (covariance, 1e-4)):
        matrix.diagonal().add_(amount * matrix.diagonal().mean() + 1e-9)
    # The ridge regression: one map for each pattern (h, k, k).
    m = torch.linalg.solve(sigma, torch.linalg.solve(ff, fr).T).T.view(h, k, k)
    # Each pattern's own covariance (h, k, k) is L L^T; L^T M = U S W, cut to the rank.
    diagonal = covariance.view(h, k, h, k).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    root = torch.linalg.cholesky(diagonal)
    u, s, w = torch.linalg.svd(root.transpose(1, 2) @ m)
    r_kept = min(rank, k)
    strength = s[:, :r_kept].sqrt()
    # M is about down @ up, with L^-T U sqrt(S) (h, k, r) and sqrt(S) W (h, r, k).
    down = torch.linalg.solve_triangular(
        root.transpose(1, 2), u[:, :, :r_kept] * strength[:, None, :], upper=True
    )
    up = strength[:, :, None] * w[:, :r_kept]
    # What the maps add on average behind each token (V, k).
    average = sum_f.sum(0) / n.sum().clamp(min=1)
    mean_f = (sum_f + _SHRINK * average) / (n[:, None] + _SHRINK)
    expected = torch.einsum("vhk,hkr,hrj->vj", mean_f.view(v, h, k), down, up)
    return JointMaps(down, up, expected)
