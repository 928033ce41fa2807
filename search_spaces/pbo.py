"""`pbo`: the 25 pseudo-Boolean functions of IOHprofiler (Doerr et al. 2020,
doi:10.1016/j.asoc.2019.106027).

The package `ioh` defines and evaluates them. They are maximised there, so the value here is the
negated one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, MissingDependencyError, did_you_mean
from clso.space import Gene, Genome, SearchSpace
from clso.space.functions import FunctionObjective
from clso.space.options import make_options

if TYPE_CHECKING:
    from clso.space.context import SpaceContext

__all__ = ["FUNCTIONS", "PBO"]

FUNCTIONS = (
    *("OneMax", "LeadingOnes", "Linear"),
    *("OneMaxDummy1", "OneMaxDummy2", "OneMaxNeutrality", "OneMaxEpistasis"),
    *("OneMaxRuggedness1", "OneMaxRuggedness2", "OneMaxRuggedness3"),
    *("LeadingOnesDummy1", "LeadingOnesDummy2", "LeadingOnesNeutrality", "LeadingOnesEpistasis"),
    *("LeadingOnesRuggedness1", "LeadingOnesRuggedness2", "LeadingOnesRuggedness3"),
    *(
        "LABS",
        "IsingRing",
        "IsingTorus",
        "IsingTriangular",
        "MIS",
        "NQueens",
        "ConcatenatedTrap",
        "NKLandscapes",
    ),
)
"""By number, from 1 on."""


class PBO(SearchSpace):
    """Bit strings, and one function of them."""

    name = "pbo"

    @dataclass(frozen=True)
    class Options:
        function: str = "OneMax"
        """Name or number, 1 to 25."""
        dimension: int = 100
        """Bits. The functions on grids need a square."""
        instance: int = 1
        """1: the function itself; 2 to 100: bits flipped or permuted, values scaled and shifted."""

        def __post_init__(self) -> None:
            if self.function not in FUNCTIONS and self.function not in map(
                str, range(1, len(FUNCTIONS) + 1)
            ):
                raise ConfigError(
                    "unknown function of space pbo",
                    got=self.function,
                    remedy=did_you_mean(self.function, FUNCTIONS, f"Known: {_KNOWN}."),
                )
            if self.dimension < 1 or self.instance < 1:
                raise ConfigError(
                    "dimension and instance are at least 1", got=(self.dimension, self.instance)
                )

        @property
        def function_name(self) -> str:
            return FUNCTIONS[int(self.function) - 1] if self.function.isdecimal() else self.function

    def __init__(self, options: Options | None = None) -> None:
        """Raises `MissingDependencyError` without `ioh`, `ConfigError` if a function has no such
        dimension."""
        self.options = options or self.Options()
        self._problem = _open_problem(
            self.options.function_name, self.options.dimension, self.options.instance
        )

    @classmethod
    def from_context(cls, context: SpaceContext) -> PBO:
        return cls(make_options(cls.Options, context.options))

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        return tuple(Gene(f"x{i}", ("0", "1")) for i in range(self.options.dimension))

    def decode(self, genome: Genome) -> str:
        """The bits as text."""
        return "".join(map(str, self.validate(genome)))

    def objective(self) -> FunctionObjective:
        return FunctionObjective(self._values)

    def _values(self, genomes: Sequence[Genome]) -> npt.NDArray[np.float64]:
        return -np.asarray(self._problem(np.asarray(genomes, dtype=np.int64)), dtype=np.float64)

    @property
    def optimum(self) -> float | None:
        """Of instance 1. None for LABS and NKLandscapes, whose optimum is not known, and if `ioh`
        states a wrong one: ConcatenatedTrap with a remainder of its blocks of five, NQueens on
        boards of two or three rows."""
        name, n = self.options.function_name, self.options.dimension
        wrong = (name == "ConcatenatedTrap" and n % 5) or (name == "NQueens" and n in (4, 9))
        best = float(self._problem.optimum.y)
        return -best if self.options.instance == 1 and not wrong and math.isfinite(best) else None


_KNOWN = ", ".join(f"{i} {name}" for i, name in enumerate(FUNCTIONS, 1))


def _open_problem(name: str, dimension: int, instance: int) -> Any:
    try:
        import ioh
    except ImportError as error:
        raise MissingDependencyError(
            "space pbo needs ioh", remedy="Run: pip install 'clso[pbo]'"
        ) from error
    try:
        return ioh.get_problem(
            name, instance=instance, dimension=dimension, problem_class=ioh.ProblemClass.PBO
        )
    except ValueError as error:
        raise ConfigError(f"function {name} has dimension {dimension}", got=str(error)) from error
