"""A genome and its genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clso.conversion import in_order

__all__ = ["Gene", "Genome"]


Genome = tuple[int, ...]


@dataclass(frozen=True)
class Gene:
    """One discrete choice. `choices` are the alleles' labels, in the order of their indices.

    `unless` names other genes with one of their labels each: if one of them has that label, this
    gene makes no difference. It is of a part that is switched off.

    >>> Gene("mlp.gain", ("0.5", "1"), unless=(("mlp", "off"),)).is_inactive({"mlp": "off"})
    True
    """

    name: str
    choices: tuple[str, ...]
    unless: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Labels become text, whatever they were. Raises `ConfigError` if their order is not
        their own."""
        if type(self.choices) is not tuple or not {str}.issuperset(map(type, self.choices)):
            labels = tuple(map(str, in_order(self.choices, f"the choices of gene {self.name!r}")))
            object.__setattr__(self, "choices", labels)

    def is_inactive(self, alleles: Mapping[str, str]) -> bool:
        """Whether it makes no difference in a genome with these labels by gene."""
        return any(alleles.get(name) == label for name, label in self.unless)

    def __len__(self) -> int:
        return len(self.choices)
