"""Batches of documents of mixed lengths: what they hold, and that every layout computes the same loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clso.errors import ClsoError, ConfigError
from clso.models.vsla_variants import VSLAFull, VSLALocal
from clso.profiling import ProfileSettings
from clso.profiling.layout_names import LAYOUTS
from clso.profiling.layouts import MixSubject, slots_of
from clso.profiling.mixes import parse_mix
from clso.profiling.run import run_profile

SIZES = {
    "vocab_size": 40,
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 2,
    "device": "cpu",
    "energy": "null",
}


def test_a_batch_holds_quantiles_in_an_order_that_is_drawn() -> None:
    mix = parse_mix("choice:512,1024,2048,4096")
    assert sorted(mix.lengths(8, seed=0)) == [512, 512, 1024, 1024, 2048, 2048, 4096, 4096]
    assert mix.lengths(8, seed=0) == mix.lengths(8, seed=0) != mix.lengths(8, seed=1)
    assert sorted(parse_mix("uniform:1-10").lengths(10, 0)) == list(range(1, 11))
    lognormal = sorted(parse_mix("lognormal:5,1,400").lengths(101, 0))
    assert lognormal[50] == round(torch.tensor(5.0).exp().item())
    assert lognormal[-1] == 400


def test_documents_of_a_text(tmp_path: Path) -> None:
    for i, n in enumerate((10, 30, 20)):
        (tmp_path / f"{i}.txt").write_text("x" * n)
    assert sorted(parse_mix(f"text:{tmp_path}").lengths(3, 0)) == [10, 20, 30]


@pytest.mark.parametrize(
    ("mix", "named"),
    [
        ("choice:", "choice:N,N,..."),
        ("choice:4,0", "choice:4,0 has 0"),
        ("uniform:9-3", "Did you mean 'uniform:3-9'"),
        ("uniform:9", "uniform:LOW-HIGH"),
        ("lognormal:5,0,9", "SIGMA above 0"),
        ("lognormal:5,1", "lognormal:MU,SIGMA,MAX"),
        ("choises:3", "Did you mean"),
        ("text:/no/such/text", "/no/such/text"),
    ],
)
def test_bad_mixes(mix: str, named: str) -> None:
    with pytest.raises(ClsoError, match=named):
        parse_mix(mix)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pad_to": 8}, "longest document, 9"),
        ({"micro": 9}, "micro is from 1"),
        ({"docs": 0}, "docs is at least 1"),
        ({"layouts": ("pakced",)}, "pakced"),
        ({"layouts": ("packed", "packed")}, "once"),
        ({"n_classes": 3}, "language models"),
    ],
)
def test_bad_settings_of_a_mix(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ProfileSettings(models=("vsla",), mix="choice:4,9", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [VSLAFull, VSLALocal])
@pytest.mark.parametrize("micro", [1, 3])
def test_every_layout_has_one_loss_and_one_gradient(kind: type[VSLAFull], micro: int) -> None:
    patterns = ("full", "full") if kind is VSLAFull else ("local:5", "local:3")
    config = kind.Config(vocab_size=40, n_positions=32, d_model=16, patterns=patterns)
    model = kind(config).double()
    model.init_weights(torch.Generator().manual_seed(0))
    lengths = (7, 20, 2, 20, 11, 1)
    found = []
    for layout in LAYOUTS:
        subject = MixSubject.of(
            model, lengths, layout, micro=micro, pad_to=32, vocab_size=40, seed=3
        )
        assert subject.n_slots == sum(slots_of(lengths, layout, micro, 32))
        subject.clear()
        losses = [part() for part in subject.micro_batches()]
        torch.autograd.backward(torch.stack(losses).sum())
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((torch.stack(losses).sum().detach(), gradient))
    for loss, gradient in found[1:]:
        torch.testing.assert_close(loss, found[0][0], atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-9, rtol=1e-9)
    assert slots_of(lengths, "packed", micro, 32) == list(lengths)
    assert slots_of(lengths, "padded", micro, 32) == [32] * 6
    assert slots_of(lengths, "sorted", 3, 32) == [2, 2, 11, 11, 20, 20]


def test_rows_tell_layouts_apart() -> None:
    settings = ProfileSettings(
        models=("vsla", "vsla-pyramid"),
        mix="choice:8,16,96",
        docs=3,
        pad_to=100,
        repeats=2,
        min_time_s=0.0,
        step=True,
        **SIZES,  # type: ignore[arg-type]
    )
    rows = run_profile(settings).rows
    assert [(r.model, r.layout) for r in rows] == [
        (m, x) for m in ("vsla", "vsla-pyramid") for x in LAYOUTS
    ]
    assert {r.status for r in rows} == {"ok"}
    assert all(r.flops_difference == 0 for r in rows)
    assert [r.n_slots for r in rows[:3]] == [300, 288, 120]
    assert all(r.n_tokens == 120 and sorted(r.document_lengths or ()) == [8, 16, 96] for r in rows)
    assert rows[0].peak_bytes > rows[1].peak_bytes > rows[2].peak_bytes  # type: ignore[operator]
    assert all(
        (r.step_time_s or 0) >= (r.forward_time_s or 1) + (r.backward_time_s or 1) for r in rows
    )
    assert rows[0].attention_backend == "sdpa by length"
    assert rows[3].attention_backend == "pyramid by chunks"
    assert rows[0].loss == pytest.approx(rows[2].loss, rel=1e-5)


def test_packed_is_for_models_that_have_it() -> None:
    settings = ProfileSettings(models=("transformer",), mix="choice:8", **SIZES)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="for models with packed"):
        run_profile(settings)


def test_nothing_is_allocated_or_timed_on_meta() -> None:
    settings = ProfileSettings(
        models=("vsla", "vsla-local"),
        lengths=(4096,),
        d_model=2048,
        n_layers=24,
        n_heads=16,
        vocab_size=50257,
        tied_head=True,
        device="meta",
    )
    full, local = run_profile(settings).rows
    assert full.parameters == local.parameters == 1_319_917_568
    assert full.forward_time_s is full.peak_bytes is None
    assert 0 < (local.flops_forward_formula or 0) < (full.flops_forward_formula or 0)
    for timed in ({"step": True}, {"mix": "choice:8"}):
        with pytest.raises(ConfigError, match="meta"):
            ProfileSettings(models=("vsla",), device="meta", **timed)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tied head"):
        run_profile(ProfileSettings(models=("lstm",), tied_head=True, device="cpu"))
