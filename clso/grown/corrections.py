"""Corrections of codes: what to add to a token's code so that the head, as it is, says what follows a pair.

For a pair (u, v) seen n times, with target q (`clso.grown.trigrams`) and the bigram's code a = A[v], the correction d
maximises

    n sum_w q(w) log softmax(B (a + d) + log p_cont)(w) - tau / 2 d^T S d

with S the covariance of B's rows under the unigram distribution: a prior of tau occurrences. The function is concave, and
its second derivative at a code is the covariance of B's rows under what the head says there. Its mean at the start and at
the target, from their largest probabilities, is a metric in which the first step goes nine tenths of the way; so it is formed
once a pair, some of S is added for safety, and a step that does not improve is shortened.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clso.device import matmul_precision
from clso.grown.trigrams import PairTargets

__all__ = ["compensated", "fit_corrections"]

_LOGITS = {"cuda": 1 << 26, "cpu": 1 << 24}  # of the pairs of a batch: 256 MB a matrix, or 64
_LARGEST = 512  # tokens of a distribution whose rows of B are looked at one by one
_DAMPING = 0.3  # share of S that is added to a pair's own covariance
_PRIOR = 2.0  # occurrences
_RIDGE = 1e-3  # of S's mean eigenvalue: what the head does not read is not corrected
_STEPS = 3  # the gain is then 0.96 of what it is after 6
_ROUNDING = {"cuda": 1e-3, "cpu": 1e-5}  # nats, of a logarithm of sums in TF32, and in float32
_LONGER, _SHORTER = 1.5, 0.4  # what a step's length is multiplied by after a success or a failure


def fit_corrections(
    targets: PairTargets, a: Tensor, b: Tensor, log_p: Tensor, count: Tensor
) -> Tensor:
    """Corrections (N, K) for codes `a`, `b` (V, K), biases `log_p` (V,) and tokens that occur `count` (V,) times."""
    v, k = b.shape
    unigram = count / count.sum()
    mean = unigram @ b
    moment = (b * unigram[:, None]).T @ b  # (K, K)
    spread = moment - torch.outer(mean, mean)
    spread.diagonal().add_(_RIDGE * spread.diagonal().mean())
    out = a.new_empty(len(targets), k)
    size = max(1, _LOGITS["cuda" if a.is_cuda else "cpu"] // v)
    for part in torch.split(torch.arange(len(targets), device=a.device), size):
        pairs = targets.at(part)
        out[part] = _fitted(pairs, a[pairs.current], b, log_p, moment, spread)
    return out


def _fitted(
    pairs: PairTargets, start: Tensor, b: Tensor, log_p: Tensor, moment: Tensor, spread: Tensor
) -> Tensor:
    """Corrections (n, K) of a batch from the codes `start` (n, K). `moment` and `spread` (K, K) are B's second moment and
    covariance under the unigram."""
    n = pairs.count[:, None]
    p = torch.softmax(torch.addmm(log_p, start, b.T), 1)  # (n, V)
    q = _target(pairs, p)
    p_mean, q_mean = p @ b, q @ b  # (n, K)
    # The mean covariance (n, K, K): both have their largest tokens in common.
    both = _second_moment((p + q) / 2, b, moment)
    both -= (_outer(p_mean) + _outer(q_mean)) / 2
    likely = q.argmax(1, keepdim=True)
    del p, q
    metric = n[:, :, None] * (both + _DAMPING * spread) + _PRIOR * spread
    factor, _ = torch.linalg.cholesky_ex(metric)
    # Its inverse once, for a batch of triangular systems with one right side each is slow on a GPU.
    unit = torch.eye(len(spread), device=b.device)
    inverse = torch.linalg.solve_triangular(factor, unit, upper=False)
    del both, metric, factor

    def says(d: Tensor) -> tuple[Tensor, Tensor]:
        """The function (n, 1), and what the head's mean row of B is (n, K)."""
        # TF32 costs no gain here, in the target and the metric it does
        with matmul_precision("high" if b.is_cuda else "highest"):
            logits = torch.addmm(log_p, start + d, b.T)
            at_likely = logits.gather(1, likely)
            says = torch.softmax(logits, 1)
            total = (
                at_likely - says.gather(1, likely).log()
            )  # the logarithm of the sum, whatever the token
            mean = says @ b
        value = n * ((d * q_mean).sum(1, keepdim=True) - total)
        value -= _PRIOR / 2 * ((d @ spread) * d).sum(1, keepdim=True)
        return value, mean

    d, length = torch.zeros_like(start), torch.ones_like(n)
    rounding = _ROUNDING["cuda" if b.is_cuda else "cpu"]
    value, says_mean = says(d)
    for _ in range(_STEPS):
        slope = n * (q_mean - says_mean) - _PRIOR * (d @ spread)
        new = d + length * (inverse.mT @ (inverse @ slope[:, :, None]))[:, :, 0]
        new_value, new_mean = says(new)
        # Not worse beyond rounding; nor where a factorisation failed, which gives NaN.
        better = new_value > value - rounding * n
        d, says_mean = torch.where(better, new, d), torch.where(better, new_mean, says_mean)
        value = torch.where(better, new_value, value)
        length = torch.where(better, (length * _LONGER).clamp(max=1), length * _SHORTER)
    return d


def _target(pairs: PairTargets, p: Tensor) -> Tensor:
    """The target q (n, V) of pairs whose back-off is `p` (n, V)."""
    row = torch.repeat_interleave(pairs.offset.diff())
    q = pairs.back_off[:, None] * p
    q[row, pairs.token] += pairs.share  # each place once
    return q


def _second_moment(p: Tensor, b: Tensor, rest: Tensor) -> Tensor:
    """sum_w p(w) b_w b_w^T (n, K, K), with `rest` (K, K) for what is not among the largest p (n, V)."""
    largest, token = p.topk(min(_LARGEST, p.shape[1]), dim=1)
    rows = b[token] * largest.sqrt()[:, :, None]  # (n, tokens, K)
    return rows.mT @ rows + (1 - largest.sum(1))[:, None, None] * rest


def _outer(x: Tensor) -> Tensor:
    return x[:, :, None] * x[:, None, :]


def compensated(corrections: Tensor, codes: Tensor, norm: float) -> Tensor:
    """The corrections (N, K) to write, so that the last LayerNorm leaves codes + corrections.

    A residual vector of size `norm` with the codes (N, K) grows with what is added, and LayerNorm divides it by that again.
    """
    wanted = codes + corrections
    other = norm**2 - codes.square().sum(1, keepdim=True)
    room = (norm**2 - wanted.square().sum(1, keepdim=True)).clamp(min=0.25 * norm**2)
    return wanted * (other / room).sqrt() - codes
