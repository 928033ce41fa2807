"""A genome and its genes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clso.conversion import in_order
from clso.errors import ConfigError

__all__ = ["Gene", "Genome", "draw", "in_parts"]


Genome = tuple[int, ...]


def draw(sizes: Iterable[int], rng: random.Random) -> Genome:
    """A genome drawn uniformly, given the number of alleles of each gene, at least 1."""
    # As `randrange` draws, whose own checks take longer than the draw.
    bits, alleles = rng.getrandbits, []
    for n in sizes:
        k = n.bit_length()
        allele = bits(k)
        while allele >= n:
            allele = bits(k)
        alleles.append(allele)
    return tuple(alleles)


def in_parts(genomes: Sequence[Genome], size: int) -> list[Sequence[Genome]]:
    """`genomes` in their order, `size` at a time."""
    return [genomes[i : i + size] for i in range(0, len(genomes), size)]


@dataclass(frozen=True, init=False)
class Gene:
    """One discrete choice. `choices` are the alleles' labels, in the order of their indices.

    A gene can be conditional: it makes no difference to what a genome stands for, is *inactive*,
    unless other genes have certain alleles. Genomes that differ in inactive genes alone are one
    candidate, measured once. A gene whose other gene is inactive is inactive, too.

    Parameters
    ----------
    name
        Distinct within a space.
    choices
        The labels; they become text, whatever they were.
    unless
        Pairs of another gene's name and one of its labels, or a single pair: inactive if one of
        those genes has that label.
    when
        Pairs of another gene's name and one of its labels or a tuple of them, or a single pair:
        active only if each of those genes has such a label.
    ordered
        Whether the choices lie on a scale. A search tries whether near ones have near values, and
        follows that for as long as the measurements bear it out.
    saving
        Whether its first choice is as good as any at what is measured, and the others can only be
        cheaper, near ones about as much. A run that searches for a front of what is measured and known costs first leaves
        such genes at their first choice (`clso.search.held`).

    Raises
    ------
    ConfigError
        Choices without an order of their own (a set), or conditions of another form.

    Examples
    --------
    >>> Gene("mlp.gain", ("0.5", "1"), unless=(("mlp", "off"),)).is_inactive({"mlp": "off"})
    True
    >>> degree = Gene("degree", (2, 3), when=("kernel", ("poly", "spline")))
    >>> degree.when, degree.is_inactive({"kernel": "rbf"})
    ((('kernel', ('poly', 'spline')),), True)
    """

    name: str
    choices: tuple[str, ...]
    unless: tuple[tuple[str, str], ...] = ()
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ordered: bool = False
    saving: bool = False

    def __init__(
        self,
        name: str,
        choices: Iterable[object],
        unless: Sequence[Any] = (),
        when: Sequence[Any] = (),
        ordered: bool = False,
        saving: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "name", name)
        if type(choices) is not tuple or not {str}.issuperset(map(type, choices)):
            choices = tuple(map(str, in_order(choices, f"the choices of gene {name!r}")))
        put(self, "choices", choices)
        pairs = self._pairs(unless, "unless")
        put(self, "unless", tuple((other, label) for other, labels in pairs for label in labels))
        put(self, "when", self._pairs(when, "when"))
        put(self, "ordered", bool(ordered))
        put(self, "saving", bool(saving))

    def _pairs(self, given: Any, what: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Conditions of whatever form as (name, labels)."""
        if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
            found = tuple(given)
            if not found:
                return ()
            pairs = (found,) if isinstance(found[0], str) else found
            if all(
                isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)
                for pair in pairs
            ):
                return tuple((name, _labels(label)) for name, label in pairs)
        raise ConfigError(
            f"`{what}` of gene {self.name!r} is another gene's name with its label, or several such pairs",
            got=given,
            remedy=f'Write {what}=("other", "label").',
        )

    def is_inactive(self, alleles: Mapping[str, str]) -> bool:
        """Whether it makes no difference in a genome with these labels by gene, as far as its own
        conditions go."""
        return any(alleles.get(name) == label for name, label in self.unless) or any(
            alleles.get(name) not in labels for name, labels in self.when
        )

    def __len__(self) -> int:
        return len(self.choices)


def _labels(given: Any) -> tuple[str, ...]:
    """One label, or several of them."""
    several = isinstance(given, (tuple, list, range))
    return tuple(map(str, given)) if several else (str(given),)
