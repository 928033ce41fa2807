"""The same arithmetic has the same FLOPs however it is written; what has no formula is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from profiled import settings
from torch import Tensor
from torch.nn import functional as F

from clso.profiling.flops import flop_formulas, is_uncounted
from clso.profiling.run import run_profile
from clso.profiling.table import markdown_rows
from clso.profiling.watch import Watch

B, M, K, N = 2, 3, 5, 7


def x(*shape: int) -> Tensor:
    return torch.ones(*shape, requires_grad=True)


def watched(work: Callable[[], Tensor]) -> tuple[int, int, dict[str, int]]:
    """FLOPs of the forward and of the backward pass, and what was not counted."""
    with Watch([], None) as watch:
        out = work()
        forward = watch.flops
        (out.real if out.is_complex() else out).sum().backward()
    return forward, watch.flops - forward, dict(watch.uncounted)


@pytest.mark.parametrize(
    ("work", "forward"),
    [
        (lambda: x(M, K) @ x(K), 2 * M * K),
        (lambda: x(K) @ x(K, N), 2 * K * N),
        (lambda: torch.stack([x(M, K) @ v for v in x(N, K)]), 2 * M * K * N),
        (lambda: x(K) @ x(K), 2 * K),
        (lambda: torch.vdot(x(K), x(K)), 2 * K),
        (lambda: torch.addmv(x(M), x(M, K), x(K)), 2 * M * K),
        (lambda: torch.zeros(M).addmv_(x(M, K), x(K)), 2 * M * K),
        (lambda: torch.zeros(M, N).addmm_(x(M, K), x(K, N)), 2 * M * K * N),
        (lambda: torch.zeros(B, M, N).baddbmm_(x(B, M, K), x(B, K, N)), 2 * B * M * K * N),
        (lambda: torch.addbmm(x(M, N), x(B, M, K), x(B, K, N)), 2 * B * M * K * N),
        (lambda: torch.einsum("ij,j->i", x(M, K), x(K)), 2 * M * K),
        (lambda: F.bilinear(x(B, M), x(B, K), x(N, M, K)), 2 * B * N * M * K + 2 * B * N * K),
    ],
)  # fmt: skip
def test_products_however_they_are_written(work: Callable[[], Tensor], forward: int) -> None:
    found, backward, uncounted = watched(work)
    assert found == forward
    assert backward >= 0
    assert uncounted == {}


def test_the_way_back_of_bilinear_has_its_products() -> None:
    _, backward, uncounted = watched(lambda: F.bilinear(x(B, M), x(B, K), x(N, M, K)))
    assert backward >= 2 * 2 * B * N * M * K  # the weight's gradient and at least one input's
    assert uncounted == {}


@pytest.mark.parametrize(
    ("work", "operator"),
    [
        (lambda: torch.fft.rfft(x(8)).abs(), "_fft_r2c"),
        (lambda: torch.linalg.solve(torch.eye(3) + x(3, 3), x(3, 2)), "_linalg_solve_ex"),
        (lambda: torch.matrix_exp(0.1 * x(3, 3)), "linalg_matrix_exp"),
        (lambda: torch.cdist(x(M, K), 2 * x(N, K)), "_cdist_forward"),
        (lambda: torch.conv_tbc(x(9, 1, 3), x(3, 3, 4), x(4)), "conv_tbc"),
    ],
)
def test_what_has_no_formula_is_named(work: Callable[[], Tensor], operator: str) -> None:
    assert watched(work)[2][operator] >= 1


def test_element_wise_work_is_free_and_not_missing() -> None:
    def work() -> Tensor:
        layer = torch.nn.LayerNorm(K)
        return (
            F.gelu(layer(x(M, K))).softmax(-1).cumsum(0) * torch.sqrt(x(M, K))
            + F.cosine_similarity(x(M, K), x(M, K))[:, None]
        )

    assert watched(work) == (0, 0, {})
    names = [
        "weight_norm_interface",
        "resolve_conj",
        "upsample_bilinear2d",
        "_thnn_fused_lstm_cell",
        "linalg_vector_norm",
    ]
    assert not any(is_uncounted(f"aten.{name}") for name in names)
    assert is_uncounted("third_party.fused_attention")


def test_products_of_torch_are_counted_or_named() -> None:
    """None of these that a new version of torch might rename falls through."""
    known = {str(operator) for operator in flop_formulas()}
    for name in (
        "mm",
        "addmm",
        "addmm_",
        "bmm",
        "mv",
        "dot",
        "convolution",
        "_grouped_mm",
        "_sparse_addmm",
        "linalg_qr",
        "_scaled_dot_product_flash_attention",
        "mkldnn_linear",
        "miopen_rnn",
        "_fft_c2c",
        "lu_solve",
    ):
        assert f"aten.{name}" in known or is_uncounted(f"aten.{name}"), name


def test_a_profile_lists_what_it_did_not_count() -> None:
    (found,) = run_profile(settings("Spectral", lengths=(16,), repeats=1)).rows
    assert found.status == "ok"
    assert "_fft_c2c x 1" in found.notes["flops_forward"]
    assert "flops_backward" in found.notes
    assert found.flops_difference is None
    assert "| > 0." in markdown_rows([found])
