"""Measurements held against what can be worked out by hand."""

from __future__ import annotations

import math
import re
import sys
import time

import pytest
import sequence_models
import torch
from profiled import settings
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from clso import plugins
from clso.energy import EnergyMeter
from clso.energy.counter import CounterBackend, CounterLimits
from clso.profiling import ProfileSettings
from clso.profiling.flops import flop_formulas
from clso.profiling.measure import Row, measure
from clso.profiling.memory import LiveBytes
from clso.profiling.models import find_models
from clso.profiling.run import Profile, run_profile
from clso.profiling.subject import Subject
from clso.profiling.watch import Watch

BATCH, D, V, LAYERS = 2, 32, 50, 2


def row(found: Profile, model: str, length: int) -> Row:
    return next(r for r in found.rows if (r.model, r.length) == (model, length))


def exponent(found: Profile, model: str, quantity: str) -> float:
    value = next(e.exponent for e in found.scaling if (e.model, e.quantity) == (model, quantity))
    assert value is not None
    return value


def test_every_cell_is_there_and_whole(measured: Profile) -> None:
    assert [(r.model, r.length) for r in measured.rows[:5]] == [
        ("bigram", 128),
        ("lstm", 128),
        ("transformer", 128),
        ("full-attention", 128),
        ("bigram", 256),
    ]
    assert {r.status for r in measured.rows} == {"ok"}
    assert all(
        (r.forward_time_s or 0) > 0 and (r.backward_time_s or 0) > 0 and r.n_repeats == 2
        for r in measured.rows
    )


@pytest.mark.parametrize(
    ("model", "n"),
    [
        ("bigram", 2 * V * D),
        ("lstm", 2 * V * D + LAYERS * (8 * D * D + 8 * D)),
        ("transformer", 2 * V * D + LAYERS * 4 * D * D),
    ],
)
def test_parameters(measured: Profile, model: str, n: int) -> None:
    assert row(measured, model, 128).parameters == n


@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize(
    ("model", "body", "attention"),
    [("bigram", 0, 0), ("lstm", 16 * LAYERS, 0), ("transformer", 8 * LAYERS, 4 * LAYERS)],
)
def test_forward_flops_of_fused_kernels_are_counted(
    measured: Profile, length: int, model: str, body: int, attention: int
) -> None:
    expected = BATCH * (
        2 * length * D * V + body * length * D * D + attention * length * length * D
    )
    found = row(measured, model, length)
    assert found.flops_forward == found.flops_forward_formula == expected
    assert found.flops_difference == 0


def test_written_out_attention_counts_as_the_fused_one_forward(measured: Profile) -> None:
    assert (
        row(measured, "full-attention", 256).flops_forward
        == row(measured, "transformer", 256).flops_forward
    )


def test_backward_flops(measured: Profile) -> None:
    """Two products where forward has one; the fused attention computes its scores once more."""
    for model, again in (
        ("bigram", 0),
        ("lstm", 0),
        ("full-attention", 0),
        ("transformer", 2 * LAYERS * BATCH * 256**2 * D),
    ):
        found = row(measured, model, 256)
        assert found.flops_forward is not None
        assert found.flops_backward == 2 * found.flops_forward + again, model


@pytest.mark.parametrize("name", plugins.available("models"))
def test_the_watch_counts_as_torchs_counter_does(name: str) -> None:
    """In torch's own counter, with the same formulas; a convolution's in groups are those of its
    groups."""
    (family,) = find_models(
        ProfileSettings((name,), (48,), d_model=16, n_heads=2, vocab_size=V, device="cpu")
    )
    subject = Subject.draw(family.build(), BATCH, 48, V, 0, seed=0)
    with Watch([], None) as watch:
        subject.loss().backward()
    own = {
        op: formula
        for op, formula in flop_formulas().items()
        if flop_registry.get(op) is not formula
    }
    for formula in own.values():
        formula._get_raw = True  # type: ignore[attr-defined]
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        subject.loss().backward()
    assert watch.flops == counter.get_total_flops() > 0


def test_a_convolution_in_groups_is_its_groups() -> None:
    def backward_flops(convolution: torch.nn.Module, n: int) -> int:
        x = torch.ones(BATCH, n, 20, requires_grad=True)
        out = convolution(x).sum()
        with Watch([], None) as watch:
            out.backward()
        return watch.flops

    for kind in (torch.nn.Conv1d, torch.nn.ConvTranspose1d):
        alone = backward_flops(kind(4, 6, 3), 4)
        assert alone == 2 * 2 * BATCH * (18 if kind is torch.nn.Conv1d else 20) * 4 * 6 * 3
        assert backward_flops(kind(12, 18, 3, groups=3), 12) == 3 * alone


def test_activations_of_the_bigram_are_exact(measured: Profile) -> None:
    """Kept for the backward pass: embeddings, log-probabilities, and two scalars of the loss; all
    float32."""
    for length in (128, 256, 512):
        assert row(measured, "bigram", length).activation_bytes == 4 * (
            BATCH * length * (D + V) + 2
        )


def test_exponents(measured: Profile) -> None:
    assert exponent(measured, "lstm", "flops_forward") == pytest.approx(1, abs=1e-9)
    assert exponent(measured, "bigram", "activation_bytes") == pytest.approx(1, abs=1e-3)
    assert exponent(measured, "lstm", "activation_bytes") == pytest.approx(1, abs=0.02)
    assert exponent(measured, "transformer", "activation_bytes") == pytest.approx(1, abs=0.02)
    assert exponent(measured, "full-attention", "activation_bytes") > 1.7
    assert exponent(measured, "transformer", "flops_forward") > 1.3


def test_peak_is_what_the_allocator_sees() -> None:
    """The bigram's kernels have no scratch, so the profiler of allocations gives the same peak to
    the byte."""
    model = sequence_models.Bigram(sequence_models.SequenceConfig(V, D))
    subject = Subject.draw(model, BATCH, 300, V, 0, seed=0)
    with LiveBytes(subject.held()) as live:
        subject.loss().backward()
    subject.clear()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        subject.loss().backward()
        subject.clear()
    now = peak = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    assert live.held_bytes == 4 * 2 * V * D + 8 * 2 * BATCH * 300
    assert live.peak_bytes - live.held_bytes == peak > 0


def test_gradient_norm_is_that_of_the_same_weights_and_tokens(measured: Profile) -> None:
    config = sequence_models.SequenceConfig(V, D, n_positions=512)
    model = sequence_models.Lstm(config).init_weights(torch.Generator().manual_seed(0))
    subject = Subject.draw(model, BATCH, 256, V, 0, seed=0)
    subject.loss().backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    found = row(measured, "lstm", 256)
    assert found.gradient_norm == pytest.approx(norm.item(), rel=1e-5)
    assert found.loss == pytest.approx(math.log(V), rel=0.01)


def test_classifiers_and_bfloat16() -> None:
    found = run_profile(
        settings("Lstm", "Transformer", lengths=(16,), n_classes=3, dtype="bfloat16")
    )
    assert [r.status for r in found.rows] == ["ok", "ok"]
    for r in found.rows:
        assert r.flops_difference == 0
        assert r.loss == pytest.approx(math.log(3), rel=0.05)


def test_what_is_not_measured_is_none_with_a_reason() -> None:
    (found,) = run_profile(settings("NoFormula", lengths=(16,), repeats=1)).rows
    assert found.status == "ok"
    assert found.model == "NoFormula"
    for name in (
        "flops_forward_formula",
        "energy_j",
        "energy_net_j",
        "forward_time_std_s",
        "backward_time_std_s",
    ):
        assert getattr(found, name) is None
        assert found.notes[name]
    assert found.flops_difference is None


def test_a_model_that_raises_is_a_row() -> None:
    found = run_profile(settings("Failing", "Bigram", lengths=(16, 64)))
    assert [(r.model, r.status) for r in found.rows] == [
        ("failing", "ok"),
        ("bigram", "ok"),
        ("failing", "failed"),
        ("bigram", "ok"),
    ]
    assert found.rows[2].reason == "RuntimeError: too long for me"
    assert found.rows[2].forward_time_s is None


def test_out_of_memory_is_a_status_and_longer_lengths_are_skipped() -> None:
    found = run_profile(
        settings("FullAttention", "Bigram", lengths=(32, 256, 512), memory_budget_bytes=3_000_000)
    )
    assert [r.status for r in found.rows if r.model == "bigram"] == ["ok"] * 3
    full = [r for r in found.rows if r.model == "full-attention"]
    assert [r.status for r in full] == ["ok", "out-of-memory", "skipped"]
    assert "3,000,000 bytes" in str(full[1].reason)
    assert full[1].parameters == full[2].parameters == full[0].parameters
    assert full[2].peak_bytes is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA is Linux's")
def test_an_allocation_larger_than_the_machine_is_a_status() -> None:
    (found,) = run_profile(settings("Greedy", lengths=(16,))).rows
    assert found.status == "out-of-memory"
    assert "allocate" in str(found.reason)


def test_a_cell_that_takes_too_long_is_a_status_and_longer_lengths_are_skipped() -> None:
    found = run_profile(settings("Slow", "Bigram", lengths=(16, 80, 128), max_time_s=2.0))
    assert [r.status for r in found.rows if r.model == "bigram"] == ["ok"] * 3
    slow = [r for r in found.rows if r.model == "slow"]
    assert [(r.status, r.reason) for r in slow] == [
        ("ok", None),
        ("skipped", "over 2 s"),
        ("skipped", "over 2 s at 80 tokens"),
    ]
    assert slow[2].parameters == slow[0].parameters
    assert slow[1].forward_time_s is None


def test_a_cell_is_not_begun_where_a_shorter_one_says_that_it_takes_too_long() -> None:
    found = run_profile(settings("Slow", lengths=(16, 1024), max_time_s=1.0))
    assert [r.status for r in found.rows] == ["ok", "skipped"]
    assert re.fullmatch(
        r"over 1 s, for a pass takes [\d.]+ s at 16 tokens", str(found.rows[1].reason)
    )


def test_repetitions_end_with_the_cells_time() -> None:
    (found,) = run_profile(settings("Slow", lengths=(16,), repeats=1000, max_time_s=1.0)).rows
    assert found.status == "ok"
    assert 1 < (found.n_repeats or 0) <= 50  # of 0.02 s and more


def test_ctrl_c_keeps_what_is_done() -> None:
    found = run_profile(settings("Stopping", lengths=(16, 64)))
    assert found.interrupted
    assert [(r.length, r.status) for r in found.rows] == [(16, "ok")]


def test_energy_of_a_pass() -> None:
    """A source of 3 W, 1 W of it idle: joules are per pass, and two thirds are net."""
    limits = CounterLimits(resolution_s=1e-4, max_w=100.0)
    backend = CounterBackend("replay", lambda: [3 * time.perf_counter()], limits, time.perf_counter)
    model = sequence_models.Transformer(sequence_models.SequenceConfig(V, D))
    with EnergyMeter(backend) as meter:
        meter.idle_w = 1.0
        found = measure(
            lambda: Subject.draw(model, BATCH, 64, V, 0, seed=0),
            Row("transformer", 64, BATCH),
            ProfileSettings(("transformer",), repeats=5, min_time_s=0.1),
            meter,
        )
    assert found.energy_j is not None
    assert found.energy_net_j == pytest.approx(found.energy_j * 2 / 3, rel=1e-2)
    spent_s = (found.forward_time_s or 0) + (found.backward_time_s or 0)
    # Joules are the mean of the passes and times their median, which another process does not
    # stretch.
    assert 1.5 < found.energy_j / spent_s < 15


def test_equal_seeds_give_equal_counts() -> None:
    first, second = (
        run_profile(settings("Transformer", lengths=(32,), seed=4)).rows[0] for _ in range(2)
    )
    assert (first.loss, first.gradient_norm, first.peak_bytes) == (
        second.loss,
        second.gradient_norm,
        second.peak_bytes,
    )
    assert run_profile(settings("Transformer", lengths=(32,), seed=5)).rows[0].loss != first.loss
