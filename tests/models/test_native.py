"""Recurrences in C against those in plain torch, and what happens where they do not compile."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clso.errors import ConfigError
from clso.models import fused, native, selective
from clso.models.fused import with_gradients
from clso.models.layers import init_weights
from clso.models.nsm_mixer import StateMixer
from clso.models.selective import selective_scan
from clso.models.turing import TuringMemory

needs_compiler = pytest.mark.skipif(
    not native.is_possible(torch.zeros(1)), reason="needs a C compiler"
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, right in zip(found, expected, strict=True):
        size = right.abs().max().clamp_min(1)
        torch.testing.assert_close(one / size, right / size, rtol=0, atol=1e-5)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is compiled yet, and no kernel trusted."""
    monkeypatch.setattr(fused, "_trusted", {})
    native.compiler.cache_clear()
    native._library.cache_clear()
    yield
    native.compiler.cache_clear()
    native._library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("n_tokens", [1, 63, 64, 65, 150])
@pytest.mark.parametrize(("width", "n_states"), [(3, 4), (5, 16), (2, 11)])
def test_a_selective_scan(n_tokens: int, width: int, n_states: int) -> None:
    inputs = [
        draw(2, n_tokens, width),
        draw(2, n_tokens, width, seed=1).abs(),
        -draw(width, n_states, seed=2).abs(),
        draw(2, n_tokens, n_states, seed=3),
        draw(2, n_tokens, n_states, seed=4),
    ]
    exact = with_gradients(selective._plain, [x.double() for x in inputs])
    close(with_gradients(selective_scan, inputs), [x.float() for x in exact])


@needs_compiler
@pytest.mark.parametrize("chunk", [1, 3, 16])
@pytest.mark.parametrize("n_tokens", [1, 16, 37])
@pytest.mark.parametrize(("d", "n_slots"), [(6, 4), (32, 17)])
def test_a_turing_memory(chunk: int, n_tokens: int, d: int, n_slots: int) -> None:
    layer = TuringMemory(d, n_slots, chunk)
    init_weights(layer, torch.Generator().manual_seed(0))
    x = 2 * draw(2, n_tokens, d)

    def results(layer: TuringMemory, x: Tensor) -> list[Tensor]:
        layer.zero_grad()
        found = with_gradients(layer.run, [x])
        out = layer(x)
        grads = torch.autograd.grad((out + 1).square().sum(), list(layer.parameters()))
        return [*found, *grads]

    found = results(layer, x)
    close(found, [one.float() for one in results(layer.double(), x.double())])


@needs_compiler
@pytest.mark.parametrize("gate", ["gru", "lstm"])
@pytest.mark.parametrize("top_k", [0, 2])
@pytest.mark.parametrize(("n_batch", "n_tokens"), [(3, 50), (1, 5000)])
def test_what_tokens_read_without_a_gradient(
    gate: Any, top_k: int, n_batch: int, n_tokens: int
) -> None:
    mixer = StateMixer(32, 4, 5, gate=gate, top_k=top_k, chunk=8)
    init_weights(mixer, torch.Generator().manual_seed(0))
    with torch.no_grad():
        mixer.importance[1:3] = torch.tensor([0.0, 2.0])
        mixer.token_maps.bias.normal_(generator=torch.Generator().manual_seed(1))
    x = draw(n_batch, n_tokens, 32)
    with torch.no_grad():
        found = mixer(x)
    close([found], [mixer(x).detach()])


@needs_compiler
def test_of_equal_states_the_first_is_written_to() -> None:
    mixer = StateMixer(8, 2, 4, top_k=1, chunk=2)
    init_weights(mixer, torch.Generator().manual_seed(0))
    with torch.no_grad():
        mixer.token_maps.weight[8:16] = 0.0  # route queries: all scores are zero
    x = draw(1, 6, 8)
    written = mixer.run(x).states.diff(dim=1).abs().amax((0, 1, 3)) > 1e-3
    assert written.tolist() == [True, False, False, False]
    assert torch.equal(mixer.run(x).routing[..., 0], torch.ones(1, 2, 6))


@needs_compiler
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x, a = draw(5, 40, 3), -draw(3, 4).abs()
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 7):
            torch.set_num_threads(n)
            found.append(
                with_gradients(
                    lambda x: selective_scan(x, x.abs(), a, a.new_ones(5, 40, 4), draw(5, 40, 4)),
                    [x],
                )
            )
    finally:
        torch.set_num_threads(before)
    for one in found[1:]:
        assert all(map(torch.equal, one, found[0]))


@needs_compiler
def test_a_counter_of_operators_sees_plain_torch() -> None:
    layer = TuringMemory(8, 4, 4)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(draw(1, 16, 8))
    assert counter.get_total_flops() == layer.flops(16)


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("command", ["", "no-such-compiler-at-all"])
def test_without_a_compiler_plain_torch_is_used(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", command)
    assert not native.is_possible(torch.zeros(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TuringMemory(8, 4, 4)(draw(1, 16, 8)).sum().backward()


@pytest.mark.usefixtures("forgetful")
def test_a_compiler_that_is_no_command_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", 'cc "')
    with pytest.raises(ConfigError, match="CC is a C compiler's command"):
        native.is_possible(torch.zeros(1))


@pytest.mark.usefixtures("forgetful")
def test_a_compiler_that_fails_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    inputs = [draw(1, 9, 3), draw(1, 9, 3).abs(), -draw(3, 4).abs(), draw(1, 9, 4), draw(1, 9, 4)]
    with pytest.warns(UserWarning, match="selective scan in C is left out, plain torch is used"):
        found = selective_scan(*inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(selective_scan(*inputs), found)
    assert torch.equal(found, selective._plain(*inputs))


@needs_compiler
@pytest.mark.usefixtures("forgetful")
def test_a_damaged_cache_is_passed_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = Path(native._library("turing")._name).read_bytes()
    native._library.cache_clear()
    compiled: list[Path] = []

    def compile_(command: tuple[str, ...], code: Path, path: Path) -> None:
        path.write_bytes(good if compiled else b"no library")
        compiled.append(path)

    monkeypatch.setattr(native, "_compile", compile_)
    monkeypatch.setenv("CLSO_CACHE", os.fspath(tmp_path))
    layer, x = TuringMemory(8, 4, 4), draw(1, 16, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
    assert len(compiled) == 2
    assert compiled[0].parent == tmp_path / "native" != compiled[1].parent


@needs_compiler
@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize(
    "change", ["a flipped bit", "no checksum", "a folder of others", "nothing"]
)
def test_only_what_was_compiled_here_is_loaded(
    change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = Path(native._library("turing")._name).read_bytes()
    compiled: list[Path] = []

    def compile_(command: tuple[str, ...], code: Path, path: Path) -> None:
        path.unlink(missing_ok=True)  # what is loaded must not change
        path.write_bytes(good)
        compiled.append(path)

    monkeypatch.setattr(native, "_compile", compile_)
    monkeypatch.setenv("CLSO_CACHE", os.fspath(tmp_path))
    native._library.cache_clear()
    path = Path(native._library("turing")._name)
    assert path.parent == tmp_path / "native"
    if change == "a flipped bit":
        path.unlink()
        path.write_bytes(good[:-9] + bytes([good[-9] ^ 4]) + good[-8:])
    elif change == "no checksum":
        path.with_suffix(".sha256").unlink()
    elif change == "a folder of others":
        path.parent.chmod(0o777)
    native._library.cache_clear()
    again = Path(native._library("turing")._name)
    assert len(compiled) == (1 if change == "nothing" else 2)
    assert (again == path) == (change != "a folder of others")
