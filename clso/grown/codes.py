"""Embedding and head codes: bigram factorisations of a text under several smoothings, ranks and
methods."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.als import AlsConfig, factorise
from clso.grown.statistics import BigramStatistics, PairCounts, kneser_ney

__all__ = ["CodeFamily", "Codes", "grow_codes"]


@dataclass(frozen=True)
class CodeFamily:
    """Family parameters of an embedding/head pair.

    `method` is "als" (implicit-feedback least squares on Kneser-Ney log-ratios) or "svd" (truncated
    singular value decomposition of the positive pointwise mutual information, Levy & Goldberg
    2014)."""

    rank: int
    method: str = "als"
    smoothing: float = 1.0
    discount: float = 0.7
    unseen_weight: float = 0.005
    """w0 over the square root of a token's mean occurrences: the more is known of a token, the more
    an unseen pair tells."""
    exponent: float = 0.5
    iterations: int = 8

    def __post_init__(self) -> None:
        if self.method not in ("als", "svd"):
            raise ConfigError("a code family's method is als or svd", got=self.method)

    @property
    def label(self) -> str:
        unseen = f" unseen {self.unseen_weight:g}" if self.method == "als" else ""
        return f"{self.method}-{self.rank} smoothing {self.smoothing:g} discount {self.discount:g}{unseen}"


@dataclass(frozen=True)
class Codes:
    """Context codes `a` and target codes `b` (V, rank), with log p_cont (V,) as the bias of the
    logits."""

    a: Tensor
    b: Tensor
    log_p: Tensor
    statistics: BigramStatistics


def grow_codes(pairs: PairCounts, family: CodeFamily) -> Codes:
    """Codes of one family from bigram counts, so that A[x_t] . B[j] + log p_cont(j) are the
    bigram's logits."""
    statistics = kneser_ney(pairs, discount=family.discount, smoothing=family.smoothing)
    if family.method == "als":
        config = AlsConfig(
            rank=family.rank,
            iterations=family.iterations,
            unseen_weight=family.unseen_weight * float(statistics.row.mean()) ** 0.5,
            exponent=family.exponent,
        )
        a, b = factorise(statistics, config)
    else:
        a, b = _svd(statistics, family.rank)
    return Codes(a, b, statistics.p_cont.log(), statistics)


def _svd(statistics: BigramStatistics, rank: int) -> tuple[Tensor, Tensor]:
    pairs = statistics.pairs
    v = pairs.vocab_size
    # Pointwise mutual information of each seen pair, its positive part as a sparse matrix (V, V).
    pmi = torch.log(
        pairs.count * pairs.count.sum() / (statistics.row[pairs.i] * statistics.column[pairs.j])
    )
    matrix = torch.sparse_coo_tensor(
        torch.stack([pairs.i, pairs.j]),
        pmi.clamp(min=0),
        (v, v),
        is_coalesced=True,
        check_invariants=False,
    )
    # svd_lowrank draws its sketch from the global generator; the caller's stream is put back.
    devices = [matrix.device] if matrix.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        u, s, w = torch.svd_lowrank(matrix, q=rank, niter=2)
    root = s.sqrt()  # (rank,), shared by both sides (V, rank)
    return u * root, w * root
