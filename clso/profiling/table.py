"""A profile as tables: for the terminal, for a CSV file, for Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields

from rich.box import SIMPLE
from rich.table import Table

from clso.profiling.measure import Row
from clso.profiling.run import Profile
from clso.profiling.scaling import QUANTITIES, Exponent

__all__ = ["markdown_rows", "rows_table", "scaling_table", "to_csv"]

_NONE = "-"
_LABELS = {
    "forward_time_s": "forward time",
    "backward_time_s": "backward time",
    "activation_bytes": "activations",
    "peak_bytes": "peak memory",
    "flops_forward": "forward FLOPs",
}
_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("model", lambda r: r.model),
    ("tokens", lambda r: f"{r.length:,}"),
    ("parameters", lambda r: _figure(r.parameters, 1, ",")),
    ("MFLOP", lambda r: ("> " if _is_bound(r) else "") + _figure(r.flops_forward, 1e6, ",.2f")),
    ("formula", lambda r: _figure(r.flops_difference, 0.01, "+.2f", " %")),
    ("forward ms", lambda r: _spread(r.forward_time_s, r.forward_time_std_s)),
    ("backward ms", lambda r: _spread(r.backward_time_s, r.backward_time_std_s)),
    ("peak MB", lambda r: _figure(r.peak_bytes, 1e6, ",.1f")),
    ("gradient", lambda r: _figure(r.gradient_norm, 1, ".3g")),
    ("mJ", lambda r: _figure(r.energy_j, 1e-3, ",.3g")),
    ("status", lambda r: r.status),
)
_MIX_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("layout", lambda r: r.layout or _NONE),
    ("tokens", lambda r: _figure(r.n_tokens, 1, ",")),
    ("slots", lambda r: _figure(r.n_slots, 1, ",")),
)
_STEP_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("step ms", lambda r: _spread(r.step_time_s, r.step_time_std_s)),
)


def rows_table(profile: Profile) -> Table:
    """Every cell. "formula" is how far the counted FLOPs lie from the model's own, "-" what was not
    measured, ">" a count without the operators that have no formula."""
    s = profile.settings
    batch = (
        f"{s.docs} documents of {s.mix}, {s.micro} micro-batches" if s.mix else f"batch {s.batch}"
    )
    table = Table(
        title=f"{batch}, {s.dtype}, {s.device}", title_justify="left", box=SIMPLE, pad_edge=False
    )
    for i, (head, _) in enumerate(_columns(profile.rows)):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for i, row in enumerate(profile.rows):
        last = i + 1 == len(profile.rows) or profile.rows[i + 1].length != row.length
        table.add_row(*_cells(row, profile.rows), end_section=last)
    return table


def scaling_table(exponents: Sequence[Exponent]) -> Table:
    """The fitted exponents, with standard errors."""
    title = "growth with the length n, as n^b: b ± standard error"
    table = Table("model", title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for quantity in QUANTITIES:
        table.add_column(_LABELS[quantity], justify="right", no_wrap=True)
    for model in dict.fromkeys(e.model for e in exponents):
        found = {e.quantity: e for e in exponents if e.model == model}
        table.add_row(model, *(_exponent(found[quantity]) for quantity in QUANTITIES))
    return table


def to_csv(rows: Iterable[Row]) -> str:
    """One line a cell with the fields of `Row`; what was not measured is empty, `notes` is a JSON
    object."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "notes": json.dumps(row.notes)} for row in rows)
    return buffer.getvalue()


def markdown_rows(rows: Iterable[Row]) -> str:
    """The cells as a Markdown table."""
    rows = list(rows)
    columns = _columns(rows)
    lines = ["| " + " | ".join(head for head, _ in columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(_cells(row, rows)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _is_bound(row: Row) -> bool:
    return row.flops_forward is not None and "flops_forward" in row.notes


def _columns(rows: Sequence[Row]) -> tuple[tuple[str, Callable[[Row], str]], ...]:
    """Those of layouts and of steps only if there are any."""
    model, tokens, *rest, status = _COLUMNS
    mixed = _MIX_COLUMNS if any(row.layout for row in rows) else (tokens,)
    step = _STEP_COLUMNS if any(row.step_time_s for row in rows) else ()
    return (model, *mixed, *rest, *step, status)


def _cells(row: Row, rows: Sequence[Row]) -> list[str]:
    return [show(row) for _, show in _columns(rows)]


def _figure(value: float | None, unit: float, form: str, suffix: str = "") -> str:
    return _NONE if value is None else f"{value / unit if unit != 1 else value:{form}}{suffix}"


def _spread(mean_s: float | None, std_s: float | None) -> str:
    if mean_s is None:
        return _NONE
    return _ms(mean_s) + ("" if std_s is None else f" ± {_ms(std_s)}")


def _ms(time_s: float) -> str:
    return f"{time_s * 1e3:,.0f}" if time_s >= 0.1 else f"{time_s * 1e3:.3g}"


def _exponent(e: Exponent) -> str:
    if e.exponent is None:
        return _NONE
    return f"{e.exponent:.2f}" + ("" if e.standard_error is None else f" ± {e.standard_error:.2f}")
