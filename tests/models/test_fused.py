"""A kernel is used once it has shown that it gives what plain torch gives, and else left out."""

from __future__ import annotations

import math
import sys
import types
import warnings

import pytest
import torch

from clso.models import fused, scan


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_trusted", {})


def test_a_kernel_is_checked_once_for_each_device() -> None:
    asked = []

    def check(found: float) -> float:
        asked.append(found)
        return found

    for _ in range(3):
        assert fused.is_trusted("one", "here", lambda: check(1e-6))
    assert asked == [1e-6]
    with pytest.warns(UserWarning, match="the kernel one is left out, plain torch is used: its"):
        assert not fused.is_trusted("one", "there", lambda: check(math.inf))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fused.is_trusted("one", "there", lambda: check(1e-6))  # and warned of once
    assert asked == [1e-6, math.inf]


def test_a_kernel_that_does_not_compile_is_left_out() -> None:
    def check() -> float:
        raise RuntimeError("out of shared memory\nand more")

    with pytest.warns(UserWarning, match="RuntimeError: out of shared memory$"):
        assert not fused.is_trusted("one", "here", check)


def test_a_difference_is_a_share() -> None:
    big, small = torch.tensor([200.0, 3.0]), torch.tensor([0.5])
    assert fused.difference([big + 1, small], [big, small]) == pytest.approx(1 / 200)
    assert fused.difference([big, small + 0.25], [big, small]) == pytest.approx(0.25)
    assert fused.difference([big * math.nan], [big]) == math.inf


@pytest.mark.parametrize("right", [True, False])
def test_a_scan_is_right_whatever_its_kernel_does(
    right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def kernel(decay, inputs, initial, *, reverse):  # type: ignore[no-untyped-def]
        calls.append(reverse)
        plain = scan._plain_back if reverse else scan._plain
        return plain(decay, inputs, initial) * (1.0 if right else 1.01)

    module = types.ModuleType("clso.models.triton_scan")
    module.linear_scan = kernel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "clso.models.triton_scan", module)
    monkeypatch.setattr("clso.models.triton_scan", module, raising=False)
    monkeypatch.setattr(scan, "is_possible", lambda x: True)
    decay, inputs = torch.rand(2, 9, 3, requires_grad=True), torch.randn(2, 9, 3)
    expected = scan._plain(decay.detach(), inputs, torch.zeros(2, 3))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            found = scan.linear_scan(decay, inputs)
            torch.testing.assert_close(found, expected)
            torch.autograd.backward(found.sum())
    assert len(said) == (0 if right else 1)
    # two calls of the check, then forward and backward twice
    assert len(calls) == (6 if right else 2)
