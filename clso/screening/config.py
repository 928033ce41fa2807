"""Settings of surrogate screening, each stated here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from clso.conversion import as_index
from clso.errors import ConfigError

__all__ = ["GENERATIONAL", "ScreeningConfig"]


@dataclass(frozen=True)
class ScreeningConfig:
    """How many candidates a surrogate chooses from, and when it is believed. The defaults are those
    of `Optimizer`; a run's are `GENERATIONAL`.

    Raises:
        ConfigError: a threshold outside [-1, 1], or a count below its minimum.
    """

    pool: int = 20
    """Candidates bred, once the surrogate is trusted, for each one that is measured."""
    batch: int = 8
    """Candidates that `Optimizer.ask` picks at a time, between two looks at the surrogate: audits
    are ranked within a batch."""
    min_observations: int = 16
    """True values that are known before anything is predicted."""
    trust_threshold: float = 0.2
    """The least rank correlation on audits of a surrogate that is believed."""
    audit_window: int = 64
    """The latest audits, which count."""
    min_audits: int = 8
    """Audits before a surrogate is judged."""
    failures: bool = True
    """Whether failures teach: what is likely to fail is left out, if predictions of that are
    ahead of the share of failures."""
    refit_every: int = 1
    """Screenings between two fits: a handful of new rows changes a ranking little."""

    def __post_init__(self) -> None:
        for name, least in (
            ("pool", 1),
            ("batch", 1),
            ("min_observations", 2),
            ("min_audits", 3),
            ("audit_window", 3),
            ("refit_every", 1),
        ):
            object.__setattr__(self, name, as_index(getattr(self, name), name, least=least))
        if not -1 <= self.trust_threshold <= 1:
            raise ConfigError("trust_threshold lies in [-1, 1]", got=self.trust_threshold)
        if self.audit_window < self.min_audits:
            raise ConfigError(
                "audit_window holds at least min_audits",
                got=(self.audit_window, self.min_audits),
            )

    @property
    def evaluate_share(self) -> float:
        """The share of the candidates that is measured, once the surrogate is trusted."""
        return 1 / self.pool


GENERATIONAL = ScreeningConfig(pool=5, refit_every=3)
"""Of a run, whose generations are larger and cheaper than an `Optimizer`'s batches."""
