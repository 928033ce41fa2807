"""The grown models' losses do not depend on who computes them: the batch, the module, float64,
transformers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.data import load_corpus
from clso.models.gpt2 import text_loss
from clso.models.hf import save_hf
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space.context import SpaceContext

_TOLERANCE = 1e-5  # nats per token
_SIZES = {"d32-t32": (32, 32, 4096), "d128-t128": (128, 128, 1024)}


@pytest.fixture(scope="module", params=list(_SIZES.values()), ids=list(_SIZES))
def scored(
    request: pytest.FixtureRequest, english_path: Path
) -> tuple[GPT2Space, Tensor, list[tuple[int, ...]]]:
    """A grown space, token blocks of its text, and 20 random genomes."""
    d_model, n_positions, n_tokens = request.param
    model = {"n_layers": 2, "n_heads": 2, "d_model": d_model, "n_positions": n_positions}
    space = GPT2Space(
        SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{english_path}", "bpe:300"), options=model
        )
    )
    rng = random.Random(0)
    return space, space.blocks("fitness", n_tokens), [space.sample(rng) for _ in range(20)]


@torch.no_grad()
def exact_loss(model: nn.Module, blocks: Tensor) -> float:
    """Mean loss of a module that gives logits, in its own precision up to there and in float64 from
    there on."""
    logits: Any = model(blocks[:, :-1])
    logits = getattr(logits, "logits", logits)
    return F.cross_entropy(logits.flatten(0, 1).double(), blocks[:, 1:].flatten()).item()


def test_batch_module_and_float64_agree(
    scored: tuple[GPT2Space, Tensor, list[tuple[int, ...]]],
) -> None:
    space, blocks, genomes = scored
    batched = space.losses(genomes, blocks)
    models = [space.model(g) for g in genomes]
    modules = [text_loss(m, blocks) for m in models]
    exact = [exact_loss(m.double(), blocks) for m in models]
    assert modules == pytest.approx(exact, abs=_TOLERANCE, rel=0)
    assert batched.tolist() == pytest.approx(exact, abs=_TOLERANCE, rel=0)
    assert batched.std() > 0.1  # the genomes differ, or agreement would say nothing


def test_transformers_agrees(
    scored: tuple[GPT2Space, Tensor, list[tuple[int, ...]]], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    space, blocks, genomes = scored
    theirs, exact = [], []
    for genome in genomes:
        model = space.model(genome)
        save_hf(model, tmp_path)
        theirs.append(
            exact_loss(transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval(), blocks)
        )
        exact.append(exact_loss(model.double(), blocks))
    assert theirs == pytest.approx(exact, abs=_TOLERANCE, rel=0)
