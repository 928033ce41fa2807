"""Training steps that are replayed as CUDA graphs, and the batches of few shapes that they take."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clso.tasks.base import load_task
from clso.tasks.models import build_model
from clso.tasks.scoring import answers, make_batch
from clso.tasks.train import TrainSettings, fit

STORIES = ("stories", {"kind": 8, "max_sentences": 6, "n_train": 200, "n_valid": 60, "n_test": 10})
COPY = ("copy", {"n_train": 200, "n_valid": 60, "n_test": 10})
FAMILIES = (
    *("simple-nsm", "advanced-hybrid", "sequential-hybrid", "lstm", "transformer"),
    *("linformer", "performer", "mamba", "rwkv", "memn2n"),
)


@pytest.mark.parametrize("of", [STORIES, COPY], ids=["class", "tokens"])
@pytest.mark.parametrize("family", FAMILIES)
def test_longer_batches_change_no_loss(family: str, of: tuple[str, dict[str, Any]]) -> None:
    task = load_task(*of, seed=0)
    examples, rows = task.split("train"), np.arange(1, 9)
    model = build_model(family, task, {"d_model": 16, "n_heads": 2}, seed=1).eval()
    losses = []
    for few_shapes in (False, True):
        batch = make_batch(examples, rows, "cpu", few_shapes=few_shapes)
        logits, targets = answers(model, batch)
        losses.append(F.cross_entropy(logits, targets, ignore_index=0 if of is COPY else -100))
    width = batch.tokens.shape[1]
    assert width % 16 == 0 or width == examples.tokens.shape[1]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="graphs need a CUDA device")
@pytest.mark.parametrize("of", [STORIES, COPY], ids=["class", "tokens"])
@pytest.mark.parametrize("family", FAMILIES)
def test_replayed_steps_train_as_launched_ones(family: str, of: tuple[str, dict[str, Any]]) -> None:
    task = load_task(*of, seed=0)
    model = build_model(family, task, {"d_model": 32, "n_heads": 2}, seed=1).cuda()
    launched = copy.deepcopy(model)
    vars(launched)["capturable"] = False
    settings = TrainSettings(steps=24, eval_every=8, warmup=0)
    found, expected = (
        fit(m, task, settings, 1e-3, seed=3, device="cuda:0") for m in (model, launched)
    )
    assert found.n_tokens == expected.n_tokens
    for (_, loss), (_, wanted) in zip(found.train_curve, expected.train_curve, strict=True):
        assert loss == pytest.approx(wanted, rel=2e-3)
