"""The AdamW baseline: it is AdamW to the last digits, it learns, it repeats, and it accounts for
what it spends."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clso.baseline import BaselineJob, run_baseline
from clso.baselines.adamw.baseline import AdamW
from clso.baselines.adamw.batches import IGNORED, block_starts, scoring_blocks
from clso.baselines.adamw.loss import summed_loss
from clso.baselines.adamw.settings import AdamWSettings, learning_rates
from clso.baselines.adamw.trainer import Trainer
from clso.config import RunConfig
from clso.data import load_corpus
from clso.energy import EnergyMeter
from clso.energy.counter import CounterBackend, CounterLimits
from clso.energy.ledger import Ledger
from clso.errors import ConfigError, DataError, EvaluationError
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.hf import load_hf
from clso.space.language import token_blocks

SIZES = GPT2Config(vocab_size=37, n_positions=16, d_model=16, n_layers=1, n_heads=2)


def markov_tokens(n: int, seed: int) -> np.ndarray[Any, Any]:
    """A text in which each of 37 tokens has two successors: log(2) nats a token, about log(37) for
    a unigram."""
    rng = np.random.default_rng(seed)
    choices = rng.integers(0, 2, n)
    tokens = np.zeros(n, dtype=np.uint16)
    for i in range(1, n):
        tokens[i] = (5 * tokens[i - 1] + 3 + 11 * choices[i]) % 37
    return tokens


TRAIN, VALID = markov_tokens(6000, 0), markov_tokens(1000, 1)


def trained(settings: AdamWSettings, seed: int = 0, train: np.ndarray[Any, Any] = TRAIN) -> Trainer:
    trainer = Trainer(SIZES, settings, "cpu")
    trainer.compile(train, VALID)
    trainer.reset(seed)
    trainer.train(settings.steps)
    return trainer


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", ()),
        ("lr", (0.0,)),
        ("lr", (-1e-3,)),
        ("lr", (math.nan,)),
        ("lr", (1e-3, 1e-3)),
        ("lr", "fast"),
        ("steps", 0),
        ("steps", 1.5),
        ("steps", True),
        ("batch", 0),
        ("schedule", "linear"),
        ("warmup", 500),
        ("warmup", -1),
        ("weight_decay", -0.1),
        ("weight_decay", math.inf),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("precision", "fp16"),
        ("kernels", "fast"),
        ("graph", 1),
        ("eval_every", 501),
        ("stop_after", -1),
        ("grad_clip", math.nan),
        ("pad_to", 0),
    ],
)
def test_bad_settings_are_named_in_one_line(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        AdamWSettings(**{name: value})  # type: ignore[arg-type]
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_take_lists_and_whole_numbers_as_a_recipe_gives_them() -> None:
    settings = AdamWSettings(lr=[1, 2e-3], weight_decay=0, betas=[0.9, 0.95])  # type: ignore[arg-type]
    assert settings.lr == (1.0, 2e-3)
    assert settings.betas == (0.9, 0.95)
    assert isinstance(settings.weight_decay, float)


def test_cosine_warms_up_and_ends_at_a_tenth() -> None:
    rates = learning_rates(AdamWSettings(steps=100, warmup=10, schedule="cosine"), 2e-3)
    assert rates[0] == pytest.approx(2e-4)
    assert rates[9:11].tolist() == pytest.approx([2e-3, 2e-3], rel=1e-3)
    assert rates[-1] == pytest.approx(2e-4)
    assert bool((rates[10:].diff() <= 0).all())
    assert learning_rates(AdamWSettings(steps=3), 1e-3).tolist() == pytest.approx([1e-3] * 3)


def test_an_epoch_visits_every_block_once_and_the_next_one_cuts_elsewhere() -> None:
    n, t = 1000, 16
    starts = block_starts(n, t, steps=100, batch=3, seed=5).flatten()
    per_epoch = (n - 1 - int(starts[0]) % t) // t
    epoch = starts[:per_epoch].sort().values
    assert bool((epoch.diff() == t).all())
    assert int(starts.min()) >= 0
    assert int(starts.max()) + t + 1 <= n
    assert len({int(s) % t for s in starts}) > 1
    assert torch.equal(starts, block_starts(n, t, 100, 3, 5).flatten())
    assert not torch.equal(starts, block_starts(n, t, 100, 3, 6).flatten())
    assert block_starts(t + 1, t, 2, 2, 0).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError):
        block_starts(t, t, 1, 1, 0)


@pytest.mark.parametrize("most", [1, 4, 7, 1000])
def test_scoring_blocks_hold_every_target_once(most: int) -> None:
    batches, n_targets = scoring_blocks(VALID, 16, most)
    assert batches.shape[1] <= most
    blocks = batches.flatten(0, 1)
    kept = blocks[(blocks != IGNORED).all(1)]
    assert torch.equal(kept.long(), token_blocks(VALID, 16))
    assert n_targets == kept[:, 1:].numel() == int((blocks[:, 1:] != IGNORED).sum())
    few, n_few = scoring_blocks(VALID, 16, most, n_blocks=5)
    assert n_few == 5 * 16
    assert int((few[..., 1:] != IGNORED).sum()) == n_few


def test_padding_the_head_changes_no_loss_and_no_gradient() -> None:
    model = GPT2(SIZES).init_weights(torch.Generator().manual_seed(0))
    blocks = token_blocks(VALID, 16)[:4]
    outcomes = []
    for multiple in (1, 64):
        model.zero_grad()
        loss = summed_loss(model, blocks, multiple)
        loss.backward()  # type: ignore[no-untyped-call]
        assert model.head.weight.grad is not None
        outcomes.append((loss.item(), model.head.weight.grad.clone()))
    assert outcomes[0][0] == pytest.approx(outcomes[1][0], rel=1e-6)
    torch.testing.assert_close(outcomes[0][1], outcomes[1][1])


def test_it_is_the_textbook_loop() -> None:
    """Weights after 25 steps equal those of a loop written out with torch's plain AdamW."""
    settings = AdamWSettings(
        lr=(3e-3,),
        steps=25,
        batch=3,
        schedule="cosine",
        warmup=4,
        weight_decay=0.1,
        grad_clip=0.5,
        betas=(0.8, 0.95),
    )
    ours = trained(settings, seed=3)

    model = GPT2(SIZES).init_weights(torch.Generator().manual_seed(3))
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.95), foreach=False, fused=False)
    text = torch.from_numpy(TRAIN.astype(np.int64))
    losses = []
    starts = block_starts(len(TRAIN), 16, 25, 3, 3)
    for rate, row in zip(learning_rates(settings, 3e-3).tolist(), starts.tolist(), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model.token_losses(torch.stack([text[s : s + 17] for s in row])).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(ours.train_losses(), torch.tensor(losses), rtol=1e-4, atol=1e-5)
    plain = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(weights(ours), plain, rtol=1e-3, atol=1e-5)


def test_it_learns_far_below_the_unigram() -> None:
    trainer = trained(AdamWSettings(lr=(1e-2,), steps=150, batch=8))
    p = np.bincount(VALID) / len(VALID)
    unigram = -float((p[p > 0] * np.log(p[p > 0])).sum())
    assert trainer.quick_score() < unigram / 2
    assert trainer.quick_score() == pytest.approx(trainer.score(), abs=1e-5)
    assert trainer.score() == pytest.approx(
        text_loss(trainer.model, token_blocks(VALID, 16)), abs=1e-6
    )


def test_same_seed_is_bit_identical_in_one_go_in_pieces_and_after_other_work() -> None:
    settings = AdamWSettings(lr=(1e-2,), steps=30)
    first = weights(trained(settings, seed=4)).clone()
    other = trained(settings, seed=5)
    assert not torch.equal(weights(other), first)
    other.reset(4)
    other.train(7)
    other.train(23)
    assert torch.equal(weights(other), first)
    with pytest.raises(ValueError, match="scheduled"):
        other.train(1)


def test_tied_head_is_trained_as_one_matrix() -> None:
    config = GPT2Config(
        vocab_size=37, n_positions=16, d_model=16, n_layers=1, n_heads=2, tied_head=True
    )
    trainer = Trainer(config, AdamWSettings(lr=(1e-2,), steps=60, batch=8), "cpu")
    trainer.compile(TRAIN, VALID)
    trainer.reset(0)
    trainer.train(60)
    assert trainer.model.head.weight is trainer.model.wte.weight
    assert trainer.quick_score() < 3.0


def test_early_stopping_brings_back_the_best_weights() -> None:
    """200 tokens are soon learned by heart, so that valid gets worse again."""
    settings = AdamWSettings(lr=(2e-2,), steps=400, batch=4, eval_every=10, stop_after=3)
    trainer = Trainer(SIZES, settings, "cpu")
    trainer.compile(TRAIN[:200], VALID)
    trainer.reset(0)
    fit = trainer.fit()
    losses = dict(fit.curve)
    assert 0 < fit.best_step < fit.steps < 400
    assert fit.steps == fit.best_step + 3 * settings.eval_every
    assert fit.valid_loss == min(losses.values()) == losses[fit.best_step] < losses[fit.steps]
    assert trainer.quick_score() == fit.valid_loss


def test_tf32_and_broken_compilers_are_refused_where_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="tf32 needs a CUDA device"):
        Trainer(SIZES, AdamWSettings(precision="tf32"), "cpu")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nand a long trace")

    monkeypatch.setattr(torch, "compile", broken)
    trainer = Trainer(SIZES, AdamWSettings(kernels="compiled", steps=5), "cpu")
    with pytest.raises(ConfigError, match="no compiler") as caught:
        trainer.compile(TRAIN, VALID)
    assert "\n" not in str(caught.value)


def text(n_words: int, seed: int) -> str:
    """Lines of syllables; each of 12 has two successors."""
    rng, syllable, words = random.Random(seed), 0, []
    for i in range(n_words):
        syllable = (5 * syllable + 1 + 3 * rng.randrange(2)) % 12
        words.append("bcdfghjklmnp"[syllable] + ("a\n\n" if i % 40 == 39 else "a "))
    return "".join(words)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    folder = tmp_path / "text"
    folder.mkdir()
    for seed, (split, n_words) in enumerate((("train", 2500), ("valid", 400), ("test", 400))):
        (folder / f"{split}.txt").write_text(text(n_words, seed))
    return RunConfig(
        data=f"text:{folder}",
        tokenizer="bytes",
        device="cpu",
        energy="null",
        idle_s=0.0,
        seed=1,
        options={"n_layers": 1, "d_model": 16, "n_heads": 2, "n_positions": 16},
    )


def test_the_sweep_takes_the_best_rate_and_states_what_the_disk_holds(
    config: RunConfig, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings = {"lr": (1e-5, 1e-2, 1e38), "steps": 60, "batch": 8}
    result = run_baseline("adamw", settings, config, out, cache_dir=tmp_path / "cache")
    by_lr = result["by_lr"]
    assert [entry["lr"] for entry in by_lr] == [1e-5, 1e-2, 1e38]
    assert [entry["status"] for entry in by_lr] == ["ok", "ok", "diverged"]
    assert by_lr[2]["valid_loss"] is None
    assert by_lr[1]["valid_loss"] < by_lr[0]["valid_loss"] - 0.5
    best = result["best"]
    assert best["lr"] == 1e-2
    assert best["valid_loss"] == pytest.approx(by_lr[1]["valid_loss"], abs=1e-5)

    corpus = load_corpus(config.data, config.tokenizer, tmp_path / "cache")
    model = load_hf(out / "best")
    for split in ("valid", "test"):
        assert best[f"{split}_loss"] == text_loss(model, token_blocks(corpus.tokens(split), 16))
    assert (
        result["counts"]["train_tokens"]
        == 3 * result["counts"]["train_tokens_of_winner"]
        == 3 * 60 * 8 * 16
    )
    assert set(result["time_s"]) == {"data", "compile", "search", "validate", "test", "total"}
    assert result["energy_j"] is None
    assert result["energy_of_winner_j"] is None
    assert (
        by_lr[0]["energy_reason"]
        == result["energy_reason"]
        == "energy measurement was switched off"
    )
    assert json.loads((out / "result.json").read_text())["best"] == best


@pytest.fixture
def make_job(config: RunConfig, tmp_path: Path) -> Callable[[], BaselineJob]:
    """A job on a meter whose every window costs 10 J."""

    def make() -> BaselineJob:
        corpus = load_corpus(config.data, config.tokenizer, tmp_path / "cache")
        readings = count(step=10)
        limits = CounterLimits(resolution_s=0.1, max_w=1e6)
        seconds = count()

        def clock() -> float:
            return float(next(seconds))

        meter = EnergyMeter(
            CounterBackend("replay", lambda: [float(next(readings))], limits, clock), clock=clock
        )
        return BaselineJob(config, lambda: corpus, "cpu", tmp_path, Ledger(meter), lambda _: None)

    return make


def test_the_winner_and_the_sweep_are_charged_apart(make_job: Callable[[], BaselineJob]) -> None:
    job = make_job()
    result = AdamW(AdamWSettings(lr=(1e-5, 1e-2), steps=20, batch=8)).run(job)
    assert [entry["energy_j"] for entry in result["by_lr"]] == pytest.approx([20.0, 20.0])
    assert result["energy_of_winner_j"] == pytest.approx(20.0)
    spent = job.ledger.summary()["energy_j"]["gross"]
    assert spent == {"compile": 10.0, "search": 20.0, "validate": 20.0, "test": 10.0, "total": 40.0}


def test_a_single_rate_is_scored_at_the_end_alone(make_job: Callable[[], BaselineJob]) -> None:
    job = make_job()
    result = AdamW(AdamWSettings(lr=(1e-2,), steps=20, batch=8)).run(job)
    assert (
        result["energy_of_winner_j"] == job.ledger.summary()["energy_j"]["gross"]["total"] == 10.0
    )
    assert result["by_lr"][0]["valid_loss"] == result["best"]["valid_loss"]
    assert result["counts"]["valid_tokens"] == 0


def test_a_run_in_which_every_rate_diverges_says_so(make_job: Callable[[], BaselineJob]) -> None:
    for lr in ((1e38,), (1e37, 1e38)):
        with pytest.raises(EvaluationError, match="at least one learning rate"):
            AdamW(AdamWSettings(lr=lr, steps=5)).run(make_job())


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _on_cuda(**options: Any) -> Trainer:
    settings = AdamWSettings(
        lr=(1e-2,), steps=57, batch=8, schedule="cosine", grad_clip=1.0, **options
    )
    trainer = Trainer(SIZES, settings, "cuda:0")
    trainer.compile(TRAIN, VALID)
    trainer.reset(0)
    trainer.train(20)
    trainer.train(37)
    return trainer


@cuda
def test_graphs_train_like_the_eager_loop() -> None:
    eager = _on_cuda(precision="fp32", kernels="eager", graph=False)
    graph = _on_cuda(precision="fp32", kernels="eager", graph=True)
    torch.testing.assert_close(graph.train_losses(), eager.train_losses(), rtol=1e-2, atol=1e-2)
    before = graph.train_losses()
    graph.reset(0)
    graph.train(57)
    torch.testing.assert_close(graph.train_losses(), before, rtol=1e-2, atol=1e-2)


@cuda
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_compiled_graphs_reach_the_loss_of_the_plain_loop(precision: str) -> None:
    plain = _on_cuda(precision="fp32", kernels="eager", graph=False)
    fast = _on_cuda(precision=precision, kernels="compiled", graph=True)
    assert fast.kernels == "compiled"
    assert fast.quick_score() == pytest.approx(plain.score(), abs=0.05)
    assert fast.quick_score() == pytest.approx(fast.score(), abs=0.02)


@cuda
def test_a_broken_compiler_is_reported_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", broken)
    trainer = _on_cuda(kernels="auto")
    assert (trainer.kernels, trainer.kernels_reason) == ("eager", "RuntimeError: no compiler")
    assert trainer.quick_score() < 3.0
