"""The loop of an optimizer around a function: ask, call, tell, until the calls are used up.

result = minimize(loss, {"depth": range(1, 9), "act": ["relu", "tanh"]}, n_evaluations=200)
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clso.conversion import as_index, in_order, plain
from clso.engine import EngineConfig
from clso.errors import ConfigError
from clso.screening.screener import Estimator
from clso.search.optimizer import Optimizer, as_html
from clso.space import Genome, Measure, SearchSpace
from clso.space.checked import CheckedSpace
from clso.space.choices import Named
from clso.space.measures import sign_of
from clso.space.results import Evaluation
from clso.space.trials import Trial, Trials

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Callback", "Result", "minimize"]

_ONE = (Measure("value"),)

Callback = Callable[[Optimizer, Evaluation], Any]
"""Called after every evaluation; returning True (numpy's, too) ends the search, and anything else
does not."""


@dataclass(frozen=True)
class Result:
    """Outcome of `minimize`: the best measured choices `x` by the first objective, their first
    `value`, and every evaluation in order.

    `values` are what was measured of `x`, by name. `front` holds such pairs of choices and values
    for all that no other beats in all objectives: with one objective, `x` and `values` alone.
    `failures` are the evaluations without a value, each with its `reason` and traceback. `genome`
    is that of `x`. If the function is noisy, `value` is the mean of all measurements of `x`, and
    `interval` where it lies with 95 % confidence."""

    x: Any
    value: float
    evaluations: tuple[Evaluation, ...]
    values: Mapping[str, float]
    front: tuple[tuple[Any, Mapping[str, float]], ...]
    space: SearchSpace
    measures: tuple[Measure, ...]
    genome: Genome
    interval: tuple[float, float] | None = None

    @property
    def failures(self) -> tuple[Evaluation, ...]:
        return tuple(evaluation for evaluation in self.evaluations if not evaluation.ok)

    def to_frame(self) -> pd.DataFrame:
        """One row an evaluation, the genes by name: a table of pandas (extra `frames`)."""
        return self.trials().to_frame()

    def trials(self) -> Trials:
        """Every evaluation as a row, for `to_csv`, `to_json`, `to_frame` and `write_parquet`."""
        directions = tuple(measure.direction for measure in self.measures)
        signs = [sign_of(direction) for direction in directions]
        rows = tuple(Trial(e).shown(signs) for e in self.evaluations)
        names = tuple(m.name for m in self.measures)
        inactive = CheckedSpace(self.space).inactive
        return Trials(tuple(self.space.genes), names, rows, directions, inactive)

    def __repr__(self) -> str:
        failed = sum(not e.ok for e in self.evaluations)
        of_them = f", {failed:,} failed" if failed else ""
        return f"<Result: value {self.value:.6g}, x {self.x!r}, {len(self.evaluations):,} evaluations{of_them}>"

    def _repr_html_(self) -> str:
        words = [("value", f"{self.value:.6g}"), ("evaluations", f"{len(self.evaluations):,}")]
        return as_html("Result", [*words, *self.space.chosen(self.genome).items()])


def minimize(
    function: Callable[[Any], Any],
    space: SearchSpace | Named | Sequence[int],
    n_evaluations: int = 300,
    *,
    surrogate: str | Callable[[int], Estimator] | None = "gp",
    config: EngineConfig | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    objectives: Sequence[str | Measure] = _ONE,
    catch: tuple[type[Exception], ...] = (),
    noisy: bool = False,
    warm_from: Iterable[Any] = (),
) -> Result:
    """Minimise `function` of what the space decodes to, in at most `n_evaluations` calls, none of
    them a repetition.

    Parameters
    ----------
    function
        Gives a number of any library, to be small; or, with several `objectives`, one for each, in
        their order or in a dict by name. NaN and infinity count as failures, and what it raises is
        passed on, but for `catch`.
    space, surrogate, config, seed
        As of `Optimizer`.
    n_evaluations
        The most calls. The search ends early, with a `SearchWarning`, if thousands of draws find no
        more genomes that meet the space's constraints.
    callback
        Called with the optimizer and each evaluation; True ends the search.
    objectives
        As of `Optimizer`.
    catch
        Exceptions after which the search goes on: such a candidate has failed, and its evaluation
        holds the traceback.
    noisy
        As of `Optimizer`: a share of the calls measure the best again, and its value is a mean.
    warm_from
        As of `Optimizer`.

    Returns
    -------
    Result
        The best measured choices, their value, and every evaluation in order.

    Raises
    ------
    ConfigError
        Bad settings, a function that returns no number, no genome that meets the constraints, or no
        call that gave a finite value.

    Examples
    --------
    >>> def loss(x):
    ...     return (x["a"] - 3) ** 2 + (x["b"] != "yes")
    >>> best = minimize(loss, {"a": range(10), "b": ["no", "yes"]}, n_evaluations=20)
    >>> best.x, best.value
    ({'a': 3, 'b': 'yes'}, 0.0)

    Two objectives, and calls that may fail:

    >>> def error_and_size(x):
    ...     if x["depth"] == 3:
    ...         raise MemoryError("3 does not fit")
    ...     return {"error": 1 / x["depth"], "size": x["depth"]}
    >>> found = minimize(error_and_size, {"depth": range(1, 5)}, 4,
    ...                  objectives=("error", "size"), catch=(MemoryError,))
    >>> [values["size"] for _, values in found.front], found.failures[0].reason
    ([4.0, 2.0, 1.0], 'MemoryError: 3 does not fit')
    """
    n_evaluations = as_index(n_evaluations, "n_evaluations", least=1)
    returned = f"what {getattr(function, '__name__', 'the function')} returns"
    caught = in_order(catch, "exceptions to catch") if not isinstance(catch, type) else (catch,)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in caught):
        raise ConfigError("what is caught are kinds of Exception", got=catch)
    optimizer = Optimizer(
        space,
        surrogate=surrogate,
        config=config,
        seed=seed,
        objectives=objectives,
        noisy=noisy,
        warm_from=warm_from,
    )
    done: list[Evaluation] = []
    stop = False
    while not stop and len(done) < n_evaluations and (asked := optimizer.ask()):
        choices = optimizer.decode(asked[0])
        try:
            found = function(choices)
        except caught:
            evaluation = Evaluation(asked[0], 0, (), "failed", error=traceback.format_exc())
        else:
            evaluation = Evaluation(asked[0], 0, optimizer.as_minimised(found, returned))
        optimizer.tell(evaluation)
        done.append(evaluation)
        stop = callback is not None and plain(callback(optimizer, evaluation)) is True
    if optimizer.best is None:
        raise ConfigError(
            "the function gives a finite value somewhere",
            problem=f"none of {len(done)} calls gave one; the first: {done[0].reason}",
        )

    def shown(evaluation: Evaluation) -> dict[str, float]:
        pairs = zip(optimizer.objectives, evaluation.values, strict=True)
        return {measure.name: measure.as_minimised(value) for measure, value in pairs}

    best = optimizer.best
    values = shown(best)
    return Result(
        optimizer.decode(best.genome),
        values[optimizer.objectives[0].name],
        tuple(done),
        values,
        tuple((optimizer.decode(e.genome), shown(e)) for e in optimizer.front),
        optimizer.space,
        tuple(optimizer.objectives),
        best.genome,
        _shown_interval(optimizer, best.genome) if noisy else None,
    )


def _shown_interval(optimizer: Optimizer, genome: Genome) -> tuple[float, float]:
    """Where the mean of `genome` lies, as it was measured."""
    found, measure = optimizer.estimate(genome), optimizer.objectives[0]
    low, high = sorted((measure.as_minimised(found.low), measure.as_minimised(found.high)))
    return low, high
