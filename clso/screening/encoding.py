"""Genomes as features for a surrogate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, GenomeError
from clso.screening import order
from clso.space import Genome

__all__ = ["Encoder"]


_MAX_COLUMNS = 4096  # of one gene's alleles


class Encoder:
    """Genomes to features: per gene, the one-hot allele and the allele's descriptor.

    A gene of more than 4,096 choices (a seed, a row's number) has as many columns, for equal ranges
    of its alleles: a column for each would take gigabytes, and see one row each.

    Descriptors are standardised over the alleles of their gene (a constant one becomes 0), so that
    units such as ranks and norms do not decide how strongly an estimator regularises them."""

    def __init__(
        self,
        n_choices: Sequence[int],
        descriptors: Sequence[npt.NDArray[Any] | None] | None = None,
        inactive: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]] | None = None,
        ordered: Sequence[int] = (),
    ) -> None:
        """`descriptors[g]` has shape (n_choices[g], k_g), or is None for a gene without any.
        `inactive` tells which genes make no difference, (n, genes) -> (n, genes): the columns of
        such a gene are 0, whatever its allele. `ordered` are the places of genes whose alleles may
        have another code than one-hot (`clso.screening.order`).

        Raises:
            ConfigError: no gene, a gene without choices, or descriptors of another shape or not
            finite.
        """
        self.n_choices = tuple(int(n) for n in n_choices)
        if not self.n_choices or min(self.n_choices) < 1:
            raise ConfigError(
                "a space has at least one gene, each with at least one choice", got=self.n_choices
            )
        given = [None] * len(self.n_choices) if descriptors is None else list(descriptors)
        if len(given) != len(self.n_choices):
            raise ConfigError(
                f"{len(self.n_choices)} genes need as many descriptors", got=len(given)
            )
        tables = [_standardised(n, d) for n, d in zip(self.n_choices, given, strict=True)]
        n_columns = [min(n, _MAX_COLUMNS) for n in self.n_choices]
        starts = np.cumsum(
            [0, *(n + table.shape[1] for n, table in zip(n_columns, tables, strict=True))]
        )
        self.n_features = int(starts[-1])
        self._limits = np.array(self.n_choices)
        self._inactive = inactive
        self.ordered = tuple(
            gene for gene in ordered if 2 < self.n_choices[gene] <= order.MOST_CHOICES
        )
        self._n_columns = np.array(n_columns)
        self._fits_bytes = max(self.n_choices) <= 256
        self._last_bytes = (np.minimum(self._limits, 256) - 1).astype(np.uint8)
        self._is_small = max(self.n_choices) <= _MAX_COLUMNS
        self._one_hot = starts[:-1]  # column of each gene's first allele
        # Gene, its descriptors' columns, and their values by allele; for most genes there are none.
        self._described = [
            (g, slice(start + n, start + n + table.shape[1]), table)
            for g, (n, start, table) in enumerate(zip(n_columns, starts, tables, strict=False))
            if table.shape[1]
        ]

    def encode(
        self, genomes: Sequence[Genome], codes: Sequence[int] | None = None
    ) -> npt.NDArray[np.float32]:
        """Features of `genomes`, shape (n, n_features), the alleles in these `codes` by gene; all
        one-hot by default. Raises GenomeError on a genome of another space."""
        features = np.zeros((len(genomes), self.n_features), np.float32)
        if not genomes:
            return features
        g = self._alleles(genomes)
        columns_of = g if self._is_small else g * self._n_columns // self._limits
        active = None if self._inactive is None else ~self._inactive(g)
        one: Any = 1 if active is None else active
        # a flat index takes half as long as a row and a column
        rows = np.arange(0, features.size, self.n_features)[:, None]
        features.reshape(-1)[rows + (self._one_hot + columns_of)] = one
        for gene, columns, values in [*self._described, *self._coded(codes or ())]:
            features[:, columns] = values[g[:, gene]]
            if active is not None:
                features[:, columns] *= active[:, gene, None]
        return features

    def choose_codes(
        self, genomes: Sequence[Genome], values: Sequence[float], codes: Sequence[int], turn: int
    ) -> list[int]:
        """The codes that measured genomes make likeliest, given those in force."""
        g = self._alleles(genomes)
        off = None if self._inactive is None else self._inactive(g)
        return order.choose_codes(
            g, values, self.n_choices, self.ordered, codes, off=off, turn=turn
        )

    def _coded(self, codes: Sequence[int]) -> list[tuple[int, slice, npt.NDArray[np.float32]]]:
        """Gene, its alleles' columns, and their values by allele, of genes that are not one-hot."""
        return [
            (
                gene,
                slice(self._one_hot[gene], self._one_hot[gene] + self.n_choices[gene]),
                order.code(self.n_choices[gene], codes[gene]).astype(np.float32),
            )
            for gene in (self.ordered if codes else ())
            if codes[gene]
        ]

    def _alleles(self, genomes: Sequence[Genome]) -> npt.NDArray[np.int64]:
        """As an array (n, genes). Raises GenomeError on a genome of another space."""
        if any(len(genome) != len(self.n_choices) for genome in genomes):
            raise GenomeError(f"a genome of this space has {len(self.n_choices)} genes")
        g: npt.NDArray[Any]
        if self._fits_bytes:  # forty times as fast as an array of tuples
            try:
                packed = np.frombuffer(b"".join(map(bytes, genomes)), np.uint8)
            except (TypeError, ValueError) as error:
                raise GenomeError(
                    "an allele is a whole number, at least 0 and below its gene's choices"
                ) from error
            packed = packed.reshape(len(genomes), len(self.n_choices))
            is_outside = (packed > self._last_bytes).any()
            g = packed.astype(np.int64)
        else:
            g = np.array(genomes, dtype=np.int64).reshape(len(genomes), len(self.n_choices))
            is_outside = ((g < 0) | (g >= self._limits)).any()
        if is_outside:
            raise GenomeError("an allele is at least 0 and below its gene's number of choices")
        return g


def _standardised(n_choices: int, descriptor: npt.NDArray[Any] | None) -> npt.NDArray[np.float32]:
    """The descriptors of one gene's alleles (n_choices, k), standardised; k is 0 if there are
    none."""
    if descriptor is None:
        return np.empty((n_choices, 0), np.float32)
    d = np.asarray(descriptor, dtype=np.float64)
    if d.ndim != 2 or len(d) != n_choices or not np.isfinite(d).all():
        raise ConfigError(f"descriptors are finite, of shape ({n_choices}, k)", got=d.shape)
    spread = d.std(axis=0)
    constant = spread <= 1e-9 * np.abs(d).max(axis=0, initial=0.0)
    scaled = np.where(constant, 0.0, (d - d.mean(axis=0)) / np.where(constant, 1.0, spread))
    return scaled.astype(np.float32)
