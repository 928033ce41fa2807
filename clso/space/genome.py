"""A genome and its genes."""

from __future__ import annotations

from dataclasses import dataclass

from clso.conversion import in_order

__all__ = ["Gene", "Genome"]


Genome = tuple[int, ...]


@dataclass(frozen=True)
class Gene:
    """One discrete choice. `choices` are the alleles' labels, in the order of their indices."""

    name: str
    choices: tuple[str, ...]

    def __post_init__(self) -> None:
        """Labels become text, whatever they were. Raises `ConfigError` if their order is not
        their own."""
        if type(self.choices) is not tuple or not {str}.issuperset(map(type, self.choices)):
            labels = tuple(map(str, in_order(self.choices, f"the choices of gene {self.name!r}")))
            object.__setattr__(self, "choices", labels)

    def __len__(self) -> int:
        return len(self.choices)
