"""The published claims about Neural State Machines, each held against a measured profile.

Only ratios and shapes are compared: neither sizes nor hardware of the published figures are known.
A claim that names no length has to hold at every measured one. Times differ if their 95 %
intervals say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from clso.profiling.comparison import Measured, all_of, less, read, within
from clso.profiling.measure import Row
from clso.profiling.published import FASTER, MEMORY_GB, NSM, PEERS, TABLE
from clso.profiling.scaling import fit_all

__all__ = ["TOLERANCE", "Judgement", "judge"]

TOLERANCE = 0.25
"""A ratio holds when it is within this share of the published one."""
LINEAR = 0.1
"""Memory is linear when its exponent is within this of 1."""

Verdict = Literal["held", "did not hold", "cannot be tested"]
_VERDICTS: dict[bool | None, Verdict] = {
    True: "held",
    False: "did not hold",
    None: "cannot be tested",
}
_NAMES = {
    "parameters": "parameters",
    "flops_forward": "FLOPs",
    "forward_time_s": "forward time",
    "backward_time_s": "backward time",
    "peak_bytes": "memory",
    "gradient_norm": "gradient norm",
}
_Cells = Mapping[str, Measured]


@dataclass(frozen=True)
class Judgement:
    """A claim, what was published and what was measured for it, and the verdict with its reason."""

    claim: str
    published: str
    measured: str
    verdict: Verdict
    reason: str


def judge(rows: Sequence[Row], *, equal_parameters: bool = False) -> list[Judgement]:
    """Every claim, from the rows alone. Sizes that were searched for `equal_parameters` say nothing
    about parameters."""
    found = []
    for quantity in TABLE:
        known = [] if quantity == "parameters" and equal_parameters else rows
        found += [_ratios(known, quantity), _order(known, quantity)]
    found += [_backward_twice(rows), _fastest(rows), _faster_than_transformers(rows), _linear(rows)]
    found += [_growth(rows, model) for model in MEMORY_GB]
    return [*found, _memory_order(rows), _least(rows)]


def _ratios(rows: Sequence[Row], quantity: str) -> Judgement:
    published = {
        m: v / TABLE[quantity]["transformer"]
        for m, v in TABLE[quantity].items()
        if m != "transformer"
    }

    def test(cells: _Cells) -> tuple[list[bool | None], str]:
        ratios = {
            m: cells[m] / cells["transformer"]
            for m in published
            if m in cells and "transformer" in cells
        }
        return [within(r, published[m], TOLERANCE) for m, r in ratios.items()], _list(ratios)

    claim = f"{_NAMES[quantity]}, as a multiple of the Transformer's"
    return _by_length(
        rows,
        claim,
        _list({m: Measured(v) for m, v in published.items()}),
        quantity,
        TABLE[quantity],
        test,
    )


def _order(rows: Sequence[Row], quantity: str) -> Judgement:
    order = sorted(TABLE[quantity], key=TABLE[quantity].__getitem__)
    return _by_length(
        rows, f"order by {_NAMES[quantity]}", " < ".join(order), quantity, order, _in_order(order)
    )


def _in_order(order: Sequence[str]) -> Callable[[_Cells], tuple[list[bool | None], str]]:
    def test(cells: _Cells) -> tuple[list[bool | None], str]:
        there = [m for m in order if m in cells]
        shown = " < ".join(sorted(there, key=lambda m: cells[m].value))
        return [less(cells[a], cells[b]) for a, b in combinations(there, 2)], shown

    return test


def _backward_twice(rows: Sequence[Row]) -> Judgement:
    models = list(TABLE["forward_time_s"])
    forward, backward = _cells(rows, "forward_time_s"), _cells(rows, "backward_time_s")
    ratios = {
        n: {
            m: backward[n][m] / forward[n][m]
            for m in models
            if m in forward[n] and m in backward.get(n, {})
        }
        for n in forward
    }

    def test(cells: _Cells) -> tuple[list[bool | None], str]:
        return [within(r, 2, TOLERANCE) for r in cells.values()], _list(cells)

    return _decide(
        "backward takes twice as long as forward", "2.0 for all five", ratios, models, test
    )


def _fastest(rows: Sequence[Row]) -> Judgement:
    models = ["lstm", NSM, *(m for m in TABLE["forward_time_s"] if m not in ("lstm", NSM))]

    def test(cells: _Cells) -> tuple[list[bool | None], str]:
        there = [m for m in models if m in cells]
        pairs = [(a, b) for a, b in combinations(there, 2) if a in ("lstm", NSM)]
        return [less(cells[a], cells[b]) for a, b in pairs], " < ".join(
            sorted(there, key=lambda m: cells[m].value)
        )

    claim = "LSTM fastest, SimpleNSM second (forward and backward)"
    return _by_length(rows, claim, f"lstm < {NSM} < the rest", "time_s", models, test)


def _faster_than_transformers(rows: Sequence[Row]) -> Judgement:
    """Read in the weaker way: 1.66 times the speed. The stronger one, 66 % less time, asks for
    more."""
    bound = Measured(1 / (1 + FASTER))

    def test(cells: _Cells) -> tuple[list[bool | None], str]:
        if len(cells) < 2:
            return [], ""
        ratio = cells[NSM] / cells["transformer"]
        return [less(ratio, bound)], f"{ratio.value:.2f} of the Transformer's time"

    published = f"at most {bound.value:.2f} of the Transformer's time (66 % less time would be {1 - FASTER:.2f})"
    return _by_length(
        rows,
        "SimpleNSM trains 66 % faster than the Transformer",
        published,
        "time_s",
        [NSM, "transformer"],
        test,
    )


def _linear(rows: Sequence[Row]) -> Judgement:
    claim, published = "SimpleNSM's memory is linear in the length", f"exponent 1 (within {LINEAR})"
    found = next(
        (e for e in fit_all(rows) if (e.model, e.quantity) == (NSM, "activation_bytes")), None
    )
    if found is None or found.exponent is None or found.standard_error is None:
        return Judgement(
            claim, published, "-", _VERDICTS[None], "three lengths of simple-nsm are needed"
        )
    answer = abs(found.exponent - 1) <= LINEAR
    measured = f"exponent {found.exponent:.2f} ± {found.standard_error:.2f}"
    reason = f"activations at {_lengths(found.lengths)} tokens; weights are left out, since they have no length"
    return Judgement(claim, published, measured, _VERDICTS[answer], reason)


def _growth(rows: Sequence[Row], model: str) -> Judgement:
    cells = _cells(rows, "peak_bytes")
    lengths = [n for n in MEMORY_GB[model] if model in cells.get(n, {})]
    claim = f"growth of {model}'s memory with the length"
    if len(lengths) < 2:
        steps = _list(
            {
                f"x{n // 1024}": Measured(v / MEMORY_GB[model][1024])
                for n, v in MEMORY_GB[model].items()
            }
        )
        reason = "two of the published lengths are needed"
        return Judgement(claim, steps, "-", _VERDICTS[None], reason)
    first, last = lengths[0], lengths[-1]
    published = MEMORY_GB[model][last] / MEMORY_GB[model][first]
    ratio = cells[last][model] / cells[first][model]
    answer = within(ratio, published, TOLERANCE)
    reason = f"peak memory at {last:,} tokens over that at {first:,}"
    return Judgement(claim, f"x{published:.2g}", f"x{ratio.value:.2g}", _VERDICTS[answer], reason)


def _memory_order(rows: Sequence[Row]) -> Judgement:
    order = sorted(MEMORY_GB, key=lambda m: MEMORY_GB[m][1024])
    return _by_length(
        rows,
        "order by memory at every length",
        " < ".join(order),
        "peak_bytes",
        order,
        _in_order(order),
    )


def _least(rows: Sequence[Row]) -> Judgement:
    def test(cells: _Cells) -> tuple[list[bool | None], str]:
        if NSM not in cells:
            return [], ""
        others = {m: cells[m] / cells[NSM] for m in cells if m != NSM}
        return [less(cells[NSM], cells[m]) for m in others], _list(others) + f" times {NSM}"

    return _by_length(
        rows,
        "NSM takes the least memory of all",
        f"{NSM} < every peer",
        "peak_bytes",
        [NSM, *PEERS],
        test,
    )


def _by_length(
    rows: Sequence[Row],
    claim: str,
    published: str,
    quantity: str,
    models: Iterable[str],
    test: Callable[[_Cells], tuple[list[bool | None], str]],
) -> Judgement:
    wanted = list(models)
    cells = {
        n: {m: v for m, v in found.items() if m in wanted}
        for n, found in _cells(rows, quantity).items()
    }
    if quantity == "parameters":  # the same at every length
        cells = dict(list(cells.items())[:1])
    return _decide(claim, published, cells, wanted, test)


def _decide(
    claim: str,
    published: str,
    cells: Mapping[int, _Cells],
    models: Sequence[str],
    test: Callable[[_Cells], tuple[list[bool | None], str]],
) -> Judgement:
    """The claim at every length: one refuted comparison refutes it, but only all models together
    can hold it."""
    answers: dict[int, bool | None] = {}
    shown: dict[int, str] = {}
    for n, found in cells.items():
        parts, text = test(found)
        if parts:
            complete = all(m in found for m in models)
            answers[n], shown[n] = all_of([*parts, *([] if complete else [None])]), text
    missing = [m for m in models if not any(m in found for found in cells.values())]
    answer = all_of(list(answers.values()))
    if answer is False:
        no = [n for n, a in answers.items() if a is False]
        rest = [n for n, a in answers.items() if a is True]
        reason = f"not at {_lengths(no)} tokens" + (f"; it did at {_lengths(rest)}" if rest else "")
        text = f"{shown[no[0]]} (at {no[0]:,})"
    elif answers:
        n = next(iter(answers))
        text = f"{shown[n]} (at {n:,})"
        if answer:
            reason = f"at {_lengths(answers)} tokens"
        elif missing:
            reason = f"not measured: {', '.join(missing)}"
        else:
            open_ = [n for n, a in answers.items() if a is None]
            reason = f"within the spread, or not measured, at {_lengths(open_)} tokens"
    else:
        text, reason = "-", f"not measured at one length: {', '.join(missing or models)}"
    return Judgement(claim, published, text, _VERDICTS[answer], reason)


def _cells(rows: Sequence[Row], quantity: str) -> dict[int, dict[str, Measured]]:
    found: dict[int, dict[str, Measured]] = {}
    for row in rows:
        value = read(row, quantity)
        cells = found.setdefault(row.length, {})
        if value is not None:
            cells[row.model] = value
    return dict(sorted(found.items()))


def _list(ratios: Mapping[str, Measured]) -> str:
    return ", ".join(f"{name} {ratio.value:.2f}" for name, ratio in ratios.items())


def _lengths(lengths: Iterable[int]) -> str:
    return ", ".join(f"{n:,}" for n in lengths)
