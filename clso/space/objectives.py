"""What a run minimises, by name, and what it keeps below limits.

    --objective loss,flops,energy_j --limit n_bytes=2e6

A space names what `evaluate` returns (`SearchSpace.measures`), and costs that it knows of a genome
without measuring it (`SearchSpace.costs`): they are exact, a limit on one is kept by every genome
that is ever evaluated. `energy_j` is measured for each candidate where it is evaluated, so a limit
on it can only be broken and regretted: such candidates survive behind all others, and never reach
the front."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from clso.energy.window import MIN_UPDATES
from clso.errors import ConfigError, EvaluationError
from clso.space import Genome, Measure, Objective, SearchSpace
from clso.space.checked import CheckedSpace
from clso.space.measures import turned
from clso.space.measuring import measure
from clso.space.options import require_offered
from clso.space.repeated import RepeatedObjective
from clso.space.results import Evaluation

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.energy import EnergyMeter

__all__ = ["ENERGY", "CompleteObjective", "Objectives"]

ENERGY = "energy_j"
_FIRST = "loss"  # what config files of before called the first measure of every space
_DRAWS = 256  # random genomes among which a cost that is an objective takes at least two values
_MIN_WINDOW_S = 0.01  # of energy measured for one candidate, however fine the source


@dataclass(frozen=True)
class Objectives:
    """`names` are searched for, the first one measured. `limits` are upper bounds by name. `meter` is for
    single candidates: the run's own has its window open while they are measured. Values that are
    noisy are measured again."""

    space: SearchSpace
    names: tuple[str, ...]
    limits: dict[str, float]
    meter: EnergyMeter | None = None
    is_noisy: bool = False

    @classmethod
    def of(
        cls, config: RunConfig, space: SearchSpace, meter: EnergyMeter | None = None
    ) -> Objectives:
        """Read and check what a config asks of a space. Raises `ConfigError`."""
        measured = [measure.name for measure in CheckedSpace(space).measures()]
        costs = (*space.cost_names, ENERGY)
        known = (*measured, *costs)
        wanted = config.objective or measured[:1]
        if _FIRST not in known:
            wanted = [measured[0] if name == _FIRST else name for name in wanted]
        names = [require_offered(name, known, "objective", space.name) for name in wanted]
        if names[0] not in measured:
            raise ConfigError(
                "the first objective is measured, and not known before",
                got=list(names),
                remedy=f"Use --objective {measured[0]},...",
            )
        if len(set(names)) < len(names):
            raise ConfigError("an objective is named once", got=list(names))
        if ENERGY in names and (meter is None or meter.reason is not None):
            reason = meter.reason if meter else "no meter"
            raise ConfigError(
                "objective energy_j needs an energy source",
                problem=f"no energy is measured ({reason})",
                remedy="Leave it out.",
            )
        limits: dict[str, float] = {}
        for text in config.limits:
            name, _, number = text.partition("=")
            name = require_offered(name, costs, "limit", space.name)
            value = _number(text, number)
            if name == ENERGY and ENERGY not in names:
                raise ConfigError(
                    "a limit on energy_j needs it measured",
                    remedy=f"Use --objective {names[0]},energy_j.",
                )
            if name in limits:
                raise ConfigError("a limit is named once", got=name)
            limits[name] = value
        return cls(space, tuple(names), limits, meter, config.noise)

    @property
    def is_multi_objective(self) -> bool:
        return len(self.names) > 1

    @property
    def only_first_is_measured(self) -> bool:
        """Whether all others are costs, known of a genome that was not measured."""
        return all(name in self.space.cost_names for name in self.names[1:])

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """What an evaluation's values are, in their order."""
        return self.checked.measures()

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each objective, "min" or "max"."""
        known = {measure.name: measure.direction for measure in self.measures}
        return tuple(known.get(name, "min") for name in self.names)

    @property
    def named(self) -> tuple[Measure, ...]:
        """The objectives, as an optimizer takes them."""
        return tuple(map(Measure, self.names, self.directions))  # type: ignore[arg-type]

    @property
    def unit(self) -> str:
        """Of the first objective; "" if it has none."""
        return next(m.unit for m in self.measures if m.name == self.names[0])

    @property
    def measure(self) -> dict[str, str]:
        """The first objective, for result.json."""
        return {"name": self.names[0], "direction": self.directions[0], "unit": self.unit}

    def shown(self, values: Sequence[float]) -> tuple[float, ...]:
        """Values of the search, all minimised, as they were measured: what is to be large is
        positive again."""
        return tuple(
            turned(value, direction)
            for value, direction in zip(values, self.directions, strict=True)
        )

    @property
    def upper(self) -> tuple[float, ...]:
        """The limit of each objective, infinite if there is none."""
        return tuple(self.limits.get(name, math.inf) for name in self.names)

    def excess(self, genome: Genome) -> tuple[float, ...]:
        """By how much each known cost of `genome` is above its limit, as a constraint: kept if it
        is <= 0."""
        if not self.limits.keys() - {ENERGY}:
            return ()
        costs = self.costs(genome)
        return tuple(costs[name] - limit for name, limit in self.limits.items() if name != ENERGY)

    def within(self, genome: Genome) -> bool:
        """Whether the known costs of `genome` keep their limits."""
        return all(value <= 0 for value in self.excess(genome))

    def costs(self, genome: Genome) -> dict[str, float]:
        """The space's costs. Raises `PluginError` if one that it names is missing or not
        finite."""
        return self.checked.costs(genome)

    def known(self, genome: Genome) -> tuple[float, ...]:
        """Of a genome that need not be measured, all objectives but the first, if those are
        costs."""
        costs = self.costs(genome)
        return tuple(costs[name] for name in self.names[1:])

    @cached_property
    def checked(self) -> CheckedSpace:
        """The space, its answers checked."""
        return CheckedSpace(self.space)

    def check(self) -> None:
        """Raises `ConfigError` if a cost that is an objective seems to be the same for all
        genomes."""
        seen: dict[str, set[float]] = {
            name: set() for name in self.names if name in self.space.cost_names
        }
        for genome in self._draw():
            if all(len(values) > 1 for values in seen.values()):
                return
            for name, value in self.costs(genome).items():
                seen.get(name, set()).add(value)
        for name, values in seen.items():
            if len(values) < 2:
                raise ConfigError(
                    f"an objective differs between genomes of space {self.space.name}",
                    problem=f"{name} is {values.pop():g} for all",
                    remedy="Leave it out, or take another library.",
                )

    def complete(self, objective: Objective) -> Objective:
        """`objective` with all values that are minimised, and with repetitions as rungs if it is
        noisy; itself if those are its own."""
        if self.is_noisy:
            objective = RepeatedObjective(objective)
        is_complete = len(self.names) == len(self.measures) == 1 and self.directions == ("min",)
        return objective if is_complete else CompleteObjective(objective, self)

    def nothing_within(self) -> ConfigError:
        """The error for limits that no genome could be found to keep."""
        costs = [self.costs(genome) for genome in self._draw()]
        asked = {name: limit for name, limit in self.limits.items() if name != ENERGY}
        least = ", ".join(f"{name} = {min(c[name] for c in costs):g}" for name in asked)
        return ConfigError(
            "some genome keeps the limits",
            problem="no genome drawn keeps "
            + ", ".join(f"{name}={limit:g}" for name, limit in asked.items()),
            remedy=f"The least of {len(costs)} random genomes: {least}.",
        )

    def _draw(self) -> Iterator[Genome]:
        rng = random.Random(0)
        yield from self.checked.seeds()
        for _ in range(_DRAWS):
            yield self.checked.sample(rng)


class CompleteObjective:
    """A space's objective, with the values of the run's objectives: of what the space measures
    those that were asked for, negated if they are to be large; then costs, and the energy.

    Higher rungs choose the winner, by the first objective alone. For the energy, the
    candidates are first evaluated together (which also grows what they need), then one by one, each
    again and again until its window is long enough for the source's resolution. Its joules, gross,
    are the window's over the number of evaluations."""

    def __init__(self, objective: Objective, objectives: Objectives) -> None:
        self.fidelities = objective.fidelities
        self._inner, self._objectives = objective, objectives

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        evaluations = measure(self._inner, genomes, fidelity)
        return [self._complete(e) if e.ok else e for e in evaluations]

    def _complete(self, evaluation: Evaluation) -> Evaluation:
        measures, names = self._objectives.measures, self._objectives.names
        if len(evaluation.values) != len(measures):
            raise EvaluationError(
                f"an evaluation holds {len(measures)} values: {', '.join(m.name for m in measures)}",
                got=evaluation.values,
                remedy="A space says what it measures by `measures`.",
            )
        found = {
            measure.name: measure.as_minimised(value)
            for measure, value in zip(measures, evaluation.values, strict=True)
        }
        if evaluation.fidelity:
            return replace(evaluation, values=(found[names[0]],))
        costs = {**self._objectives.costs(evaluation.genome), **found}
        if ENERGY in names:
            energy_j, n = self._energy(evaluation)
            evaluation = replace(evaluation, n_tokens=(1 + n) * evaluation.n_tokens)
            if isinstance(energy_j, str):
                return replace(
                    evaluation, status="failed", error=f"energy_j was not measured: {energy_j}"
                )
            costs[ENERGY] = energy_j
        return replace(evaluation, values=tuple(float(costs[name]) for name in names))

    def _energy(self, evaluation: Evaluation) -> tuple[float | str, int]:
        """Joules of one evaluation, or why they are not known, and how many evaluations that
        took."""
        meter, n = self._objectives.meter, 0
        assert meter is not None
        enough_s = max(_MIN_WINDOW_S, MIN_UPDATES * meter.resolution_s)
        with meter.window("candidate", record=False) as window:
            begin = meter.clock()
            while n == 0 or meter.clock() - begin < enough_s:
                self._inner.evaluate([evaluation.genome], evaluation.fidelity)
                n += 1
        if window.energy_j is None:
            return str(window.reason), n
        return window.energy_j / n, n


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError("a limit is NAME=NUMBER", got=text, remedy="Use --limit flops=2e6, say.")
    return value
