"""Training, scoring and measuring models on tasks, with a real LSTM of our own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clso.errors import ConfigError, EvaluationError, PluginError, RunFolderError
from clso.models.modules import n_parameters
from clso.tasks.base import Examples, ShuffledLabels, Task, load_task, pad
from clso.tasks.metrics import mean_reciprocal_rank
from clso.tasks.models import build_model, load_model, model_options, save_model
from clso.tasks.objective import TaskObjective
from clso.tasks.scoring import batches, majority_accuracy, score
from clso.tasks.train import TrainSettings, fit, learning_rate, train_on

FAMILY = f"{Path(__file__).parent / 'recurrent.py'}:Recurrent"
DIVERGING = FAMILY.replace("Recurrent", "Diverging")
SETTINGS = TrainSettings(steps=160, eval_every=40, batch=32)


class FirstToken(Task):
    """The class of a sequence is told by its first token: easily learnt."""

    name = "first-token"
    n_classes = 4
    vocab = ("<pad>", *"abcdefgh")
    n_positions = 8

    def _load(self) -> dict[str, Examples]:
        rng = np.random.default_rng(self.seed)
        rows = {tuple(rng.integers(1, 9, rng.integers(4, 9)).tolist()): None for _ in range(1500)}
        sequences = [list(row) for row in rows]
        all_ = Examples(pad(sequences), np.array([(row[0] - 1) // 2 for row in sequences]))
        return {
            "train": all_[slice(0, 800)],
            "valid": all_[slice(800, 1000)],
            "test": all_[slice(1000, 1400)],
        }


@pytest.fixture(scope="module")
def task() -> Task:
    return FirstToken()


def trained(task: Task, seed: int = 0, **sizes: Any) -> tuple[dict[str, Any], torch.nn.Module]:
    model = build_model(FAMILY, task, sizes, seed=seed)
    return train_on(model, task, SETTINGS, 2e-2, seed=seed), model


@pytest.fixture(scope="module")
def record(task: Task) -> tuple[dict[str, Any], torch.nn.Module]:
    return trained(task, dropout=0.1)


def test_a_model_learns_and_its_record_is_whole(
    task: Task, record: tuple[dict[str, Any], torch.nn.Module]
) -> None:
    found, model = record
    assert found["test_accuracy"] > 0.95 > 0.4 > found["chance"]
    assert found["parameters"] == n_parameters(model) == sum(p.numel() for p in model.parameters())
    assert [step for step, _ in found["train_curve"]] == [40, 80, 120, 160]
    assert found["valid_accuracy"] == max(accuracy for _, _, accuracy in found["valid_curve"])
    _, loss, accuracy = next(row for row in found["valid_curve"] if row[0] == found["best_step"])
    assert (loss, accuracy) == (found["valid_loss"], found["valid_accuracy"])
    again = score(model, task.split("valid"), batch=64)  # the weights are those of the best step
    assert (again.loss, again.accuracy) == (loss, accuracy)
    assert 160 * 32 * 4 < found["n_tokens"] < 160 * 32 * 8
    assert found["train_s"] > 0 < found["score_s"]


def test_equal_seeds_give_equal_runs(
    task: Task, record: tuple[dict[str, Any], torch.nn.Module]
) -> None:
    torch.manual_seed(123)  # what the process drew before does not matter
    before = torch.random.get_rng_state()
    again, model = trained(task, dropout=0.1)
    assert torch.equal(torch.random.get_rng_state(), before)
    timeless = [{k: v for k, v in r.items() if not k.endswith("_s")} for r in (again, record[0])]
    assert timeless[0] == timeless[1]
    weights = zip(model.state_dict().values(), record[1].state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    assert trained(task, seed=1)[0]["train_curve"] != again["train_curve"]


def test_with_shuffled_labels_accuracy_falls_to_chance(
    task: Task, record: tuple[dict[str, Any], torch.nn.Module]
) -> None:
    found, _ = trained(ShuffledLabels(task))
    assert record[0]["test_accuracy"] > 0.95
    assert found["chance"] == pytest.approx(0.25, abs=0.05)
    assert abs(found["test_accuracy"] - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 400)


def test_a_language_model_is_asked_for_tokens() -> None:
    sizes = {
        "n_train": 280,
        "n_valid": 50,
        "n_test": 50,
        "n_symbols": 20,
        "min_length": 2,
        "max_length": 2,
    }
    task = load_task("copy", sizes)
    found, model = trained(task, d_model=24)
    assert found["test_accuracy"] > 0.3 > 0.15 > found["chance"]
    logits, hits, exact, scores, answers = [], 0, 0, [], []
    test = task.split("test")
    for row, targets in zip(test.tokens, test.targets, strict=True):  # one by one, unpadded
        tokens = torch.from_numpy(row[row > 0].astype(np.int64))[None]
        with torch.no_grad():
            out = model(tokens, torch.ones_like(tokens, dtype=torch.bool))[0]
        asked = np.flatnonzero(targets)
        expected = torch.from_numpy(targets[asked].astype(np.int64))
        logits.append(F.cross_entropy(out[asked], expected, reduction="sum").item())
        right = out[asked].argmax(1) == expected
        hits, exact = hits + int(right.sum()), exact + bool(right.all())
        scores.append(out[asked].numpy())
        answers.append(expected.numpy())
    n = len(np.concatenate(answers))
    assert found["test_loss"] == pytest.approx(sum(logits) / n, rel=1e-4)
    assert found["test_accuracy"] == pytest.approx(hits / n)
    assert found["test_exact"] == pytest.approx(exact / 50)
    mrr = mean_reciprocal_rank(np.concatenate(scores), np.concatenate(answers))
    assert found["test_mrr"] == pytest.approx(mrr, abs=1e-3)
    assert n == score(model, test).n_targets


def test_chance_is_the_most_frequent_answer() -> None:
    train = Examples(pad([[1]] * 4), np.array([2, 2, 2, 0]))
    assert majority_accuracy(train, Examples(pad([[1]] * 3), np.array([2, 0, 0]))) == pytest.approx(
        1 / 3
    )
    tokens = Examples(pad([[1, 1]]), pad([[0, 2]]))
    assert majority_accuracy(tokens, tokens) == 1  # what is not asked does not count


def test_batches_hold_every_example_once_and_little_padding(task: Task) -> None:
    test = task.split("test")
    seen = []
    for batch in batches(test, 64):
        assert batch.mask.any(0).all()
        assert torch.equal(batch.mask, batch.tokens != 0)
        seen += [tuple(row[row > 0].tolist()) for row in batch.tokens]
    assert sorted(seen) == sorted(tuple(int(t) for t in row if t) for row in test.tokens)


def test_early_stopping(task: Task) -> None:
    model = build_model(FAMILY, task, {}, seed=0)
    settings = replace(SETTINGS, steps=4000, eval_every=20, stop_after=2)
    done = fit(model, ShuffledLabels(task), settings, 2e-2, seed=0)
    assert done.steps == done.best_step + 40 < 4000


def test_nothing_is_left_to_learn_once_every_answer_is_right(task: Task) -> None:
    settings = replace(SETTINGS, steps=4000, eval_every=20, stop_after=50)
    done = fit(build_model(FAMILY, task, {}, seed=0), task, settings, 2e-2, seed=0)
    assert done.valid is not None
    assert done.valid.exact == 1
    assert done.steps == done.best_step < 1000


def test_what_diverges_says_so(task: Task) -> None:
    model = build_model(DIVERGING, task, {}, seed=0)
    done = fit(model, task, replace(SETTINGS, eval_every=5), 1e-3, seed=0)
    assert (done.valid, done.best_step, done.steps) == (None, 0, 5)
    assert done.to_json()["status"] == "diverged"
    assert done.to_json()["train_curve"] == [[5, None]]
    with pytest.raises(EvaluationError, match="finite loss"):
        train_on(build_model(DIVERGING, task, {}, seed=0), task, SETTINGS, 1e-3, seed=0)


def test_learning_rates() -> None:
    settings = TrainSettings(steps=200, warmup=10)
    rates = [learning_rate(settings, 1.0, step) for step in range(200)]
    assert rates[:10] == [pytest.approx((i + 1) / 10) for i in range(10)]
    assert rates[10] == 1
    assert rates[199] == pytest.approx(0.1)
    assert learning_rate(replace(settings, schedule="constant"), 1.0, 199) == 1
    assert learning_rate(replace(settings, warmup=150), 1.0, 20) == 1  # at most a tenth


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"eval_every": 0}, {"schedule": "linear"}, {"grad_clip": -1.0}]
)
def test_bad_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TrainSettings(**options)


def test_models_on_disk(
    task: Task, record: tuple[dict[str, Any], torch.nn.Module], tmp_path: Path
) -> None:
    save_model(FAMILY, record[1], tmp_path / "best")
    assert {p.name for p in (tmp_path / "best").iterdir()} == {"sequence.json", "model.safetensors"}
    loaded = load_model(tmp_path / "best")
    assert score(loaded, task.split("test"), batch=64).loss == record[0]["test_loss"]
    (tmp_path / "best" / "model.safetensors").write_bytes(b"x")
    for folder in (tmp_path / "best", tmp_path / "none"):
        with pytest.raises(RunFolderError, match="holds a sequence model"):
            load_model(folder)


def test_models_by_name(task: Task) -> None:
    one, two = (build_model(FAMILY, task, {"d_model": 8}, seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert model_options(FAMILY, ("d_model=8", "dropout=0.5")) == {"d_model": 8, "dropout": 0.5}
    with pytest.raises(ConfigError, match="the task decides"):
        model_options(FAMILY, ("n_classes=3",))
    with pytest.raises(ConfigError, match=r"no such field; got \['d_modle'\]"):
        build_model(FAMILY, task, {"d_modle": 8})
    with pytest.raises(ConfigError, match="can be built with these sizes"):
        build_model(FAMILY, task, {"n_layers": 0})
    with pytest.raises(PluginError, match="unknown model"):
        build_model("no-such-model", task, {})
    with pytest.raises(PluginError, match=r"a torch\.nn\.Module class"):
        build_model(FAMILY.replace("Recurrent", "RecurrentConfig"), task, {})


def test_a_task_as_an_objective(task: Task) -> None:
    def build(genome: tuple[int, ...]) -> torch.nn.Module:
        if genome == (3,):
            raise RuntimeError("no such model")
        return build_model(FAMILY, task, {"d_model": 4 * (1 + genome[0])}, seed=genome[0])

    objective = TaskObjective(task, build, examples=(16, 64, 5000))
    fitness = task.split("fitness")
    assert objective.fidelities == tuple(int((fitness.tokens[:n] > 0).sum()) for n in (16, 64, 80))
    found = objective.evaluate([(0,), (3,), (1,)], 1)
    assert [e.status for e in found] == ["ok", "failed", "ok"]
    assert "no such model" in str(found[1].error)
    assert found[2].value == pytest.approx(score(build((1,)), fitness[:64]).loss, rel=1e-6)
    assert found[0].n_tokens == objective.fidelities[1]
    error = TaskObjective(task, build, examples=(64,), measure="error").evaluate([(1,)], 0)[0]
    assert error.value == pytest.approx(1 - score(build((1,)), fitness[:64]).accuracy)
    for bad in ({"measure": "bleu"}, {"examples": ()}, {"examples": (64, 16)}):
        with pytest.raises(ConfigError):
            TaskObjective(task, build, **bad)  # type: ignore[arg-type]
