"""Settings of a proof: the table `[prove]` of a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clso.config import read_toml, settings
from clso.errors import ConfigError

__all__ = ["ProveConfig"]


@settings
@dataclass(frozen=True)
class ProveConfig:
    """How much is measured, and against what. The defaults are the protocol."""

    seeds: int = 8
    """Paired seeds, from the run's own seed on."""
    window_s: float = 60.0
    """Least length of a window; whole cycles through the seeds are repeated until it has passed."""
    idle_s: float = 8.0
    """Length of each idle measurement, before and after."""
    settle_s: float = 2.0
    """Pause before an idle measurement."""
    self_test_s: float = 5.0
    """Length of the meter's self-test under load."""
    rates: tuple[float, ...] = (3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2)
    """AdamW's learning rates."""
    schedules: tuple[str, ...] = ("constant", "cosine")
    steps_grid: tuple[int, ...] = (250, 500, 1000, 2000)
    """Lengths of AdamW's schedules."""
    variants: tuple[dict[str, Any], ...] = ({},)
    """AdamW's other settings, each a table of those that differ from the baseline's own (batch,
    tied_head, warmup, betas, weight_decay, grad_clip, ...): every rate, schedule and length is
    tried with each."""
    score_every: int = 50
    """Steps between two scorings of the sweep, which find where to stop."""
    reference_lr: float = 5e-4
    reference_steps: int = 500
    curve_window_s: float = 2.0
    """Least length of a window of the joules-to-target curves."""
    curve_steps: tuple[int, ...] = (100, 250, 500, 750, 1000, 1500, 2000)
    curve_gens: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    control_seeds: int = 3
    """Seeds of the controls, at most `seeds`."""
    quick: bool = False
    """A version of minutes that tries the machinery out; its verdict says that it does not meet the
    protocol."""

    def __post_init__(self) -> None:
        for name in ("seeds", "score_every", "reference_steps", "control_seeds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1", got=getattr(self, name))
        for name in ("window_s", "idle_s", "self_test_s", "curve_window_s", "reference_lr"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is a positive number", got=getattr(self, name))
        if not 0 <= self.settle_s < float("inf"):
            raise ConfigError("settle_s is a number of seconds, at least 0", got=self.settle_s)
        for name in ("rates", "steps_grid", "curve_steps", "curve_gens"):
            values = getattr(self, name)
            if not values or min(values) <= 0 or list(values) != sorted(set(values)):
                raise ConfigError(f"{name} are positive and rising", got=list(values))
        if not self.variants or any(v in self.variants[:i] for i, v in enumerate(self.variants)):
            raise ConfigError(
                "variants are distinct, and the empty one is AdamW as it comes",
                got=list(self.variants),
            )
        if not self.schedules or not set(self.schedules) <= {"constant", "cosine"}:
            raise ConfigError("schedules are constant, cosine or both", got=list(self.schedules))

    @property
    def max_steps(self) -> int:
        """The most steps that any plan has."""
        return max(*self.steps_grid, self.reference_steps)

    @property
    def deviations(self) -> list[str]:
        """In what these settings ask for less than the protocol; empty: nowhere."""
        found = []
        if self.window_s < 60:
            found.append(f"windows of {self.window_s:g} s, but the protocol asks for at least 60 s")
        if self.seeds < 8:
            found.append(f"{self.seeds} paired seeds, but the protocol asks for at least 8")
        if len(self.rates) < 5 or min(self.rates) > 3e-4 or max(self.rates) < 1e-2:
            found.append(
                "the sweep does not cover learning rates from 3e-4 to 1e-2 with at least five"
            )
        if set(self.schedules) != {"constant", "cosine"}:
            found.append("the sweep has not both schedules, constant and cosine")
        if min(self.steps_grid) > 250 or max(self.steps_grid) < 2000:
            found.append("the sweep does not cover 250 to 2,000 steps")
        if (self.reference_lr, self.reference_steps) != (5e-4, 500):
            found.append("the reference is not AdamW at 5e-4 for 500 steps")
        return found

    def shortened(self) -> ProveConfig:
        """The quick version: every part is there, none long enough."""
        if self.quick:
            return self
        return replace(
            self,
            quick=True,
            seeds=min(self.seeds, 3),
            window_s=min(self.window_s, 2.0),
            idle_s=min(self.idle_s, 2.0),
            settle_s=min(self.settle_s, 0.5),
            self_test_s=min(self.self_test_s, 2.0),
            rates=tuple(r for r in self.rates if r in (5e-4, 1e-3, 3e-3)) or self.rates[:1],
            steps_grid=tuple(n for n in self.steps_grid if n in (500, 1000)) or self.steps_grid[:1],
            variants=self.variants[:2],
            curve_window_s=min(self.curve_window_s, 0.5),
            curve_steps=self.curve_steps[1:5:2] or self.curve_steps[:1],
            curve_gens=self.curve_gens[::3],
            control_seeds=1,
        )

    def with_options(self, **options: Any) -> ProveConfig:
        """A copy with the options that are not None. Raises `ConfigError` for a value of the wrong
        type."""
        return replace(self, **{k: v for k, v in options.items() if v is not None})

    def to_json(self) -> dict[str, Any]:
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if self.variants == ProveConfig.variants:
            del values["variants"]  # proofs from before there were any go on
        return values

    @classmethod
    def from_toml(cls, path: Path) -> ProveConfig:
        """The table `[prove]` of a recipe; defaults if it has none. Raises `ConfigError`."""
        table = read_toml(path).get("prove", {})
        if not isinstance(table, dict):
            raise ConfigError("prove is a table", got=table)
        return cls(**table)
