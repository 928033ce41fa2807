"""Searches that start from earlier ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clso import Optimizer, minimize
from clso.errors import ConfigError
from clso.screening.encoding import Encoder
from clso.screening.learner import Learner
from clso.search.earlier import Earlier, EarlierRun
from clso.space import Genome
from clso.space.choices import Choices
from clso.space.results import Evaluation

SIZES = [4, 3, 5, 2, 6, 4]


def value(genome: Genome) -> float:
    return sum((i + 1) * a for i, a in enumerate(genome)) + 3.0 * abs(genome[0] - genome[5])


def earlier(sign: float = 1.0, level: float = 0.0, n: int = 120) -> list[Evaluation]:
    """A search of its own, whose values differ from `value` in sign and level."""
    found = minimize(value, SIZES, n, seed=5, surrogate=None).evaluations
    return [Evaluation(e.genome, 0, (sign * e.value + level,)) for e in found]


def test_the_best_of_each_run_are_tried_first_in_turn() -> None:
    first = [Evaluation((1, 0, 0, 0, 0, a), 0, (float(a),)) for a in range(4)]
    second = [Evaluation((2, 0, 0, 0, 0, a), 0, (float(-a),)) for a in range(4)]
    failed = Evaluation((3, 0, 0, 0, 0, 0), 0, (), "failed")
    optimizer = Optimizer(SIZES, surrogate=None, warm_from=[[failed, *first], second])
    assert optimizer.ask(4) == [
        (1, 0, 0, 0, 0, 0), (2, 0, 0, 0, 0, 3), (1, 0, 0, 0, 0, 1), (2, 0, 0, 0, 0, 2)
    ]  # fmt: skip
    assert optimizer.best is None  # what another run measured is no value of this one


def test_of_several_objectives_the_front_comes_first() -> None:
    points = [(0.0, 9.0), (5.0, 5.0), (6.0, 6.0), (9.0, 0.0), (7.0, 7.0)]
    run = [Evaluation((0, 0, 0, 0, i, 0), 0, point) for i, point in enumerate(points)]
    optimizer = Optimizer(SIZES, surrogate=None, objectives=("a", "b"), warm_from=[run])
    assert {genome[4] for genome in optimizer.ask(3)} == {0, 1, 3}


def drive(optimizer: Optimizer, n: int) -> list[Genome]:
    asked: list[Genome] = []
    while len(asked) < n:
        (genome,) = optimizer.ask()
        optimizer.tell(genome, value(genome))
        asked.append(genome)
    return asked


def test_what_was_measured_teaches_the_surrogate_from_the_first_batch() -> None:
    warm, cold = Optimizer(SIZES, warm_from=[earlier(level=100.0)]), Optimizer(SIZES)
    drive(warm, 17)
    drive(cold, 17)
    assert warm.screener.n_earlier == 120
    assert warm.screener.n_audits > cold.screener.n_audits == 0
    assert warm.screener.trusted


def test_a_run_that_misleads_is_given_up_and_not_the_surrogate() -> None:
    optimizer = Optimizer(SIZES, warm_from=[earlier(sign=-1.0)])
    drive(optimizer, 100)
    assert optimizer.screener.n_earlier == 0
    assert optimizer.screener.trusted


def test_rows_are_moved_by_what_genomes_of_both_runs_differ() -> None:
    fitted: list[list[float]] = []

    class Spy:
        def fit(self, X: Any, y: Any) -> None:
            fitted.append(sorted(y.tolist()))

        def predict(self, X: Any) -> list[float]:
            return [0.0] * len(X)

    learner = Learner(lambda seed: Spy(), Encoder([8]), seed=0, refit_every=1)
    learner.begin_with([[((a,), (float(a),)) for a in range(5)]])
    learner.predict([(7,)])
    learner.learn([((0,), (10.0,)), ((1,), (11.0,))])
    learner.predict([(7,)])
    assert fitted[0] == [0, 1, 2, 3, 4]
    assert fitted[1] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_state_goes_on_the_same(sign: float) -> None:
    def make() -> Optimizer:
        return Optimizer(SIZES, warm_from=[earlier(sign)], seed=3)

    whole, first, second = make(), make(), make()
    expected = drive(whole, 120)
    begun = drive(first, 70)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + drive(second, 50) == expected
    assert second.screener.n_earlier == whole.screener.n_earlier


def _write(folder: Path, **changes: Any) -> Path:
    """A run folder with one evaluation; `changes` replace the text of files."""
    folder.mkdir()
    genes = [{"name": "a", "n_choices": 2, "choices": ["0", "1"]}, {"name": "b", "n_choices": 3}]
    rows = [
        Evaluation((1, 2), 0, (0.5,)).to_json() | {"type": "evaluation"},
        {"type": "generation"},
    ]
    texts = {
        "config.toml": 'objective = ["fitness"]\n',
        "manifest.json": json.dumps({"genes": genes}),
        "records.jsonl": "".join(json.dumps(row) + "\n" for row in rows) + '{"type": "eval',
    } | {name.replace("_", "."): text for name, text in changes.items()}
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_a_folder_is_read_though_its_run_goes_on(tmp_path: Path) -> None:
    run = EarlierRun.read(_write(tmp_path / "run"))
    assert [(e.genome, e.value) for e in run.evaluations] == [((1, 2), 0.5)]
    space = Choices({"a": [0, 1], "b": [0, 1, 2]})
    # a space that names its one value differently
    with pytest.raises(ConfigError, match="measured fitness"):
        Earlier.of([run], space, "loss")
    same = Earlier.of([run], space, "fitness")
    assert Earlier.from_json(json.loads(json.dumps(same.to_json()))).seeds(_checked(space)) == [
        (1, 2)
    ]


def _checked(space: Choices) -> Any:
    from clso.space.checked import CheckedSpace

    return CheckedSpace(space)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"a": [0, 1]}, "2 genes, here 1"),
        ({"a": [0, 1], "c": [0, 1, 2]}, "gene 'b', here 'c'"),
        ({"a": [0, 1], "b": [0, 1]}, "gene 'b' has other choices"),
        ({"a": [0, 7], "b": [0, 1, 2]}, "gene 'a' has other choices"),
    ],
)
def test_a_run_of_another_space_is_refused(
    tmp_path: Path, choices: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Optimizer(choices, warm_from=[_write(tmp_path / "run")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda at: at / "nowhere", "a folder with config.toml; got"),
        (lambda at: _write(at / "run", manifest_json="{"), "cannot be read"),
        (lambda at: _write(at / "run", manifest_json=None), "cannot be read"),
        (lambda at: _write(at / "run", records_jsonl="[]\n"), "cannot be read"),
        (lambda at: [3], "from run folders, or from evaluations"),
        (lambda at: [Evaluation((9,) * 6, 0, (1.0,))], "of the same search space"),
    ],
    ids=["missing", "damaged", "unfinished", "record", "numbers", "genome"],
)
def test_what_is_no_run_is_refused(
    tmp_path: Path, make: Callable[[Path], Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Optimizer(SIZES, warm_from=[make(tmp_path)])
