"""Settings of a proof: the table `[prove]` of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clso.config import checked, read_toml, settings
from clso.errors import ConfigError

__all__ = ["MIXED", "Grid", "ProveConfig"]

MIXED = "AdamW and memory"
"""What the arms of AdamW with memory mixed in are called, before their plan."""

_GRID = ("rates", "schedules", "steps_grid")
_LATER = ("variants", "refinements", "front_points", "memory_points")
"""Left out of a file as long as they are the defaults: proofs from before there were any go on."""


@dataclass(frozen=True)
class Grid:
    """What the sweep tries with one variant of AdamW: every rate, schedule and length."""

    variant: dict[str, Any]
    rates: tuple[float, ...]
    schedules: tuple[str, ...]
    steps_grid: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("rates", "steps_grid"):
            require_rising(name, getattr(self, name))
        if not self.schedules or not set(self.schedules) <= {"constant", "cosine"}:
            raise ConfigError("schedules are constant, cosine or both", got=list(self.schedules))


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
    tried with each, or those of its own that it gives as `rates`, `schedules` and `steps_grid`."""
    refinements: tuple[dict[str, Any], ...] = ({},)
    """Tables of settings that the strongest so far is tried with, one table after another, at its
    rate and at a higher one: what makes it stronger stays. An empty table tries nothing."""
    score_every: int = 50
    """Steps between two scorings of the sweep, which find where to stop."""
    reference_lr: float = 5e-4
    reference_steps: int = 500
    curve_window_s: float = 2.0
    """Least length of a window of the joules-to-target curves."""
    curve_steps: tuple[int, ...] = (100, 250, 500, 750, 1000, 1500, 2000)
    curve_gens: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    front_points: int = 0
    """How many of the sweep's trainings that no other beats in cost and loss are points of the
    curve as well, and the cheapest one that is as good as CLSO."""
    memory_points: int = 0
    """How many of them are also measured with counted memory mixed in (0: none, and no memory
    without a GPT-2 either)."""
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
        for name in ("front_points", "memory_points"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is at least 0", got=getattr(self, name))
        for name in ("rates", "steps_grid", "curve_steps", "curve_gens"):
            require_rising(name, getattr(self, name))
        if not self.variants or any(v in self.variants[:i] for i, v in enumerate(self.variants)):
            raise ConfigError(
                "variants are distinct, and the empty one is AdamW as it comes",
                got=list(self.variants),
            )
        self.grids  # noqa: B018 - checks them

    @property
    def grids(self) -> list[Grid]:
        """What is tried of each variant."""
        own = {name: getattr(self, name) for name in _GRID}
        return [
            Grid(
                {k: v for k, v in table.items() if k not in _GRID},
                **{name: _tuple(name, table.get(name, own[name])) for name in _GRID},
            )
            for table in self.variants
        ]

    @property
    def max_steps(self) -> int:
        """The most steps that any plan has."""
        return max(self.reference_steps, *(grid.steps_grid[-1] for grid in self.grids))

    @property
    def deviations(self) -> list[str]:
        """In what these settings ask for less than the protocol; empty: nowhere."""
        found = []
        if self.window_s < 60:
            found.append(f"windows of {self.window_s:g} s, but the protocol asks for at least 60 s")
        if self.seeds < 8:
            found.append(f"{self.seeds} paired seeds, but the protocol asks for at least 8")
        rates = {rate for grid in self.grids for rate in grid.rates}
        lengths = {steps for grid in self.grids for steps in grid.steps_grid}
        if len(rates) < 5 or min(rates) > 3e-4 or max(rates) < 1e-2:
            found.append(
                "the sweep does not cover learning rates from 3e-4 to 1e-2 with at least five"
            )
        if {s for grid in self.grids for s in grid.schedules} != {"constant", "cosine"}:
            found.append("the sweep has not both schedules, constant and cosine")
        if min(lengths) > 250 or max(lengths) < 2000:
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
            variants=tuple(
                {k: v[:1] if k in ("rates", "steps_grid") else v for k, v in table.items()}
                for table in self.variants[:2]
            ),
            refinements=self.refinements[:1],
            front_points=min(self.front_points, 2),
            memory_points=min(self.memory_points, 1),
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
        for name in _LATER:
            if getattr(self, name) == getattr(ProveConfig, name):
                del values[name]
        return values

    @classmethod
    def from_toml(cls, path: Path) -> ProveConfig:
        """The table `[prove]` of a recipe; defaults if it has none. Raises `ConfigError`."""
        table = read_toml(path).get("prove", {})
        if not isinstance(table, dict):
            raise ConfigError("prove is a table", got=table)
        return cls(**table)


def require_rising(name: str, values: Sequence[float]) -> None:
    """Raises `ConfigError` unless the values are positive and rising."""
    if not values or min(values) <= 0 or list(values) != sorted(set(values)):
        raise ConfigError(f"{name} are positive and rising", got=list(values))


def _tuple(name: str, values: Any) -> tuple[Any, ...]:
    """A variant's own values, of the type that the setting of this name has."""
    found: tuple[Any, ...] = checked(ProveConfig, {name: values})[name]
    return found
