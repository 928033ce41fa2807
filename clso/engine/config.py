"""Settings of the evolutionary engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clso.conversion import as_float, as_index
from clso.errors import ConfigError

__all__ = ["EngineConfig"]


@dataclass(frozen=True)
class EngineConfig:
    """Settings of the search. Probabilities are per pair (crossover) and per gene (mutation)."""

    pop_size: int = 32
    tournament: int = 5
    elitism: float = 0.1
    crossover: float = 0.8
    mutation: float | None = None
    """None: one over the number of genes that have a choice."""
    local_search: float = 0.8
    """Share of the children that are made from the best genome alone, by changing one gene or, more
    rarely, more."""
    restart_after: float = 3.0
    """Evaluations without one at least as good as the population's best, over the number of
    one-gene neighbours of a genome, until the search begins again elsewhere; 0: never. As many
    again come first as were bred before the best was known, by large generations or many workers.
    The best genome and the cache are kept."""
    revisit: bool = False
    """What becomes of a child that was measured before. False: it is varied until it is new. True:
    it competes again with the value it had, unmeasured, as the theory of evolutionary algorithms
    has it; `n_cached` counts such children."""

    def __post_init__(self) -> None:
        for name in ("pop_size", "tournament"):
            object.__setattr__(self, name, as_index(getattr(self, name), name, least=1))
        if not 0.0 <= as_float(self.restart_after, "restart_after") < math.inf:
            raise ConfigError("restart_after is a number, at least 0", got=self.restart_after)
        for name in ("elitism", "crossover", "mutation", "local_search"):
            share = getattr(self, name)
            if share is not None and not 0.0 <= as_float(share, name) <= 1.0:
                raise ConfigError(f"{name} is a share from 0 to 1", got=share)

    @classmethod
    def one_plus_one(cls) -> EngineConfig:
        """The (1+1) evolutionary algorithm with standard bit mutation: ask for one child at a time.

        Its evaluations in theory are `n_evaluated + n_cached`.
        """
        return cls(
            pop_size=1,
            tournament=1,
            elitism=1.0,
            crossover=0.0,
            local_search=0.0,
            restart_after=0.0,
            revisit=True,
        )
