"""Verdicts on rows that are made up to obey, or to break, one claim at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clso.profiling.claims import Judgement, judge
from clso.profiling.measure import Row
from clso.profiling.published import MEMORY_GB, NSM, TABLE


def table_rows(length: int = 64) -> list[Row]:
    """Rows with ten times every published figure: the ratios are the published ones."""
    rows = []
    for model in TABLE["parameters"]:
        values: dict[str, Any] = {quantity: 10 * TABLE[quantity][model] for quantity in TABLE}
        spread: dict[str, Any] = {
            f"{side}_time_std_s": values[f"{side}_time_s"] / 100 for side in ("forward", "backward")
        }
        rows.append(Row(model, length, 1, n_repeats=25, **values, **spread))
    return rows


def memory_rows() -> list[Row]:
    return [
        Row(model, n, 1, peak_bytes=int(gb * 1e7), activation_bytes=1000 * n)
        for model, by_length in MEMORY_GB.items()
        for n, gb in by_length.items()
    ]


def verdict(rows: list[Row], claim: str, **options: bool) -> Judgement:
    (found,) = [j for j in judge(rows, **options) if j.claim == claim]
    return found


def changed(rows: list[Row], model: str, **values: Any) -> list[Row]:
    return [replace(row, **values) if row.model == model else row for row in rows]


def test_nothing_measured_tests_nothing() -> None:
    found = judge([])
    assert {j.verdict for j in found} == {"cannot be tested"}
    assert all(j.reason for j in found)


def test_the_published_ratios_hold_for_themselves() -> None:
    found = [j for j in judge(table_rows()) if "length" not in j.claim and "least" not in j.claim]
    assert {j.verdict for j in found} == {"held"}
    assert len(found) == 15


def test_the_published_memory_holds_for_itself() -> None:
    by_claim = {j.claim: j.verdict for j in judge(memory_rows())}
    for claim, found in by_claim.items():
        if "length" in claim or "least" in claim:
            assert found == "held", claim


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("parameters, as a multiple of the Transformer's", {"parameters": 300_000}),
        ("order by FLOPs", {"flops_forward": 40_000_000}),
        ("order by memory", {"peak_bytes": 800_000_000}),
        ("gradient norm, as a multiple of the Transformer's", {"gradient_norm": 0.5}),
        ("order by forward time", {"forward_time_s": 0.005}),
        ("backward takes twice as long as forward", {"backward_time_s": 0.0123}),
        ("LSTM fastest, SimpleNSM second (forward and backward)", {"backward_time_s": 0.3}),
        ("SimpleNSM trains 66 % faster than the Transformer", {"backward_time_s": 0.0700}),
    ],
)
def test_a_broken_claim_did_not_hold(claim: str, change: dict[str, object]) -> None:
    assert verdict(changed(table_rows(), NSM, **change), claim).verdict == "did not hold"


def test_times_within_the_spread_decide_nothing() -> None:
    rows = changed(table_rows(), NSM, forward_time_std_s=1.0, backward_time_std_s=1.0)
    for claim in ("order by forward time", "SimpleNSM trains 66 % faster than the Transformer"):
        assert verdict(rows, claim).verdict == "cannot be tested"
    # Two repetitions that agree within 10 %: at one degree of freedom that does not tell 1.23 from
    # 0.89.
    rows = changed(table_rows(), NSM, forward_time_std_s=0.00123, n_repeats=2)
    assert verdict(rows, "order by forward time").verdict == "cannot be tested"
    rows = changed(table_rows(), NSM, forward_time_std_s=None, n_repeats=1)
    assert verdict(rows, "order by forward time").verdict == "cannot be tested"


def test_a_missing_model_is_named_and_one_refutation_is_enough() -> None:
    rows = [row for row in table_rows() if row.model != "lstm"]
    found = verdict(rows, "order by parameters")
    assert found.verdict == "cannot be tested"
    assert found.reason == "not measured: lstm"
    broken = changed(rows, NSM, parameters=1)
    # still the smallest that is left
    assert verdict(broken, "order by parameters").verdict == "cannot be tested"
    broken = changed(rows, NSM, parameters=10**9)
    assert verdict(broken, "order by parameters").verdict == "did not hold"


def test_a_claim_has_to_hold_at_every_length() -> None:
    rows = table_rows(64) + changed(table_rows(128), NSM, flops_forward=400_000_000)
    found = verdict(rows, "order by FLOPs")
    assert found.verdict == "did not hold"
    assert found.reason == "not at 128 tokens; it did at 64"


def test_equal_parameters_say_nothing_about_parameters() -> None:
    assert (
        verdict(table_rows(), "order by parameters", equal_parameters=True).verdict
        == "cannot be tested"
    )
    assert verdict(table_rows(), "order by FLOPs", equal_parameters=True).verdict == "held"


def test_memory_that_is_not_linear_did_not_hold() -> None:
    rows = [
        replace(r, activation_bytes=r.length**2) if r.model == NSM else r for r in memory_rows()
    ]
    found = verdict(rows, "SimpleNSM's memory is linear in the length")
    assert found.verdict == "did not hold"
    assert "2.00" in found.measured


def test_least_of_all_needs_every_peer_but_one_is_enough_against_it() -> None:
    rows = [r for r in memory_rows() if r.model != "mamba"]
    assert verdict(rows, "NSM takes the least memory of all").verdict == "cannot be tested"
    rows = [replace(r, peak_bytes=1) if r.model == "rwkv" and r.length == 8192 else r for r in rows]
    found = verdict(rows, "NSM takes the least memory of all")
    assert found.verdict == "did not hold"
    assert "8,192" in found.reason
