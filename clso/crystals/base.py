"""The crystal contract: one structured matrix W (d_out, d_in), from a seed or from given tensors.

Scale. A random crystal W = gain * U has ||U||_F^2 = d_out exactly, so that E||Wx||^2 = gain^2
(d_out / d_in) ||x||^2 for an isotropic x: the mean square of an output equals that of an input, as
with entries of standard deviation 1 / sqrt(d_in). (GPT-2's constant 0.02 has no such law: it is
0.23 / sqrt(d_in) at d_in = 128.) Every family has the same energy, hence search compares
structures, not scales. Exceptions, documented there: identity and permutation have entries of
exactly `gain`; zero is zero. Embeddings (vocabulary, d) are the same class."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clso.crystals.descriptor import Traits, dense_traits, descriptor_vector, gaussian_block_traits
from clso.crystals.params import Params, ParamValue, check_shape, require, resolve_params
from clso.errors import ConfigError

__all__ = ["Arrays", "Crystal", "unit_energy"]

Arrays = dict[str, NDArray[Any]]
INDEX_DTYPES = (torch.int32, torch.int64)
_Self = TypeVar("_Self", bound="Crystal")


class Crystal(ABC):
    """A structured matrix W of shape (d_out, d_in).

    A family is a subclass with `build`, `apply`, `dense` and `token_flops`; `defaults`, `check`,
    `rank_bound`, `n_params` and `traits` are overridden if the family has parameters or closed
    forms. Tensors are built at first use, so constructing a crystal costs nothing; the same
    (family, shape, seed, params) gives the same bits in any process. Stored tensors of dtype int32
    or int64 are indices: they count in `n_bytes`, not in `n_params`."""

    family: ClassVar[str] = ""
    defaults: ClassVar[Params] = {}
    variants: ClassVar[tuple[Params, ...]] = ({},)
    """What a library that is asked for this family goes round; of the families that come with CLSO
    `clso.crystals.library` says it."""

    def __init__(
        self,
        shape: tuple[int, int],
        params: Params | None = None,
        *,
        seed: int | None = None,
        tensors: Mapping[str, Tensor] | None = None,
    ) -> None:
        """From `seed`, or from `tensors` named as `build` names them (a grown crystal).

        Raises:
            ConfigError: a bad shape, parameter or seed, or neither seed nor tensors given.
        """
        self.shape = check_shape(shape)
        self.params: dict[str, ParamValue] = resolve_params(
            self.family, {"gain": 1.0, **self.defaults}, params
        )
        require(
            self.gain > 0,
            "a crystal's gain is above 0",
            got=self.gain,
            remedy="1.0 is the default.",
        )
        self.check(self.shape, self.params)
        if tensors is None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ConfigError(
                "a crystal is built from an integer seed or from tensors",
                got=seed,
                remedy="Give seed=0.",
            )
        self.seed = None if seed is None else int(seed)
        self._tensors: dict[str, Tensor] | None = None if tensors is None else dict(tensors)

    # ---- what a family writes ----

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        """Raise `ConfigError` when the (typed) `params` break the family's rules."""
        return None

    def build(self, rng: np.random.Generator) -> Arrays:
        """The stored arrays by name, drawn from `rng` only; families that only come as tensors omit
        it."""
        raise ConfigError(
            f"crystal family {self.family!r} is made from tensors, not from a seed",
            got=self.seed,
            remedy=f"Give {type(self).__name__}(shape, tensors=...).",
        )

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """x (n, d_in), float32 or float64 -> x W^T (n, d_out), by the structure."""

    @abstractmethod
    def dense(self, dtype: torch.dtype) -> Tensor:
        """W (d_out, d_in) in `dtype` (float32 or float64), on the device of the tensors."""

    @abstractmethod
    def token_flops(self) -> int:
        """FLOPs of `apply` for one row of x, 2 per multiply-add; copies, sums and index look-ups
        count 0."""

    @property
    def rank_bound(self) -> int:
        """The largest rank that the structure allows."""
        return min(self.shape)

    @property
    def n_params(self) -> int:
        """Stored numbers, indices not counted."""
        return sum(t.numel() for t in self.tensors.values() if t.dtype not in INDEX_DTYPES)

    def traits(self) -> Traits:
        """Structural traits; measured on the dense form unless the family knows better."""
        return dense_traits(self.dense(torch.float32).cpu().numpy(), self.rank_bound)

    # ---- what every crystal does ----

    @property
    def d_out(self) -> int:
        return self.shape[0]

    @property
    def d_in(self) -> int:
        return self.shape[1]

    @property
    def gain(self) -> float:
        return float(self.params["gain"])

    @property
    def frobenius_target(self) -> float:
        """gain * sqrt(d_out): the Frobenius norm that the scale rule asks for."""
        return self.gain * math.sqrt(self.d_out)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors by name, built now if they were not yet."""
        if self._tensors is None:
            arrays = self.build(self._generator())
            self._tensors = {
                k: torch.from_numpy(np.asarray(a, order="C")) for k, a in arrays.items()
            }
        return self._tensors

    @property
    def n_bytes(self) -> int:
        """Bytes of the stored tensors, indices included."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def flops(self, n_tokens: int) -> int:
        """FLOPs (2 per multiply-add) of `matmul` on `n_tokens` rows; never above the dense
        product's."""
        return n_tokens * min(self.token_flops(), 2 * self.d_out * self.d_in)

    def matmul(self, x: Tensor) -> Tensor:
        """x (..., d_in) -> x W^T (..., d_out) in x's dtype and on x's device.

        Half precision is computed in float32 and rounded once. If the structure would cost more
        than a dense product (a rank near full, a prime dimension), the dense product is used.

        Raises:
            ValueError: x is not floating point or its last dimension is not d_in.
        """
        if not x.is_floating_point() or x.ndim == 0 or x.shape[-1] != self.d_in:
            raise ValueError(
                f"matmul needs floating x (..., {self.d_in}); got {x.dtype} {tuple(x.shape)}"
            )
        work = torch.float64 if x.dtype == torch.float64 else torch.float32
        rows = x.reshape(-1, self.d_in).to(work)
        if rows.shape[0] == 0:
            y = rows.new_zeros(0, self.d_out)
        elif self.token_flops() < 2 * self.d_out * self.d_in:
            y = self.apply(rows)
        else:
            y = rows @ self.dense(work).to(rows.device).T
        return y.to(x.dtype).reshape(*x.shape[:-1], self.d_out)

    def to_dense(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Tensor:
        """W (d_out, d_in) in `dtype` on `device`. Read-only: it may share memory with the
        crystal."""
        work = torch.float64 if dtype == torch.float64 else torch.float32
        return self.dense(work).to(device=device, dtype=dtype)

    def descriptor(self) -> NDArray[np.float32]:
        """Float32 vector of `len(DESCRIPTOR_NAMES)`, finite."""
        return descriptor_vector(self.traits(), self.shape, self.n_params, self.flops(1))

    def to(self: _Self, device: torch.device | str) -> _Self:
        """The same crystal with its tensors on `device`."""
        moved = copy.copy(self)
        moved._tensors = {name: t.to(device) for name, t in self.tensors.items()}
        return moved

    def __repr__(self) -> str:
        settings = "".join(
            f", {k}={v!r}" for k, v in self.params.items() if k != "gain" or v != 1.0
        )
        return f"{type(self).__name__}({self.d_out}x{self.d_in}, seed={self.seed}{settings})"

    # ---- helpers for families ----

    def values(self, name: str, like: Tensor | torch.dtype) -> Tensor:
        """Stored tensor `name` in the dtype (and, for a tensor, on the device) of `like`."""
        stored = self.tensors[name]
        return (
            stored.to(like) if isinstance(like, torch.dtype) else stored.to(like.device, like.dtype)
        )

    def array(self, name: str) -> NDArray[Any]:
        """Stored tensor `name` as a NumPy array."""
        return self.tensors[name].cpu().numpy()

    def gaussian_traits(self, blocks: list[tuple[int, int]], n_diagonal: float) -> Traits:
        """`gaussian_block_traits` of a seeded crystal; measured when the tensors were given."""
        if self.seed is None:
            return Crystal.traits(self)
        return gaussian_block_traits(self.shape, blocks, n_diagonal, self.frobenius_target)

    def _generator(self) -> np.random.Generator:
        # Philox keyed by a hash of the whole identity: independent streams, no process-dependent
        # hash().
        identity = json.dumps([self.family, self.shape, self.seed, self.params], sort_keys=True)
        key = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:16], "big")
        return np.random.Generator(np.random.Philox(key=key))


def unit_energy(values: NDArray[Any], frobenius: float) -> NDArray[np.float32]:
    """`values` rescaled, as float32, so that their root sum of squares is `frobenius`."""
    norm = math.sqrt(float(np.sum(np.square(values, dtype=np.float64))))
    return (values * np.float32(frobenius / norm)).astype(np.float32, copy=False)
