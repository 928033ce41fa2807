"""Every family with the parameters it is tested at: a new family is added here, and is then
tested."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from clso.crystals import Crystal, cut, make_crystal
from clso.crystals.params import ParamValue


@dataclass(frozen=True)
class Entry:
    family: str
    params: dict[str, ParamValue] = field(default_factory=dict)
    # False where the scale rule does not hold: entries of exactly `gain`, or none.
    unit_energy: bool = True

    def make(self, shape: tuple[int, int], seed: int = 0) -> Crystal:
        return make_crystal(self.family, shape, seed, self.params)

    def __str__(self) -> str:
        return "-".join([self.family, *(f"{k}{v}" for k, v in self.params.items())])


@dataclass(frozen=True)
class CutEntry(Entry):
    """A family that is made from a given matrix: here, a random one."""

    rank: int = 1

    def make(self, shape: tuple[int, int], seed: int = 0) -> Crystal:
        matrix = random_input(*shape, seed=seed, dtype=torch.float32)
        return cut(matrix, min(self.rank, *shape))

    def __str__(self) -> str:
        return f"{self.family}-rank{self.rank}"


def random_input(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


CATALOGUE: list[Entry] = [
    *(Entry("block_diagonal", {"blocks": n}) for n in (1, 2, 3, 8)),
    *(Entry("low_rank", {"rank": r}) for r in (1, 8, 64)),
    Entry("low_rank", {"rank": 4, "density": 0.1}),
    *(Entry("sparse_rows", {"density": p}) for p in (0.2, 0.5, 0.8)),
    *(Entry("sparse_columns", {"density": p}) for p in (0.2, 0.5, 0.8)),
    *(Entry("sparse_random", {"density": p}) for p in (0.2, 0.5, 0.8, 1.0)),
    *(Entry("checkerboard", {"cell": n}) for n in (1, 4)),
    *(Entry("quantised", {"bits": b}) for b in (1, 2, 4, 8)),
    *(Entry("monarch", {"blocks": n}) for n in (0, 4)),
    *(Entry("kronecker", {"coarse": n}) for n in (0, 2)),
    Entry("toeplitz"),
    Entry("circulant"),
    Entry("block_diagonal", {"blocks": 4, "gain": 0.25}),
    Entry("permutation", unit_energy=False),
    Entry("permutation", {"gain": 3.0}, unit_energy=False),
    Entry("identity", unit_energy=False),
    Entry("zero", unit_energy=False),
    *(CutEntry("svd", rank=r, unit_energy=False) for r in (1, 8, 1000)),
]

# Square, rectangular both ways, odd, prime, single row, single column, single entry.
SHAPES = [(128, 128), (96, 40), (24, 64), (7, 13), (13, 7), (1, 9), (9, 1), (1, 1)]
