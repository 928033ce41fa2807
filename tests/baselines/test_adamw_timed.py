"""AdamW by plan: one trainer for every rate, schedule and length, equal to one made for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.adamw import AdamW
from baselines.adamw_settings import AdamWSettings
from baselines.adamw_trainer import Trainer
from baselines.ngram import NGram
from clso.baseline import BaselineJob, TrainingPlan
from clso.config import RunConfig
from clso.data import load_corpus
from clso.energy import open_meter
from clso.errors import ConfigError
from clso.language import SpaceContext, token_blocks
from clso.ledger import Ledger
from clso.models.gpt2 import text_loss
from clso.models.hf import load_hf


@pytest.fixture
def job(tiny: RunConfig, tmp_path: Path) -> BaselineJob:
    corpus = load_corpus(tiny.data, tiny.tokenizer)
    context = SpaceContext.of(tiny, "cpu", lambda: corpus)
    return BaselineJob(tiny, context, "cpu", tmp_path, Ledger(open_meter("null")), lambda _: None)


@pytest.mark.parametrize(
    ("schedule", "steps", "stop_at"), [("constant", 8, 8), ("cosine", 4, 4), ("cosine", 8, 3), ("constant", 8, 3)]
)
def test_a_plan_is_what_a_trainer_of_its_own_does(job: BaselineJob, schedule: str, steps: int, stop_at: int) -> None:
    timed = AdamW(AdamWSettings()).timed(job, 8)
    timed.prepare()
    timed.run(5, TrainingPlan(1e-2, "constant", 8, 8))  # whatever was trained before leaves nothing behind
    loss = timed.run(1, TrainingPlan(3e-3, schedule, steps, stop_at))
    own = Trainer(job.model_config, AdamWSettings(lr=(3e-3,), schedule=schedule, steps=steps), "cpu")
    own.compile(job.corpus.tokens("train"), job.corpus.tokens("valid"), job.config.valid_tokens)
    own.reset(1)
    own.train(stop_at)
    assert loss == own.quick_score()


def test_a_curve_ends_where_a_run_does_and_the_model_is_saved(job: BaselineJob, tmp_path: Path) -> None:
    timed = AdamW(AdamWSettings()).timed(job, 7)
    timed.prepare()
    plan = TrainingPlan(3e-3, "cosine", 7, 7)
    curve = timed.curve(0, plan, 3)
    assert [step for step, _ in curve] == [3, 6, 7]
    assert curve[-1][1] == timed.run(0, plan)
    timed.save(tmp_path / "model")
    sample = token_blocks(job.corpus.tokens("valid"), job.config.n_positions, job.config.valid_tokens // 32)
    assert text_loss(load_hf(tmp_path / "model"), sample) == pytest.approx(curve[-1][1], abs=1e-5)
    assert timed.describe()["precision"] == "fp32"


def test_other_baselines_are_not_timed(job: BaselineJob) -> None:
    with pytest.raises(ConfigError, match="timed by repetition; got 'NGram'"):
        NGram(NGram.Settings()).timed(job, 1)
