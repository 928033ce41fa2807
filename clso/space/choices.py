"""A search space of plain Python values, for library use."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from clso.conversion import as_float, as_index, in_order
from clso.errors import ConfigError
from clso.space import Gene, Genome, SearchSpace
from clso.space.results import Evaluation

__all__ = ["Choices"]


class Choices(SearchSpace):
    """Choices among any values, by name; or bare genes, given by their numbers of alleles.

    >>> Choices({"depth": range(1, 5), "act": ["relu", "tanh"]}).decode((2, 0))
    {'depth': 3, 'act': 'relu'}
    >>> Choices([2, 2, 3]).decode((1, 0, 2))
    (1, 0, 2)

    Names may be any keys of a dict. A choice that is compared by value (a list, an array) is given
    out as a copy: what a function does to it is seen by no other call."""

    name = "choices"

    def __init__(
        self,
        choices: Mapping[Any, Sequence[Any]] | Sequence[int],
        function: Callable[[Any], float] | None = None,
        seeds: Sequence[Genome] = (),
    ) -> None:
        """`function` takes what `decode` returns; `objective` measures it, lower is better.

        Raises:
            ConfigError: no gene, a gene without choices or with equal ones, choices without an
                order of their own (a set), or neither names with values nor numbers.
        """
        self._named = isinstance(choices, Mapping)
        named: Mapping[Any, Any]
        if isinstance(choices, Mapping):
            named = choices
        else:
            what = "the number of choices of a gene"
            counts = [
                as_index(n, what, least=0) for n in in_order(choices, "the numbers of choices")
            ]
            named = {f"g{i}": range(n) for i, n in enumerate(counts)}
        self._names = tuple(named)
        self._values = [
            in_order(values, f"the choices of {name!r}") for name, values in named.items()
        ]
        if not self._values or not all(self._values):
            raise ConfigError(
                "a space has at least one gene, each with at least one choice", got=choices
            )
        for name, given, values in zip(named, named.values(), self._values, strict=True):
            if not isinstance(given, range):
                _require_distinct(values, name)
        labels = list(map(str, self._names))
        if len(set(labels)) < len(labels):  # 1 and "1"
            labels = list(map(repr, self._names))
        self._genes = tuple(
            Gene(label, tuple(map(_label, values)))
            for label, values in zip(labels, self._values, strict=True)
        )
        self._is_shared = [all(map(_can_be_shared, values)) for values in self._values]
        self._function, self._seeds = function, list(seeds)

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def seeds(self) -> list[Genome]:
        return self._seeds

    def decode(self, genome: Genome) -> dict[Any, Any] | Genome:
        """Name -> value for named choices; the genome itself for bare genes."""
        genome = self.validate(genome)
        if not self._named:
            return genome
        return {
            name: values[allele] if is_shared else _copied(values[allele])
            for name, values, is_shared, allele in zip(
                self._names, self._values, self._is_shared, genome, strict=True
            )
        }

    def objective(self) -> _FunctionObjective:
        if self._function is None:
            raise ConfigError(
                "a space without a function only proposes",
                got=self.name,
                remedy="Give it a function.",
            )
        return _FunctionObjective(self, self._function)


class _FunctionObjective:
    """One call a genome, on the decoded choices. What the function raises is the caller's to
    see."""

    fidelities: tuple[int, ...] = (1,)

    def __init__(self, space: Choices, function: Callable[[Any], float]) -> None:
        self._space, self._function = space, function

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        what = f"what {getattr(self._function, '__name__', 'the function')} returns"
        values = [as_float(self._function(self._space.decode(g)), what) for g in genomes]
        return [Evaluation(g, fidelity, (value,)) for g, value in zip(genomes, values, strict=True)]


def _require_distinct(values: Sequence[Any], name: Any) -> None:
    """Equal choices would be measured more than once. Those of different types, such as 1 and True,
    are not equal here."""
    seen = set()
    for value in values:
        key = _identity(value)
        if key in seen:
            raise ConfigError(
                f"the choices of {name!r} are distinct", got=value, remedy="Name each of them once."
            )
        seen.add(key)


def _identity(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        try:
            return pickle.dumps(value)
        except Exception:  # it can neither be hashed nor pickled: nothing is known of it
            return id(value)
    return type(value), value


def _label(value: Any) -> str:
    """The choice in words, the same in every process: no addresses, and sets in order."""
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(repr, value))) + "}"
    if _inherits(value, "__str__") and _inherits(value, "__repr__"):
        return type(value).__name__
    return str(getattr(value, "__qualname__", value))


def _can_be_shared(value: Any) -> bool:
    """Whether calls may be given the same object: it cannot change, or it is its own identity that
    counts."""
    if isinstance(value, (int, float, complex, str, bytes, type(None))):
        return True
    return _inherits(value, "__eq__")


def _inherits(value: Any, method: str) -> bool:
    """Whether the value's `method` is that of every object."""
    return getattr(type(value), method) is getattr(object, method)


def _copied(value: Any) -> Any:
    if _can_be_shared(value):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # what cannot be copied is shared
        return value
