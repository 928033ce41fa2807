"""A search space of plain Python values, for library use."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clso.conversion import as_float, as_index, in_order
from clso.errors import ConfigError
from clso.space import Gene, Genome, SearchSpace
from clso.space.conditions import Conditions
from clso.space.nested import Entry, flattened, is_scale
from clso.space.results import Evaluation

__all__ = ["Choices", "Named"]


Named = Mapping[Any, Sequence[Any] | Mapping[Any, Any]]
"""Name -> values to choose from, or options, each with choices of its own."""


class Choices(SearchSpace):
    """Choices among any values, by name; or bare genes, given by their numbers of alleles.

    >>> Choices({"depth": range(1, 5), "act": ["relu", "tanh"]}).decode((2, 0))
    {'depth': 3, 'act': 'relu'}
    >>> Choices([2, 2, 3]).decode((1, 0, 2))
    (1, 0, 2)

    Options that have choices of their own are a dict of such dicts. What belongs to an option that
    is not taken is not there:

    >>> from clso import Float
    >>> kernel = {"poly": {"degree": [2, 3]}, "rbf": {"gamma": Float(1e-3, 1, log=True, steps=4)}}
    >>> space = Choices({"kernel": {**kernel, "linear": {}}, "c": [1, 10]})
    >>> space.decode((0, 1, 0, 1)), space.decode((2, 1, 0, 1))
    ({'kernel': 'poly', 'degree': 3, 'c': 10}, {'kernel': 'linear', 'c': 10})

    A name that several options have with the same values is one gene; with other values, one each.
    Numbers in rising or falling order are an ordered gene (`Gene.ordered`), a range is given as
    `Float` or `Int` (`clso.space.scales`). Names may be any keys of a dict. A choice that is
    compared by value (a list, an array) is given out as a copy: what a function does to it is seen
    by no other call."""

    name = "choices"

    def __init__(
        self,
        choices: Named | Sequence[int],
        function: Callable[[Any], float] | None = None,
        seeds: Sequence[Genome] = (),
    ) -> None:
        """`function` takes what `decode` returns; `objective` measures it, lower is better.

        Warns:
            SearchWarning: a tuple of two floats, which is two choices and no range.

        Raises:
            ConfigError: no gene, a gene without choices or with equal ones, choices without an
                order of their own (a set), options that are no dicts, a name that has two values
                at a time, or neither names with values nor numbers.
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
        entries = flattened(named)
        self._names = tuple(entry.name for entry in entries)
        self._values = [entry.values for entry in entries]
        if not self._values or not all(self._values):
            raise ConfigError(
                "a space has at least one gene, each with at least one choice", got=choices
            )
        labels = _distinct_labels(entries)
        self._genes = tuple(
            Gene(
                label,
                tuple(map(_label, entry.values)),
                when=_condition(entry, entries, labels),
                ordered=is_scale(entry.values),
            )
            for label, entry in zip(labels, entries, strict=True)
        )
        self._conditions = Conditions(self._genes)
        self._is_shared = [all(map(_can_be_shared, values)) for values in self._values]
        self._function, self._seeds = function, list(seeds)

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def seeds(self) -> list[Genome]:
        return self._seeds

    def decode(self, genome: Genome) -> dict[Any, Any] | Genome:
        """Name -> value for named choices, without those that belong to an option not taken; the
        genome itself for bare genes."""
        genome = self.validate(genome)
        if not self._named:
            return genome
        off = self._conditions.inactive(genome)
        return {
            self._names[i]: values[allele] if is_shared else _copied(values[allele])
            for i, (values, is_shared, allele) in enumerate(
                zip(self._values, self._is_shared, genome, strict=True)
            )
            if i not in off
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


def _distinct_labels(entries: Sequence[Entry]) -> list[str]:
    """A name for each gene. The choices that one name has in several options say in which."""
    labels = [str(entry.name) for entry in entries]
    plain = {str(name): name for name in (entry.name for entry in entries)}
    if any(plain[label] != entry.name for label, entry in zip(labels, entries, strict=True)):
        labels = [repr(entry.name) for entry in entries]  # 1 and "1"
    counts = Counter(labels)
    return [
        f"{label} ({_options(entry, entries)})" if counts[label] > 1 else label
        for label, entry in zip(labels, entries, strict=True)
    ]


def _options(entry: Entry, entries: Sequence[Entry]) -> str:
    """The options that have it, in words, with those that have these."""
    if entry.selector is None:
        return ""
    selector = entries[entry.selector]
    taken = " or ".join(_label(selector.values[i]) for i in sorted(entry.options))
    above = _options(selector, entries)
    return f"{above}, {selector.name}={taken}" if above else f"{selector.name}={taken}"


def _condition(
    entry: Entry, entries: Sequence[Entry], labels: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The options that have it, as `Gene.when`."""
    if entry.selector is None:
        return ()
    values = entries[entry.selector].values
    taken = tuple(_label(values[i]) for i in sorted(entry.options))
    return ((labels[entry.selector], taken),)


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
