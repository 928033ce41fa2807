"""What a user may set of `vsla`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clso.errors import ConfigError, did_you_mean
from clso.space.options import LibraryOptions

__all__ = ["KINDS", "VSLAOptions", "kinds_of"]

KINDS = ("full", "local", "sparse", "pyramid", "adaptive")
"""Kinds of attention patterns."""


def kinds_of(text: str) -> tuple[str, ...]:
    """The kinds that a comma-separated list allows, in the order of `KINDS`. Raises `ConfigError`."""
    wanted = [part.strip() for part in text.split(",")]
    for kind in wanted:
        if kind not in KINDS:
            raise ConfigError(
                f"patterns are some of {', '.join(KINDS)}",
                got=kind,
                remedy=did_you_mean(kind, KINDS),
            )
    return tuple(kind for kind in KINDS if kind in wanted)


@dataclass(frozen=True)
class VSLAOptions(LibraryOptions):
    """What a user may set of `vsla`."""

    objectives: ClassVar[tuple[str, ...]] = (
        "loss",
        "flops",
        "n_bytes",
        "n_params",
        "kv_bytes",
        "energy_j",
    )

    n_positions: int = 512
    """Tokens of context: the longest piece of a document that is measured."""
    patterns: str = ",".join(KINDS)
    """Attention patterns that heads pick from, comma-separated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds_of(self.patterns)
