"""Every property of the kit catches the fault that it is there for."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from toys import ScoreObjective, Toy

from clso.errors import ClsoError
from clso.space import Gene, Genome, SearchSpace
from clso.space.results import Evaluation
from clso.testing import SpaceConformance, SurrogateConformance

A = ("a", "b", "c")


class Good(Toy):
    """Three genes of three alleles; at most 4 in sum."""

    def __init__(self) -> None:
        super().__init__([3, 3, 3])

    def constraints(self, genome: Genome) -> tuple[float, ...]:
        return (float(sum(genome) - 4),)

    def repair(self, genome: Genome, rng: random.Random) -> Genome:
        while sum(genome) > 4:
            at = rng.randrange(3)
            genome = (*genome[:at], max(0, genome[at] - 1), *genome[at + 1 :])
        return genome

    def seeds(self) -> list[Genome]:
        return [(0, 0, 0), (1, 0, 0)]

    def descriptors(self) -> Any:
        return [None, np.arange(6.0).reshape(3, 2), None]

    cost_names = ("weight",)

    def costs(self, genome: Genome) -> dict[str, float]:
        return {"weight": float(genome[0])}


def faulty(name: str, value: Any) -> type[Good]:
    return type("Faulty", (Good,), {name: value})


def genes(*genes: Gene) -> property:
    return property(lambda self: genes)


def objective(change: Callable[[list[Evaluation]], Any], fidelities: tuple[int, ...] = (1,)) -> Any:
    class Changed(ScoreObjective):
        def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> Any:
            return change(super().evaluate(genomes, fidelity))

    Changed.fidelities = fidelities  # type: ignore[assignment]
    return lambda self: Changed(self.score)


def shifted(evaluations: list[Evaluation], by: float) -> list[Evaluation]:
    return [
        Evaluation.measured(e.genome, e.fidelity, (e.value + by,), e.n_tokens) for e in evaluations
    ]


def run(space: Callable[[], SearchSpace], test: str) -> None:
    kit = type("Kit", (SpaceConformance,), {"make_space": lambda self: space()})()
    getattr(kit, f"test_{test}")()


SAMPLES = "samples_belong_to_the_space_and_follow_the_generator"
VALIDATE = "validate_refuses_what_is_no_genome"
DECODE = "decode_is_deterministic_and_refuses_foreign_genomes"
REPAIR = "repair_gives_feasible_genomes"
ORDER = "one_evaluation_a_genome_in_order"
COMPANY = "company_and_order_change_nothing"
CONDITIONS = "conditions_name_genes_and_choices"
KEYS = "keys_hash_and_follow_from_the_genome"
TWINS = "equal_keys_have_equal_values"

FAULTS: list[tuple[str, str, Any]] = [
    ("genes_have_names_and_choices", "genes", genes(Gene("x", A), Gene("x", A))),
    ("genes_have_names_and_choices", "genes", genes(Gene("x", A), Gene("y", ()))),
    ("genes_have_names_and_choices", "genes", genes()),
    ("genes_have_names_and_choices", "name", ""),
    (SAMPLES, "sample", lambda self, rng: (rng.randrange(4), 0, 0)),
    (SAMPLES, "sample", lambda self, rng: (random.randrange(3), 0, 0)),
    (SAMPLES, "sample", lambda self, rng: (int(np.random.randint(3)), 0, 0)),
    (SAMPLES, "sample", lambda self, rng: [0, 0, 0]),
    (SAMPLES, "sample", lambda self, rng: (0, 0, 0)),
    ("validate_takes_integers_in_any_sequence", "validate", lambda self, g: tuple(g)),
    (VALIDATE, "validate", lambda self, g: tuple(map(int, g))),
    (VALIDATE, "validate", lambda self, g: tuple(g)),
    (DECODE, "decode", lambda self, g: random.random()),
    (DECODE, "decode", lambda self, g: np.random.default_rng().random(3)),
    (DECODE, "decode", lambda self, g: g),
    (REPAIR, "repair", lambda self, g, rng: (*g[:2], 5)),
    (REPAIR, "repair", lambda self, g, rng: g if sum(g) != 5 else (2, 2, 2)),
    (REPAIR, "repair", lambda self, g, rng: (random.randrange(2), 0, 0)),
    (REPAIR, "constraints", lambda self, g: (float("nan"),)),
    (REPAIR, "constraints", lambda self, g: (0.0,) * (1 + g[0])),
    ("seeds_are_feasible_genomes", "seeds", lambda self: [(0, 0, 3)]),
    ("seeds_are_feasible_genomes", "seeds", lambda self: [(2, 2, 2)]),
    ("seeds_are_feasible_genomes", "seeds", lambda self: [(0, 0, 0), (0, 0, 0)]),
    ("descriptors_are_finite_and_one_row_a_choice", "descriptors", lambda self: [None]),
    (
        "descriptors_are_finite_and_one_row_a_choice",
        "descriptors",
        lambda self: [np.ones((2, 1))] * 3,
    ),
    (
        "descriptors_are_finite_and_one_row_a_choice",
        "descriptors",
        lambda self: [np.full((3, 1), np.inf)] * 3,
    ),
    ("fidelities_rise", "objective", objective(list, ())),
    ("fidelities_rise", "objective", objective(list, (2, 1))),
    ("fidelities_rise", "objective", objective(list, (0,))),
    (ORDER, "objective", objective(lambda found: found[::-1])),
    (ORDER, "objective", objective(lambda found: found[:-1])),
    (ORDER, "objective", objective(lambda found: [1 / 0])),
    (COMPANY, "objective", objective(lambda found: shifted(found, len(found)))),
    (COMPANY, "objective", objective(lambda found: shifted(found, found[0].genome[0]))),
    (COMPANY, "objective", objective(lambda found: shifted(found, random.random()))),
    (
        CONDITIONS,
        "genes",
        genes(Gene("x", A), Gene("y", A, when=("z", "a")), Gene("z", ("b", "c"))),
    ),
    (CONDITIONS, "genes", genes(Gene("x", A), Gene("y", A, when=("w", "a")), Gene("z", A))),
    (CONDITIONS, "genes", genes(Gene("x", A, when=("x", "a")), Gene("y", A), Gene("z", A))),
    (KEYS, "key", lambda self, g: list(g)),
    (KEYS, "key", lambda self, g: random.random()),
    (KEYS, "key", lambda self, g: object()),
    (TWINS, "genes", genes(Gene("x", A), Gene("y", A, when=("x", "a")), Gene("z", A))),
    (TWINS, "key", lambda self, g: g[:2]),
    (TWINS, "inactive", lambda self, g: frozenset({"g1"}) if g[0] else frozenset()),
    ("nothing_to_evaluate", "objective", objective(lambda found: [found[0]])),
    ("costs_are_those_named", "costs", lambda self, g: {"size": 1.0}),
    ("costs_are_those_named", "costs", lambda self, g: {"weight": float("inf")}),
    ("costs_are_those_named", "costs", lambda self, g: {"weight": random.random()}),
    (
        "a_search_finds_something",
        "objective",
        objective(lambda found: shifted(found, float("nan"))),
    ),
]


@pytest.mark.parametrize(("test", "name", "value"), FAULTS)
def test_a_fault_is_caught_where_a_good_space_passes(test: str, name: str, value: Any) -> None:
    run(Good, test)
    with pytest.raises(
        (AssertionError, ClsoError, TypeError, ZeroDivisionError, IndexError, pytest.fail.Exception)
    ):
        run(faulty(name, value), test)


def test_nothing_feasible_is_caught() -> None:
    class Hopeless(Toy):
        def constraints(self, genome: Genome) -> tuple[float, ...]:
            return (1.0,)

    with pytest.raises(AssertionError, match="no feasible genome"):
        run(lambda: Hopeless([3, 3]), "a_search_finds_something")


@pytest.mark.parametrize("score", [lambda n: lambda g: n, lambda n: lambda g: g[0] * n])
def test_a_second_space_that_differs_is_caught(score: Callable[[float], Any]) -> None:
    made: list[SearchSpace] = []

    def make() -> SearchSpace:
        made.append(Toy([3, 3], score(len(made))))
        return made[-1]

    run(lambda: Toy([3, 3], score(1.0)), "a_second_space_is_equal")
    with pytest.raises(AssertionError, match="measure differently"):
        run(make, "a_second_space_is_equal")


def test_the_tolerance_is_what_hardware_needs() -> None:
    space = faulty("objective", objective(lambda found: shifted(found, 1e-6 * len(found))))
    with pytest.raises(AssertionError, match="company matters"):
        run(space, COMPANY)
    tolerant = type(
        "Kit", (SpaceConformance,), {"make_space": lambda self: space(), "tolerance": 1e-5}
    )
    tolerant().test_company_and_order_change_nothing()


def test_ten_thousand_genes() -> None:
    kit = type(
        "Kit",
        (SpaceConformance,),
        {"make_space": lambda self: Toy([3] * 10_000), "max_examples": 2},
    )()
    kit.test_samples_belong_to_the_space_and_follow_the_generator()
    kit.test_company_and_order_change_nothing()


def test_what_depends_on_the_hash_seed_is_caught(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from clso.space.results import Evaluation\n"
        "from clso.space import Gene, SearchSpace\n"
        "from clso.testing import SpaceConformance\n"
        "class Bad(SearchSpace):\n"
        "    name, fidelities = 'hashed', (1,)\n"
        "    genes = (Gene('x', ('a', 'b')),)\n"
        "    def decode(self, genome): return genome\n"
        "    def objective(self): return self\n"
        "    def evaluate(self, genomes, fidelity):\n"
        "        return [Evaluation.measured(g, fidelity, (self.score(g),), 1) for g in genomes]\n"
        "    def score(self, genome): return hash('ab'[genome[0]])\n"
        "class TestBad(SpaceConformance):\n"
        "    def make_space(self): return Bad()\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "hash_seed",
        "test_it.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "evaluations depend on PYTHONHASHSEED" in done.stdout


class Shape(Ridge):  # type: ignore[misc]
    def predict(self, X: Any) -> Any:
        return super().predict(X)[:, None]


class Infinite(Ridge):  # type: ignore[misc]
    def predict(self, X: Any) -> Any:
        return super().predict(X) * np.inf


class Noisy(Ridge):  # type: ignore[misc]
    def predict(self, X: Any) -> Any:
        return super().predict(X) + np.random.default_rng().normal(size=len(X))


class Warm(Ridge):  # type: ignore[misc]
    def fit(self, X: Any, y: Any) -> Any:
        self.before_ = getattr(self, "before_", 0.0) + float(np.sum(y))
        return super().fit(X, y + self.before_)


class Greedy(Ridge):  # type: ignore[misc]
    def fit(self, X: Any, y: Any) -> Any:
        y -= y.mean()
        return super().fit(X, y)


class Closed:
    def __init__(self, *, random_state: int) -> None:
        pass


@pytest.mark.parametrize(
    ("test", "make"),
    [
        ("is_an_unfitted_estimator_that_can_be_cloned", lambda seed: Closed(random_state=seed)),
        ("is_an_unfitted_estimator_that_can_be_cloned", lambda seed: Ridge(random_state=0)),
        (
            "is_an_unfitted_estimator_that_can_be_cloned",
            lambda seed: Ridge().fit([[0.0], [1.0]], [0.0, 1.0]),
        ),
        ("predicts_one_finite_number_a_row", lambda seed: Shape()),
        ("predicts_one_finite_number_a_row", lambda seed: Infinite()),
        ("predicts_one_finite_number_a_row", lambda seed: Greedy()),
        ("equal_random_states_give_equal_predictions", lambda seed: Noisy()),
        ("a_second_fit_forgets_the_first", lambda seed: Warm()),
        ("constant_targets", lambda seed: Ridge(fit_intercept=False)),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_surrogates_fault_is_caught(test: str, make: Callable[[int], Any]) -> None:
    def conforms(make: Callable[[int], Any]) -> None:
        kit = type(
            "Kit",
            (SurrogateConformance,),
            {"make_surrogate": lambda self, random_state: make(random_state)},
        )()
        getattr(kit, f"test_{test}")()

    conforms(lambda seed: Ridge(random_state=seed))
    with pytest.raises((AssertionError, TypeError)):
        conforms(make)


@pytest.mark.parametrize(
    "kit", [SpaceConformance().make_space, lambda: SurrogateConformance().make_surrogate(0)]
)
def test_what_a_subclass_has_to_give_is_named(kit: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError, match="gives make_s"):
        kit()


def test_without_hypothesis_the_install_line_is_shown() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import clso.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingDependencyError: clso.testing needs pytest and hypothesis" in done.stderr
    assert "pip install 'clso[testing]'" in done.stderr
