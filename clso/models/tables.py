"""Vocabulary-sized tables of a population: embeddings and heads, which are too large to copy for
every candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["BankedTables", "Embeddings", "Heads"]


class Embeddings(ABC):
    """Embedding tables of P candidates; only the rows that a text needs are ever formed."""

    @abstractmethod
    def __len__(self) -> int:
        """P."""

    @abstractmethod
    def rows(self, tokens: Tensor) -> Tensor:
        """Embeddings of tokens (n,): (P, n, d) float32."""


class Heads(ABC):
    """Head tables of P candidates.

    `index` (P,) says which of the distinct tables a candidate uses. Tables may be given in a basis
    of the part of the hidden space that they read: then `basis` (d, q) takes hidden states there,
    and candidate p's logits are hidden @ basis @ table[index[p]]^T."""

    index: Tensor
    basis: Tensor | None = None

    @abstractmethod
    def distinct(self, dtype: torch.dtype) -> Tensor:
        """The distinct tables (E, V, d), or (E, V, q) in a basis, contiguous."""


class BankedTables(Embeddings, Heads):
    """Picks from a bank of tables (E, V, d), for either use."""

    def __init__(self, bank: Tensor, index: Tensor) -> None:
        if bank.dim() != 3 or index.dim() != 1:
            raise ValueError(
                f"a bank (E, V, d) and an index (P,), not {tuple(bank.shape)} and {tuple(index.shape)}"
            )
        self.bank, self.index = bank, index.cpu()

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, tokens: Tensor) -> Tensor:
        return self.bank[self.index.to(tokens.device)[:, None], tokens[None, :]]

    def distinct(self, dtype: torch.dtype) -> Tensor:
        return self.bank.to(dtype).contiguous()
