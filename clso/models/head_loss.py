"""Cross-entropy under a vocabulary-sized head, for a whole population, without ever holding all the logits.

At d = 128 the head is 94 % of a GPT-2's arithmetic, so this is the hot loop of a search. Hidden states are visited in
tiles of rows; each tile's logits live just long enough to be reduced to a log-sum-exp.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Tables", "population_head_loss", "row_losses"]

_CPU_TILE_ELEMENTS = 1 << 20  # logits in flight on a CPU: 4 MB, so that the three passes over them stay in cache
_CUDA_MEMORY_SHARE = 0.25  # of the free memory; logits, their exponentials and a margin


@dataclass(frozen=True)
class Tables:
    """Distinct (vocab_size, d_model) tables and which of them each candidate uses.

    `tables` is (n_distinct, V, d); `index` is (P,), on the CPU, since it steers the launches.
    """

    tables: Tensor
    index: Tensor

    def __post_init__(self) -> None:
        if self.tables.dim() != 3 or self.index.dim() != 1:
            raise ValueError(f"tables (E, V, d) and index (P,), not {self.tables.shape} and {self.index.shape}")


def _rows_per_tile(n_rows: int, vocab_size: int, device: torch.device) -> int:
    """Rows whose logits are computed together.

    On a CPU the tile divides a candidate's rows, so that a candidate's arithmetic, and therefore its loss to the last
    bit, does not depend on who shares the batch. On a GPU it is what a share of the free memory holds.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(128, int(free * _CUDA_MEMORY_SHARE) // (12 * vocab_size))
    limit = max(32, _CPU_TILE_ELEMENTS // vocab_size)
    return next(r for r in range(min(limit, n_rows), 0, -1) if n_rows % r == 0)


def population_head_loss(hidden: Tensor, head: Tables, targets: Tensor) -> Tensor:
    """Summed negative log-likelihood of `targets` for each candidate, in nats, float64 (P,).

    `hidden` is (P, N, d), `targets` (N,). Candidates that share a head are one matrix product.
    """
    n_candidates, n_rows, d = hidden.shape
    out = torch.empty(n_candidates, dtype=torch.float64, device=hidden.device)
    tile = _rows_per_tile(n_rows, head.tables.shape[1], hidden.device)
    for table in sorted(set(head.index.tolist())):
        members = (head.index == table).nonzero().flatten().to(hidden.device)
        rows = hidden[members].reshape(-1, d)
        losses = row_losses(rows, head.tables[table], targets.repeat(len(members)), tile)
        out[members] = losses.view(len(members), n_rows).double().sum(dim=1)
    return out


def row_losses(rows: Tensor, weight: Tensor, targets: Tensor, tile: int | None = None) -> Tensor:
    """Negative log-likelihood (n,) of targets (n,) for hidden rows (n, d) under one head (V, d), `tile` rows at a time."""
    tile = _rows_per_tile(len(rows), weight.shape[0], rows.device) if tile is None else tile
    losses = []
    for part, target in zip(torch.split(rows, tile), torch.split(targets, tile), strict=True):
        logits = (part @ weight.T).float()
        losses.append(torch.logsumexp(logits, dim=1) - logits.gather(1, target[:, None])[:, 0])
    return torch.cat(losses)
