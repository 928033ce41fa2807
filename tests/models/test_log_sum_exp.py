"""Log-sum-exp in tiles against torch's own on whole rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clso.models import log_sum_exp as module
from clso.models import native
from clso.models.head_loss import row_losses
from clso.models.log_sum_exp import log_sum_exp


@pytest.fixture(autouse=True, params=["C", "torch"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in both forms; without a compiler both are torch's."""
    if request.param == "torch":
        monkeypatch.setattr(native, "is_possible", lambda x: False)
    elif native.is_possible(torch.zeros(1)):
        assert module._in_c(torch.zeros(1))


def operands(n: int, v: int, d: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, d, generator=generator), torch.randn(v, d, generator=generator)


@pytest.mark.parametrize(("n", "v"), [(1, 1), (7, 1024), (600, 1025), (1030, 3000)])
def test_tiles_give_what_whole_rows_give(n: int, v: int) -> None:
    rows, table = operands(n, v)
    expected = torch.logsumexp(rows.double() @ table.double().T, 1)
    assert log_sum_exp(rows, table).double() == pytest.approx(expected, abs=1e-5)


def test_logits_far_from_zero_neither_overflow_nor_vanish() -> None:
    rows, table = operands(64, 2500)
    # later columns are far above earlier ones in some rows, far below in others
    table[:, 0] = torch.linspace(-40, 40, 2500)
    rows[:, 0] = torch.linspace(-30, 30, 64)
    expected = torch.logsumexp(rows.double() @ table.double().T, 1)
    assert log_sum_exp(rows, table).double() == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_impossible_tokens_weigh_nothing() -> None:
    rows, table = operands(5, 1500)
    rows[:, 0] = 1
    table[:1100, 0] = -torch.inf
    expected = torch.logsumexp(rows @ table[1100:].T, 1)
    assert log_sum_exp(rows, table) == pytest.approx(expected, abs=1e-5)


def test_nan_is_never_hidden() -> None:
    rows, table = operands(4, 2000)
    rows[2, 3] = torch.nan
    assert log_sum_exp(rows, table).isnan().tolist() == [False, False, True, False]


def test_a_group_does_not_depend_on_its_company() -> None:
    rows, table = operands(3 * 700, 1500)
    together = log_sum_exp(rows, table, 700)
    assert torch.equal(together[700:1400], log_sum_exp(rows[700:1400], table, 700))


def test_a_prime_number_of_rows_is_a_few_large_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile was a divisor of the group: of packed documents' prime lengths, one row."""
    rows, table = operands(2 * 1031, 300)
    tiles: list[int] = []
    inner = module._one_tile_of_rows

    def counted(part: torch.Tensor, *rest: Any) -> torch.Tensor:
        tiles.append(len(part))
        return inner(part, *rest)

    monkeypatch.setattr(module, "_one_tile_of_rows", counted)
    found = log_sum_exp(rows, table, 1031)
    assert tiles == [512, 512, 7] * 2
    assert found == pytest.approx(torch.logsumexp(rows @ table.T, 1), abs=1e-5)


def test_row_losses_are_cross_entropies() -> None:
    rows, table = operands(40, 90)
    targets = torch.arange(40) % 90
    expected = torch.nn.functional.cross_entropy(rows @ table.T, targets, reduction="none")
    assert row_losses(rows, table, targets) == pytest.approx(expected, abs=1e-5)


def test_a_loss_that_is_trained_on_has_the_gradient_of_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(5)
    rows = torch.randn(7, 8, generator=generator, requires_grad=True)
    weight = torch.randn(11, 8, generator=generator, requires_grad=True)
    targets = torch.randint(11, (7,), generator=generator)
    loss = row_losses(rows, weight, targets)
    with torch.no_grad():
        assert row_losses(rows, weight, targets) == pytest.approx(loss.detach(), abs=1e-5)
    got = torch.autograd.grad(loss.sum(), (rows, weight))
    whole = torch.nn.functional.cross_entropy(rows @ weight.T, targets, reduction="sum")
    for one, other in zip(got, torch.autograd.grad(whole, (rows, weight)), strict=True):
        torch.testing.assert_close(one, other)
