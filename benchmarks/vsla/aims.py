"""What was wanted of a record before it was measured, and by how much it is met or missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.vsla.records import SHARES, Rows, layout_ratio, of_part

__all__ = ["Aim", "aims", "aims_table", "front_bar"]

_MIX, _EQUAL = "choice:512,1024,2048,4096", "choice:4096"
_LONG = 32_768
_MORE_NATS = {"member": 0.005, "small_member": 0.0}  # than the full-attention winner


@dataclass(frozen=True)
class Aim:
    """`distance` is how far what was measured lies behind, in words; "" if it does not."""

    aim: str
    measured: str
    distance: str


def aims(rows: Rows) -> list[Aim]:
    """Those that this record says something of."""
    return [*_layouts(rows), *_large(rows), *_patterns(rows), *_contexts(rows), *_front(rows)]


def aims_table(rows: Rows) -> list[str]:
    """The aims as Markdown."""
    lines = ["| wanted | measured | |", "|---|---|---|"]
    for a in aims(rows):
        verdict = f"**missed** {a.distance}" if a.distance else "met"
        lines.append(f"| {a.aim} | {a.measured} | {verdict} |")
    return lines


def front_bar(rows: Rows) -> list[bool]:
    """By seed: whether the member at half of the bytes is no worse."""
    return [_is_met(row, "member") for row in of_part(rows, "front")]


def _layouts(rows: Rows) -> Iterator[Aim]:
    wanted = (
        (_MIX, "time_s", 1.5, "packed at least {} times as fast as padded"),
        (_MIX, "peak_bytes", 1.7, "packed with at least {} times less memory than padded"),
    )
    for mix, quantity, least, aim in wanted:
        ratio = layout_ratio(rows, mix, 1, quantity)
        if ratio is not None:
            yield _at_least(f"`{mix}`: {aim.format(least)}", ratio, least)
    ratio = layout_ratio(rows, _EQUAL, 1, "time_s")
    if ratio is not None:
        slower = 1 / ratio - 1
        distance = f"by {slower - 0.15:.0%}" if slower > 0.15 else ""
        yield Aim(f"`{_EQUAL}`: packed at most 15 % slower than padded", f"{slower:+.0%}", distance)


def _large(rows: Rows) -> Iterator[Aim]:
    steps = {(r["micro"], r["layout"]): r.get("step_time_s") for r in of_part(rows, "large")
             if "layout" in r}  # fmt: skip
    for layout, least in (("padded", 2.0), ("sorted", 1.0)):
        for (micro, other), time_s in steps.items():
            packed = steps.get((micro, "packed"))
            if other == layout and time_s and packed:
                batches = "micro-batch" if micro == 1 else "micro-batches"
                aim = f"vsla-1b, {micro} {batches}: a step packed at least {least:.1f} times as fast as {layout}"
                yield _at_least(aim, time_s / packed, least)


def _patterns(rows: Rows) -> Iterator[Aim]:
    times = {
        r["pattern"]: r["time_s"] for r in of_part(rows, "patterns") if r.get("length") == _LONG
    }
    full, local = times.get("full"), times.get("local:512")
    if full and local:
        yield _at_least(
            f"`local:512` at {_LONG:,} at least 8 times as fast as `full`", full / local, 8
        )


def _contexts(rows: Rows) -> Iterator[Aim]:
    losses = {r["pattern"]: r["losses"] for r in of_part(rows, "contexts") if "losses" in r}
    for r in of_part(rows, "contexts"):
        if r["pattern"].startswith("adaptive"):
            local = f"local:{round(r['mean_context'])}"
            more = np.subtract(r["losses"], losses[local])
            mean, better = more.mean(), int((more < 0).sum())
            yield Aim(
                f"`{r['pattern']}` better than `{local}` (equal mean context)",
                f"{mean:+.4f} nats; better on {better} of {len(more)} seeds",
                f"by {mean:.4f} nats" if mean >= 0 else "",
            )


def _front(rows: Rows) -> Iterator[Aim]:
    found = of_part(rows, "front")
    if not found:
        return
    for name, allowed in _MORE_NATS.items():
        missed = [row for row in found if not _is_met(row, name)]
        shown = [f"on {len(found) - len(missed)} of {len(found)} seeds"]
        shown += [", ".join(f"{_more(row, name):+.4f}" for row in found if row[name])]
        yield Aim(
            f"the front: a member at {SHARES[name]:.0%} of full attention's `kv_bytes`, at most "
            f"{allowed:g} nats worse, on every seed",
            "; ".join(filter(None, shown)),
            "; ".join(_behind(row, name) for row in missed),
        )


def _behind(row: dict[str, Any], name: str) -> str:
    seed = f"on seed {row['seed']}"
    if row[name] is None:
        return f"{seed}: no member"
    return f"{seed} by {_more(row, name) - _MORE_NATS[name]:.4f} nats"


def _is_met(row: dict[str, Any], name: str) -> bool:
    return row[name] is not None and _more(row, name) <= _MORE_NATS[name]


def _more(row: dict[str, Any], name: str) -> float:
    """How many nats more than full attention the member has."""
    return float(row[name]["test_loss"] - row["full"]["test_loss"])


def _at_least(aim: str, ratio: float, least: float) -> Aim:
    return Aim(aim, f"{ratio:.2f} times", f"by {least - ratio:.2f}" if ratio < least else "")
