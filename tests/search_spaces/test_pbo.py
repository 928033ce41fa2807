from __future__ import annotations

import builtins
import importlib.util
import itertools
import random
from typing import Any

import pytest

from clso.errors import ConfigError, MissingDependencyError
from clso.search_spaces.pbo import FUNCTIONS, PBO

needs_ioh = pytest.mark.skipif(
    importlib.util.find_spec("ioh") is None, reason="ioh is not installed"
)


def value(space: PBO, genome: tuple[int, ...]) -> float:
    return space.objective().evaluate([genome], 0)[0].value


@needs_ioh
def test_the_25_functions_and_their_numbers() -> None:
    import ioh

    assert dict(enumerate(FUNCTIONS, 1)) == ioh.ProblemClass.PBO.problems
    assert PBO.Options("18").function_name == PBO.Options("LABS").function_name == "LABS"


@needs_ioh
@pytest.mark.parametrize("function", FUNCTIONS)
def test_optima_are_those_of_brute_force(function: str) -> None:
    for n in (4, 9, 10):
        if n == 10 and function in ("IsingTriangular", "NQueens"):
            continue  # boards and grids of squares
        space = PBO(PBO.Options(function, dimension=n))
        best = min(
            e.value
            for e in space.objective().evaluate(list(itertools.product((0, 1), repeat=n)), 0)
        )
        unknown = function in ("LABS", "NKLandscapes") or (function, n) in {
            ("ConcatenatedTrap", 4),
            ("ConcatenatedTrap", 9),
            ("NQueens", 4),
            ("NQueens", 9),
        }
        assert space.optimum == (None if unknown else best)


@needs_ioh
def test_stated_optima_at_the_default_dimension() -> None:
    known = {
        "OneMax": -100,
        "LeadingOnes": -100,
        "Linear": -5050,
        "NQueens": -10,
        "ConcatenatedTrap": -20,
        "MIS": -50,
    }
    assert {f: PBO(PBO.Options(f)).optimum for f in known} == known


@needs_ioh
def test_a_batch_is_worth_what_its_genomes_are() -> None:
    rng = random.Random(0)
    for function in FUNCTIONS:
        space = PBO(PBO.Options(function, dimension=16))
        genomes = [space.sample(rng) for _ in range(5)]
        assert [e.value for e in space.objective().evaluate(genomes, 0)] == [
            value(space, g) for g in genomes
        ]


@needs_ioh
def test_values_by_hand() -> None:
    genome = (1, 1, 1, 0, 1, 0, 1, 1)
    assert value(PBO(PBO.Options("OneMax", 8)), genome) == -6
    assert value(PBO(PBO.Options("LeadingOnes", 8)), genome) == -3
    assert value(PBO(PBO.Options("Linear", 8)), genome) == -(1 + 2 + 3 + 5 + 7 + 8)
    assert PBO(PBO.Options("OneMax", 8)).decode(genome) == "11101011"


@needs_ioh
def test_other_instances_are_other_functions_with_no_stated_optimum() -> None:
    space = PBO(PBO.Options("OneMax", 8, instance=2))
    assert value(space, (1,) * 8) != -8
    assert space.optimum is None


@needs_ioh
def test_a_dimension_that_a_function_lacks() -> None:
    with pytest.raises(ConfigError, match=r"NQueens has dimension 12; got .*perfect square"):
        PBO(PBO.Options("NQueens", 12))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"function": "OneMx"}, "Did you mean 'OneMax'"),
        ({"function": "0"}, "unknown function"),
        ({"function": "26"}, "unknown function"),
        ({"function": "²"}, "unknown function"),
        ({"dimension": 0}, "at least 1"),
        ({"instance": 0}, "at least 1"),
    ],
)
def test_bad_options(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PBO.Options(**wrong)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ioh(name: str, *args: Any) -> Any:
        if name == "ioh":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_ioh)
    with pytest.raises(MissingDependencyError, match=r"pip install 'clso\[pbo\]'"):
        PBO()
