"""The library: for each slot shape, `size` crystals that evolution chooses among."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clso.crystals.base import Crystal
from clso.crystals.params import Params, ParamValue, check_shape, require, resolve_params
from clso.crystals.registry import family_class, load_families, make_crystal

__all__ = ["CrystalLibrary", "Recipe", "default_recipe", "recipes_of"]

Recipe = tuple[str, dict[str, ParamValue]]

# Fixed here, not derived from the registry: registering a family must not change the crystals of
# recorded runs.
_SEEDED: tuple[tuple[str, tuple[dict[str, ParamValue], ...]], ...] = (
    ("block_diagonal", tuple({"blocks": n} for n in (4, 2, 8, 3, 6))),
    ("low_rank", tuple({"rank": r} for r in (8, 32, 2, 16, 64, 4))),
    ("quantised", tuple({"bits": b} for b in (4, 1, 8, 2))),
    ("sparse_random", tuple({"density": p} for p in (0.5, 0.2, 0.8))),
    ("sparse_rows", tuple({"density": p} for p in (0.5, 0.2, 0.8))),
    ("sparse_columns", tuple({"density": p} for p in (0.5, 0.2, 0.8))),
    ("checkerboard", tuple({"cell": n} for n in (1, 4, 2, 16, 8))),
    ("monarch", tuple({"blocks": n} for n in (0, 8, 4))),
    ("kronecker", tuple({"coarse": n} for n in (0, 4, 16, 2))),
    ("toeplitz", ({},)),
    ("circulant", ({},)),
    ("permutation", ({},)),
)
# One of each is enough: they have no seed.
_SINGLE = ("identity", "zero")

_MAX_SIZE = 1 << 20


def default_recipe(index: int) -> Recipe:
    """(family, params) of crystal `index`: families in turn, and within each its parameters in
    turn.

    Indices 0-11 are the seeded families, 12 identity, 13 zero; from 14 on the seeded families go
    round again. Any prefix is balanced, and 14 crystals hold every family."""
    n_families = len(_SEEDED)
    if n_families <= index < n_families + len(_SINGLE):
        return _SINGLE[index - n_families], {}
    turn = index if index < n_families else index - len(_SINGLE)
    family, variants = _SEEDED[turn % n_families]
    return family, dict(variants[(turn // n_families) % len(variants)])


def recipes_of(names: str) -> list[Recipe] | None:
    """Recipes of the families in a comma-separated list (`clso.crystals.registry.load_families`),
    in turn, and within each its parameters in turn; None, for the default ones, of an empty list.

    Raises what `load_families` raises, and `ConfigError` for parameters that a family has not."""
    families = load_families(names)
    if not families:
        return None
    known: dict[str, tuple[Params, ...]] = dict(_SEEDED)
    turns = [known.get(family.family, family.variants) for family in families]
    for family, variants in zip(families, turns, strict=True):
        for params in variants:
            resolve_params(family.family, {"gain": 1.0, **family.defaults}, params)
    return [
        (family.family, dict(variants[turn % len(variants)]))
        for turn in range(math.lcm(*map(len, turns)))
        for family, variants in zip(families, turns, strict=True)
    ]


class CrystalLibrary:
    """`size` crystals per shape, built when asked for; (seed, shape, index) names one crystal
    anywhere.

    Pickling sends the settings, not the caches. Tensors handed out are shared: do not write to
    them."""

    def __init__(
        self,
        size: int = 64,
        seed: int = 0,
        *,
        recipes: Sequence[Recipe] | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        """`recipes`: (family, params) pairs to go round instead of the default ones.

        `cache_bytes` bounds what `dense` keeps.

        Raises:
            ConfigError: a size outside 1 ... 2^20, a negative seed or cache, empty recipes, an
            unknown family.
        """
        self.size, self.seed, self.cache_bytes = int(size), int(seed), int(cache_bytes)
        require(
            1 <= self.size <= _MAX_SIZE,
            "a library holds 1 to 2^20 crystals",
            got=size,
            remedy="Give 64.",
        )
        require(self.seed >= 0, "a library's seed is at least 0", got=seed, remedy="Give 0.")
        require(
            self.cache_bytes >= 0,
            "a cache has at least 0 bytes",
            got=cache_bytes,
            remedy="Give 2**30.",
        )
        require(
            recipes is None or len(recipes) > 0,
            "a library has at least one recipe",
            got=recipes,
            remedy="Give (family, params) pairs, or None for the default ones.",
        )
        self.recipes = (
            None if recipes is None else tuple((family, dict(p)) for family, p in recipes)
        )
        for family, _ in self.recipes or ():
            family_class(family)
        self._crystals: WeakValueDictionary[tuple[tuple[int, int], int], Crystal] = (
            WeakValueDictionary()
        )
        self._banks: dict[tuple[tuple[int, int], str, torch.dtype], Tensor] = {}
        self._dense: OrderedDict[tuple[tuple[int, int], int, str, torch.dtype], Tensor] = (
            OrderedDict()
        )
        self._dense_bytes = 0
        self._descriptors: dict[tuple[int, int], NDArray[np.float32]] = {}

    def recipe(self, index: int) -> Recipe:
        """(family, params) of crystal `index`, the same for every shape.

        Raises:
            ConfigError: index outside [0, size).
        """
        require(
            0 <= index < self.size,
            f"a crystal's index is in [0, {self.size})",
            got=index,
            remedy="Ask for a larger library or a smaller index.",
        )
        if self.recipes is None:
            return default_recipe(index)
        family, params = self.recipes[index % len(self.recipes)]
        return family, dict(params)

    def crystal(self, shape: tuple[int, int], index: int) -> Crystal:
        """Crystal `index` of `shape` (d_out, d_in); one object for as long as somebody holds it."""
        key = check_shape(shape), int(index)
        crystal = self._crystals.get(key)
        if crystal is None:
            family, params = self.recipe(key[1])
            crystal = make_crystal(family, key[0], self.seed * _MAX_SIZE + key[1], params)
            self._crystals[key] = crystal
        return crystal

    def bank(
        self,
        shape: tuple[int, int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """All crystals of `shape`, dense: (size, d_out, d_in). Cached per device and dtype until
        `clear`."""
        key = check_shape(shape), _device_name(device), dtype
        if key not in self._banks:
            bank = torch.empty((self.size, *key[0]), dtype=dtype, device=device)
            for index in range(self.size):
                bank[index] = self.crystal(key[0], index).to_dense(dtype)
            self._banks[key] = bank
        return self._banks[key]

    def dense(
        self,
        shape: tuple[int, int],
        index: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """One crystal, dense: (d_out, d_in). Kept in a least-recently-used cache of at most
        `cache_bytes`."""
        key = check_shape(shape), int(index), _device_name(device), dtype
        bank = self._banks.get((key[0], key[2], dtype))
        if bank is not None and 0 <= key[1] < self.size:
            return bank[key[1]]
        if key in self._dense:
            self._dense.move_to_end(key)
            return self._dense[key]
        matrix = self.crystal(key[0], key[1]).to_dense(dtype, device)
        n_bytes = matrix.numel() * matrix.element_size()
        if n_bytes <= self.cache_bytes:
            self._dense[key] = matrix
            self._dense_bytes += n_bytes
        while self._dense_bytes > self.cache_bytes:
            _, oldest = self._dense.popitem(last=False)
            self._dense_bytes -= oldest.numel() * oldest.element_size()
        return matrix

    @property
    def cached_bytes(self) -> int:
        """Bytes that `dense` keeps now; banks not counted."""
        return self._dense_bytes

    def descriptors(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """(size, len(DESCRIPTOR_NAMES)), from the structure: no default family builds a dense
        matrix."""
        key = check_shape(shape)
        if key not in self._descriptors:
            self._descriptors[key] = np.stack(
                [self.crystal(key, index).descriptor() for index in range(self.size)]
            )
        return self._descriptors[key].copy()

    def clear(self) -> None:
        """Drop every cached tensor."""
        self._banks.clear()
        self._dense.clear()
        self._dense_bytes = 0

    def __len__(self) -> int:
        return self.size

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.size, self.seed, self.recipes, self.cache_bytes)


def _rebuild(
    size: int, seed: int, recipes: Sequence[Recipe] | None, cache_bytes: int
) -> CrystalLibrary:
    return CrystalLibrary(size, seed, recipes=recipes, cache_bytes=cache_bytes)


def _device_name(device: torch.device | str) -> str:
    """ "cuda" and "cuda:0" as one name."""
    return str(torch.empty(0, device=device).device)
