"""Whether the order of a gene's alleles tells about their values: tried gene by gene, and believed
as far as the measurements bear it out.

The alleles of an ordered gene can be coded one-hot, all equally far from each other, or as bumps
along a scale, near ones alike. Which of these codes a gene gets is decided by the marginal
likelihood of a Gaussian process on the latest measurements (Rasmussen & Williams 2006, section
5.4.1, its variance at the maximum): a declared order that misleads is dropped, for that gene
alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.special import ndtri

__all__ = ["CODES", "MOST_CHOICES", "choose_codes", "code"]

Floats = npt.NDArray[np.float64]

_WIDTHS = (1 / 8, 1 / 2)  # of a bump, as shares of the scale
CODES = 1 + len(_WIDTHS)
"""Codes that a gene's alleles can have: 0 is one-hot, the others are ever wider bumps."""
MOST_CHOICES = 256
"""Of a gene whose order is tried."""
_ROWS = 96  # the latest, on which a code is judged
_GENES = 24  # whose codes are judged at a time
_NOISE = 0.05
_MARGIN = 1.0  # nats by which another code has to be likelier


@cache
def code(n_choices: int, number: int) -> Floats:
    """Code `number` of a gene's alleles, (n_choices, n_choices), a row each.

    Inner products of bumps are exp(-(i - j)^2 / 2 w^2), and the mean squared distance of two
    alleles is that of one-hot ones, so that a code says nothing about how much a gene matters."""
    if number == 0 or n_choices < 3:
        return np.eye(n_choices)
    places = np.arange(n_choices)
    width = max(1.0, _WIDTHS[number - 1] * (n_choices - 1))
    products = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    values, vectors = np.linalg.eigh(products)
    bumps: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mean = 2 * (1 - products.mean())
    return bumps * math.sqrt(2 * (1 - 1 / n_choices) / mean)


def choose_codes(
    genomes: npt.NDArray[np.int64],
    values: Sequence[float],
    n_choices: Sequence[int],
    ordered: Sequence[int],
    codes: Sequence[int],
    *,
    off: npt.NDArray[np.bool_] | None = None,
    turn: int = 0,
) -> list[int]:
    """The codes of all genes, chosen for the `ordered` ones, one after another.

    Args:
        genomes: what was measured, (n, genes), the latest last.
        values: their values, (n,).
        n_choices: numbers of alleles, by gene.
        ordered: places of the genes whose order is tried; of many, some at each `turn`.
        codes: those in force, by gene.
        off: which genes make no difference, (n, genes).
    """
    genomes, targets = genomes[-_ROWS:], np.array(values[-_ROWS:])
    off = np.zeros(genomes.shape, dtype=np.bool_) if off is None else off[-_ROWS:]
    scores = _normal_scores(targets)
    # what is off is one more allele, whose code is all zeros
    places = np.where(off, np.array(n_choices), genomes)
    found = list(codes)
    first = _GENES * turn % max(1, len(ordered))
    judged = (list(ordered) * 2)[first : first + min(_GENES, len(ordered))]
    total = np.zeros((len(genomes),) * 2)
    for gene, n in enumerate(n_choices):
        total += _distances(places[:, gene], n, found[gene])
    best = _log_likelihood(total, scores)
    for gene in judged:
        n = n_choices[gene]
        rest = total - _distances(places[:, gene], n, found[gene])
        for number in range(CODES):
            if number == found[gene]:
                continue
            tried = rest + _distances(places[:, gene], n, number)
            likelihood = _log_likelihood(tried, scores)
            if likelihood > best + _MARGIN:
                best, total, found[gene] = likelihood, tried, number
    return found


def _distances(alleles: npt.NDArray[np.int64], n_choices: int, number: int) -> Floats:
    """Squared distances (n, n) of rows by one gene; allele `n_choices` stands for being off."""
    if number:
        table = _table(n_choices, number)
        return np.asarray(table[alleles[:, None], alleles])
    is_off = alleles == n_choices
    differ = alleles[:, None] != alleles
    return np.asarray(np.where(is_off[:, None] | is_off, 1.0, 2.0) * differ)


@cache
def _table(n_choices: int, number: int) -> Floats:
    """Squared distances of the codes of a gene's alleles and of being off, (n + 1, n + 1)."""
    rows = np.vstack([code(n_choices, number), np.zeros(n_choices)])
    products = rows @ rows.T
    norms = np.diag(products)
    return np.asarray(norms[:, None] + norms - 2 * products)


def _log_likelihood(distances: Floats, scores: Floats) -> float:
    """Of normal scores under an RBF kernel of these squared distances, scaled by their median as
    `clso.surrogates.gaussian_process` does it, the variance at its best."""
    n = len(scores)
    median = float(np.median(distances))
    kernel = np.exp(distances * (-1 / median if median > 0 else -1.0))
    kernel[np.diag_indices_from(kernel)] = 1 + _NOISE
    try:
        factor = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:  # rounding: as unlikely as can be
        return -math.inf
    white = solve_triangular(factor, scores, lower=True, check_finite=False)
    variance = max(float(white @ white) / n, 1e-12)
    return -0.5 * n * math.log(variance) - float(np.log(np.diag(factor)).sum())


def _normal_scores(values: Floats) -> Floats:
    """Normal quantiles of the values' ranks; equal ones share their mean rank."""
    ordered = np.sort(values)
    ranks = ordered.searchsorted(values) + ordered.searchsorted(values, side="right")
    scores: Floats = ndtri(ranks / (2 * len(values)))
    return scores
