"""Whatever a space's functions return or raise, the search gets plain numbers or an error that
names the function."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import Toy

from clso.engine import Engine
from clso.errors import ClsoError, ConfigError, PluginError
from clso.space import Gene, Genome
from clso.space.checked import CheckedSpace


class Odd(Toy):
    """A space with one function replaced."""

    cost_names = ("size",)

    def __init__(self, function: str, answer: Callable[..., Any]) -> None:
        super().__init__([3] * 4)
        setattr(self, function, answer)


CALLS: dict[str, Callable[[CheckedSpace], Any]] = {
    "sample": lambda c: c.sample(random.Random(0)),
    "repair": lambda c: c.repair((0, 1, 2, 0), random.Random(0)),
    "constraints": lambda c: c.constraints((0, 1, 2, 0)),
    "costs": lambda c: c.costs((0, 1, 2, 0)),
    "seeds": lambda c: c.seeds(),
    "describe": lambda c: c.describe((0, 1, 2, 0)),
    "conclude": lambda c: c.conclude((0, 1, 2, 0), Path()),
}


def raiser(error: BaseException) -> Callable[..., Any]:
    def answer(*args: Any) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(0), SystemExit(), GeneratorExit(), StopIteration()],
    ids=repr,
)
@pytest.mark.parametrize("function", CALLS)
def test_what_a_function_raises_is_named(function: str, error: BaseException) -> None:
    with pytest.raises(
        PluginError, match=f"raised {type(error).__name__}.*`{function}` of space 'toy'"
    ):
        CALLS[function](CheckedSpace(Odd(function, raiser(error))))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConfigError("a rule of its own")], ids=repr)
@pytest.mark.parametrize("function", CALLS)
def test_ctrl_c_and_errors_for_the_user_pass(function: str, error: BaseException) -> None:
    with pytest.raises(type(error)):
        CALLS[function](CheckedSpace(Odd(function, raiser(error))))


@pytest.mark.parametrize(
    ("function", "returned", "expected"),
    [
        ("sample", [0, 1, 2, 0], (0, 1, 2, 0)),
        ("sample", tuple(np.array([0, 1, 2, 0])), (0, 1, 2, 0)),
        ("repair", np.array([0, 1, 2, 0]), (0, 1, 2, 0)),
        ("repair", torch.tensor([0, 1, 2, 0]), (0, 1, 2, 0)),
        ("seeds", [np.array([1, 1, 1, 1]), [2, 2, 2, 2]], [(1, 1, 1, 1), (2, 2, 2, 2)]),
        ("constraints", np.array([-1, 2]), (-1.0, 2.0)),
        ("constraints", [np.bool_(True)], (1.0,)),
        ("costs", {"size": np.int64(7), "more": "ignored"}, {"size": 7.0}),
        ("conclude", {"best": {"accuracy": np.float32(0.5)}}, {"best": {"accuracy": 0.5}}),
    ],
)
def test_numbers_of_any_library_become_plain(function: str, returned: Any, expected: Any) -> None:
    found = CALLS[function](CheckedSpace(Odd(function, lambda *args: returned)))
    assert found == expected
    json.dumps(found)


@pytest.mark.parametrize(
    ("function", "returned"),
    [
        ("sample", None),
        ("sample", (0, 1, 2)),
        ("sample", (0, 1, 2, 3)),
        ("repair", (0, 1, 2, -1)),
        ("repair", "0120"),
        ("constraints", 1.0),
        ("constraints", ("1",)),
        ("costs", None),
        ("costs", {}),
        ("costs", {"size": float("nan")}),
        ("costs", {"size": "7"}),
        ("conclude", {"best": {"accuracy": float("nan")}}),
        ("conclude", {"best": 3}),
    ],
)
def test_a_wrong_answer_is_named(function: str, returned: Any) -> None:
    with pytest.raises(PluginError, match=f"{function}.*of space 'toy'"):
        CALLS[function](CheckedSpace(Odd(function, lambda *args: returned)))


@pytest.mark.parametrize(
    "genes",
    [(), (Gene("a", ("x",)), Gene("a", ("y",))), (Gene("a", ()),), ("a",), None],
    ids=["none", "one name twice", "no allele", "no genes", "nothing"],
)
def test_genes_are_some_with_names_of_their_own(genes: Any) -> None:
    space = Toy([2])
    space._genes = genes
    with pytest.raises(ClsoError):
        Engine(space)


def test_labels_are_text_in_an_order_of_their_own() -> None:
    assert Gene("a", tuple(np.arange(3))).choices == ("0", "1", "2")  # type: ignore[arg-type]
    for wrong in ("relu", {"x", "y"}):
        with pytest.raises(ConfigError):
            Gene("a", wrong)  # type: ignore[arg-type]


class LeavesEarly(Toy):
    """Its objective, or whatever `leaving` names, calls sys.exit(0)."""

    leaving = "evaluate"

    def __init__(self) -> None:
        super().__init__([3] * 4, self._score)

    def _score(self, genome: Genome) -> float:
        self._leave("score")
        return float(sum(genome))

    def _leave(self, here: str) -> None:
        if here == self.leaving:
            sys.exit(0)

    def prepare(self) -> None:
        self._leave("prepare")

    def objective(self) -> Any:
        inner = super().objective()

        class Leaving:
            fidelities = (1,)

            def evaluate(_, genomes: list[Genome], fidelity: int) -> Any:
                self._leave("evaluate")
                return inner.evaluate(genomes, fidelity)

        return Leaving()

    def conclude(self, genome: Genome, folder: Path) -> dict[str, Any]:
        self._leave("conclude")
        return {}


class LeavesWhenScored(LeavesEarly):
    leaving = "score"


class LeavesWhenPrepared(LeavesEarly):
    leaving = "prepare"


class LeavesInTheEnd(LeavesEarly):
    leaving = "conclude"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "kind", [LeavesEarly, LeavesWhenScored, LeavesWhenPrepared, LeavesInTheEnd]
)
def test_a_run_does_not_end_well_because_a_function_calls_exit(
    kind: type, asynchronous: bool, tmp_path: Path
) -> None:
    from clso.config import RunConfig
    from clso.run import evolve

    config = RunConfig(
        gens=2,
        pop=4,
        space=f"{__file__}:{kind.__name__}",
        surrogate="none",
        energy="null",
        device="cpu",
    )
    with pytest.raises(ClsoError, match="SystemExit"):
        evolve(replace(config, asynchronous=asynchronous), tmp_path / "run")
