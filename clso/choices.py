"""A search space of plain Python values, for library use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clso.errors import ConfigError
from clso.evaluation.results import Evaluation
from clso.space import Gene, Genome, SearchSpace

__all__ = ["Choices"]


class Choices(SearchSpace):
    """Choices among any values, by name; or bare genes, given by their numbers of alleles.

    >>> Choices({"depth": range(1, 5), "act": ["relu", "tanh"]}).decode((2, 0))
    {'depth': 3, 'act': 'relu'}
    >>> Choices([2, 2, 3]).decode((1, 0, 2))
    (1, 0, 2)
    """

    name = "choices"

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]] | Sequence[int],
        function: Callable[[Any], float] | None = None,
        seeds: Sequence[Genome] = (),
    ) -> None:
        """`function` takes what `decode` returns; `objective` measures it, lower is better.

        Raises:
            ConfigError: no gene, a gene without choices, or neither names with values nor numbers.
        """
        self._named = isinstance(choices, Mapping)
        try:
            named = choices if isinstance(choices, Mapping) else {f"g{i}": range(n) for i, n in enumerate(choices)}
            self._values = [tuple(values) for values in named.values()]
        except TypeError as error:
            raise ConfigError("choices are name -> values, or numbers of alleles", got=choices) from error
        if not self._values or not all(self._values):
            raise ConfigError("a space has at least one gene, each with at least one choice", got=choices)
        self._genes = tuple(Gene(str(k), tuple(map(str, v))) for k, v in zip(named, self._values, strict=True))
        self._function, self._seeds = function, list(seeds)

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def seeds(self) -> list[Genome]:
        return self._seeds

    def decode(self, genome: Genome) -> dict[str, Any] | Genome:
        """Name -> value for named choices; the genome itself for bare genes."""
        genome = self.validate(genome)
        if not self._named:
            return genome
        return {g.name: v[a] for g, v, a in zip(self._genes, self._values, genome, strict=True)}

    def objective(self) -> _FunctionObjective:
        if self._function is None:
            raise ConfigError("a space without a function only proposes", got=self.name, remedy="Give it a function.")
        return _FunctionObjective(self, self._function)


class _FunctionObjective:
    """One call a genome, on the decoded choices. What the function raises is the caller's to see."""

    fidelities: tuple[int, ...] = (1,)

    def __init__(self, space: Choices, function: Callable[[Any], float]) -> None:
        self._space, self._function = space, function

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        return [Evaluation(g, fidelity, (float(self._function(self._space.decode(g))),)) for g in genomes]
