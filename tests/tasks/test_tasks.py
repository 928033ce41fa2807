"""What every task keeps: splits that share nothing, equal seeds equal examples, targets that are in
range."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from clso.errors import ConfigError, DataError, PluginError
from clso.tasks.base import SPLITS, Examples, ShuffledLabels, Task, load_task, pad, row_keys

SMALL = {"n_train": 30, "n_valid": 10, "n_test": 10}
GENERATED: list[tuple[str, dict[str, Any]]] = [
    ("listops", {}),
    ("listops-lra", {}),
    ("copy", {}),
    ("associative-recall", {}),
    ("stories", {"kind": 1}),
    ("stories", {"kind": 3}),
    ("stories", {"kind": 0}),
    ("pathfinder", {}),
]


@pytest.mark.parametrize(("name", "options"), GENERATED)
def test_generated_tasks_keep_the_contract(name: str, options: dict[str, Any]) -> None:
    task = load_task(name, {**SMALL, **options}, seed=3)
    keys = {split: row_keys(task.split(split).tokens) for split in SPLITS}
    assert [len(keys[s]) for s in SPLITS] == [30, 10, 10]
    assert len(set().union(*keys.values())) == 50
    again = load_task(name, {**SMALL, **options}, seed=3)
    assert again.describe() == task.describe()
    assert (
        load_task(name, {**SMALL, **options}, seed=4).describe()["hash"] != task.describe()["hash"]
    )
    assert task.split("train").tokens.shape[1] <= task.n_positions
    more = load_task(name, {**SMALL, **options, "n_train": 40}, seed=3)
    assert np.array_equal(more.split("test").tokens, task.split("test").tokens)
    assert task.text(task.split("test").tokens[0])


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_examples_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    code = (
        "from clso.tasks.base import load_task\n"
        f"print(*(load_task(n, {{**{SMALL}, **o}}).describe()['hash'] for n, o in {GENERATED[2:7]}))"
    )
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.split() == [
        load_task(n, {**SMALL, **o}).describe()["hash"] for n, o in GENERATED[2:7]
    ]


def test_tasks_need_no_torch() -> None:
    code = (
        "import sys\nfrom clso.tasks.base import load_task\n"
        f"load_task('listops', {SMALL}).split('train')\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_fitness_and_statistics_are_cut_from_train() -> None:
    task = load_task("copy", SMALL)
    parts = [task.split(name).tokens for name in ("statistics", "fitness")]
    assert len(parts[1]) == 3
    assert np.array_equal(np.concatenate(parts), task.split("train").tokens)
    with pytest.raises(ConfigError, match="a split is one of"):
        task.split("dev")


def test_shuffled_labels_keep_their_frequencies_and_the_other_splits() -> None:
    task = load_task("listops", SMALL)
    control = ShuffledLabels(task)
    assert (control.name, control.n_classes, control.vocab) == (
        "listops (labels shuffled)",
        10,
        task.vocab,
    )
    shuffled, true = control.split("train").targets, task.split("train").targets
    assert sorted(shuffled) == sorted(true)
    assert (shuffled != true).sum() > 10
    assert np.array_equal(control.split("train").tokens, task.split("train").tokens)
    for split in ("valid", "test"):
        assert np.array_equal(control.split(split).targets, task.split(split).targets)
    assert control.describe()["hash"] != task.describe()["hash"]
    with pytest.raises(ConfigError, match="only if sequences have classes"):
        ShuffledLabels(load_task("copy", SMALL))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("listopps", {}, PluginError, r"unknown task.*Did you mean 'listops'\?"),
        (
            "listops",
            {"max_dept": 3},
            ConfigError,
            r"unknown option of this task.*Did you mean 'max_depth'\?",
        ),
        ("listops", {"max_args": 1}, ConfigError, "max_args is at least 2"),
        ("listops", {"min_length": 20, "max_length": 21}, ConfigError, "max_length is at least 22"),
        ("copy", {"n_train": 0}, ConfigError, "n_train is at least 1"),
        ("stories", {"kind": 21}, ConfigError, "kind is from 1 to 20, or 0 for all"),
        ("associative-recall", {"n_keys": 3}, ConfigError, "n_keys is at least 8"),
        ("pathfinder", {"length": 41}, ConfigError, "length is at most 40"),
    ],
)
def test_bad_options(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_task(name, options)


def test_more_examples_than_there_are() -> None:
    with pytest.raises(ConfigError, match="only 16 distinct sequences were found: task"):
        load_task(
            "copy", {**SMALL, "n_symbols": 2, "min_length": 4, "max_length": 4, "n_train": 40}
        ).split("train")
    with pytest.raises(ConfigError, match="makes sequences between the limits"):
        load_task("listops", {**SMALL, "max_depth": 1}).split("train")


class Given(Task):
    """Whatever a test gives it."""

    name = "given"
    n_classes = 2
    vocab = ("<pad>", "a", "b")
    n_positions = 3
    given: dict[str, Examples]

    def _load(self) -> dict[str, Examples]:
        return self.given


def examples(rows: list[list[int]], targets: list[int]) -> Examples:
    return Examples(pad(rows), np.array(targets))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (examples([[1, 2]], [0, 1]), "one class or one row"),
        (examples([[1, 2, 1, 2]], [0]), "at most 3 tokens"),
        (examples([[1, 3]], [0]), "below the vocabulary's size"),
        (examples([[1, 2]], [2]), "targets are classes or tokens"),
        (examples([[1, 0, 2]], [0]), "padded at their ends only"),
        (examples([[2]], [0]), "1 sequences of test are in an earlier split"),
        (Examples(np.zeros((0, 2), np.uint16), np.zeros(0, np.int64)), "examples in every split"),
    ],
)
def test_mistakes_of_a_plugin_show(train: Examples, message: str) -> None:
    task = Given()
    task.given = {"train": train, "valid": examples([[1]], [0]), "test": examples([[2]], [1])}
    with pytest.raises(DataError, match=message):
        task.split("valid")


def test_keys_do_not_depend_on_padding() -> None:
    assert row_keys(pad([[1, 256]])) == row_keys(pad([[1, 256], [1, 1, 1, 1]]))[:1]
    assert len(set(row_keys(pad([[1], [1, 256], [256, 1]])))) == 3
