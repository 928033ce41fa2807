"""AdamW by plan: one trainer for every rate, schedule and length, equal to one made for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.baseline import BaselineJob, TrainingPlan
from clso.baselines.adamw.baseline import AdamW
from clso.baselines.adamw.settings import AdamWSettings
from clso.baselines.adamw.timed import TimedAdamW
from clso.baselines.adamw.trainer import Trainer
from clso.baselines.ngram import NGram
from clso.config import RunConfig
from clso.data import load_corpus
from clso.energy import open_meter
from clso.energy.ledger import Ledger
from clso.errors import ConfigError
from clso.models.gpt2 import GPT2, text_loss
from clso.models.hf import load_hf
from clso.models.memory import MemoryModel
from clso.models.store import load_model
from clso.space.language import token_blocks


@pytest.fixture
def job(tiny: RunConfig, tmp_path: Path) -> BaselineJob:
    corpus = load_corpus(tiny.data, tiny.tokenizer)
    ledger = Ledger(open_meter("null"))
    return BaselineJob(tiny, lambda: corpus, "cpu", tmp_path, ledger, lambda _: None)


@pytest.mark.parametrize(
    ("schedule", "steps", "stop_at"),
    [("constant", 8, 8), ("cosine", 4, 4), ("cosine", 8, 3), ("constant", 8, 3)],
)
def test_a_plan_is_what_a_trainer_of_its_own_does(
    job: BaselineJob, schedule: str, steps: int, stop_at: int
) -> None:
    timed = AdamW(AdamWSettings()).timed(job, 8)
    timed.prepare()
    # whatever was trained before leaves nothing behind
    timed.run(5, TrainingPlan(1e-2, "constant", 8, 8))
    loss = timed.run(1, TrainingPlan(3e-3, schedule, steps, stop_at))
    own = Trainer(
        job.model_config, AdamWSettings(lr=(3e-3,), schedule=schedule, steps=steps), "cpu"
    )
    own.compile(job.corpus.tokens("train"), job.corpus.tokens("valid"), job.config.valid_tokens)
    own.reset(1)
    own.train(stop_at)
    assert loss == own.quick_score()


VARIANTS = [
    {"batch": 8},
    {"tied_head": True},
    {"warmup": 3},
    {"betas": (0.9, 0.95)},
    {"weight_decay": 0.1},
    {"grad_clip": 0.05},
    {"batch": 2, "tied_head": True, "warmup": 2, "grad_clip": 1.0},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: ",".join(v))
def test_a_variant_is_what_a_trainer_with_its_settings_does(
    job: BaselineJob, variant: dict[str, Any]
) -> None:
    timed = AdamW(AdamWSettings()).timed(job, 8)
    plain = TrainingPlan(3e-3, "cosine", 8, 6)
    plan = replace(plain, variant=tuple(variant.items()))
    timed.prepare()
    before = timed.run(1, plain)
    loss = timed.run(1, plan)
    own = Trainer(
        replace(job.model_config, tied_head=variant.get("tied_head", False)),
        AdamWSettings(lr=(3e-3,), schedule="cosine", steps=8, **variant),
        "cpu",
    )
    own.compile(job.corpus.tokens("train"), job.corpus.tokens("valid"), job.config.valid_tokens)
    own.reset(1)
    own.train(6)
    assert loss == own.quick_score()
    assert loss != before
    assert timed.run(1, plain) == before


def test_no_more_than_two_variants_are_kept_ready(job: BaselineJob) -> None:
    timed = TimedAdamW(AdamWSettings(), job, 4)
    for batch in (1, 2, 3):
        timed.prepare(TrainingPlan(1e-3, "constant", 4, 4, (("batch", batch),)))
    assert [dict(variant)["batch"] for variant in timed._trainers] == [2, 3]
    assert timed.describe()["batch"] == 3


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ((("lr", 1e-3),), "sets what its plans do not; got 'lr'"),
        ((("batsch", 8),), "got 'batsch'"),
        ((("batch", 0),), "batch is at least 1"),
        ((("warmup", 4),), "warmup is shorter than steps"),
        ((("tied_head", 1),), "tied_head is true or false"),
    ],
)
def test_a_variant_that_cannot_be_is_found_before_training(
    job: BaselineJob, variant: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        TimedAdamW(AdamWSettings(), job, 8).check(TrainingPlan(1e-3, "cosine", 4, 4, variant))
    assert message in str(caught.value)


def test_a_curve_ends_where_a_run_does_and_the_model_is_saved(
    job: BaselineJob, tmp_path: Path
) -> None:
    timed = AdamW(AdamWSettings()).timed(job, 7)
    timed.prepare()
    plan = TrainingPlan(3e-3, "cosine", 7, 7)
    curve = timed.curve(0, plan, 3)
    assert [step for step, _ in curve] == [3, 6, 7]
    assert curve[-1][1] == timed.run(0, plan)
    timed.save(tmp_path / "model")
    sample = token_blocks(
        job.corpus.tokens("valid"), job.model_config.n_positions, job.config.valid_tokens // 32
    )
    assert text_loss(load_hf(tmp_path / "model"), sample) == pytest.approx(curve[-1][1], abs=1e-5)
    assert timed.describe()["precision"] == "fp32"


def test_with_memory_it_learns_from_the_statistics_text_and_the_mixture_is_saved(
    job: BaselineJob, tmp_path: Path
) -> None:
    timed = AdamW(AdamWSettings()).timed(job, 7)
    plan = TrainingPlan(3e-3, "cosine", 7, 7)
    mixed = replace(plan, variant=(("memory", True),))
    timed.prepare(mixed)
    loss = timed.run(0, mixed)
    timed.save(tmp_path / "mixed")
    model = load_model(tmp_path / "mixed")
    assert isinstance(model, MemoryModel)
    sample = token_blocks(
        job.corpus.tokens("valid"), job.model_config.n_positions, job.config.valid_tokens // 32
    )
    assert text_loss(model, sample) == pytest.approx(loss, abs=1e-5)
    assert loss < timed.run(0, plan)
    own = Trainer(job.model_config, AdamWSettings(lr=(3e-3,), schedule="cosine", steps=7), "cpu")
    statistics = job.corpus.tokens("statistics")
    own.compile(statistics, job.corpus.tokens("valid"), job.config.valid_tokens)
    own.reset(0)
    own.train(7)
    assert isinstance(model.lm, GPT2)
    assert torch.equal(own.model.wte.weight, model.lm.wte.weight)


def test_other_baselines_are_not_timed(job: BaselineJob) -> None:
    with pytest.raises(ConfigError, match="timed by repetition; got 'NGram'"):
        NGram(NGram.Settings()).timed(job, 1)
