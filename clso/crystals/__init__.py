"""Crystals: structured matrices with one contract, families by name, and the library to pick
from."""

from __future__ import annotations

from clso.crystals.base import Crystal
from clso.crystals.block_diagonal import BlockDiagonal
from clso.crystals.descriptor import DESCRIPTOR_NAMES
from clso.crystals.kronecker import Kronecker
from clso.crystals.library import CrystalLibrary
from clso.crystals.low_rank import LowRank
from clso.crystals.monarch import Monarch
from clso.crystals.quantised import Quantised
from clso.crystals.registry import FAMILIES, make_crystal, register_family
from clso.crystals.selection import Identity, Permutation, Zero
from clso.crystals.sparse import Checkerboard, SparseColumns, SparseRandom, SparseRows
from clso.crystals.svd import Svd, cut, cuts
from clso.crystals.toeplitz import Circulant, Toeplitz

__all__ = [
    "DESCRIPTOR_NAMES",
    "FAMILIES",
    "BlockDiagonal",
    "Checkerboard",
    "Circulant",
    "Crystal",
    "CrystalLibrary",
    "Identity",
    "Kronecker",
    "LowRank",
    "Monarch",
    "Permutation",
    "Quantised",
    "SparseColumns",
    "SparseRandom",
    "SparseRows",
    "Svd",
    "Toeplitz",
    "Zero",
    "cut",
    "cuts",
    "make_crystal",
    "register_family",
]
