"""What a page consists of: sections of notes, plots and sortable tables, rendered as one HTML file
that loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clso.report.thumbnails import Thumbnail

__all__ = [
    "Cell",
    "Row",
    "Section",
    "Table",
    "any_cell",
    "flat",
    "number",
    "plain_table",
    "render",
]

_TEMPLATES = Path(__file__).parents[1] / "templates" / "report"


@dataclass(frozen=True)
class Cell:
    """`value` is what a column is sorted by, `pre` what unfolds."""

    text: str
    value: float | None = None
    pre: str = ""


@dataclass(frozen=True)
class Row:
    """A table's row; `is_off` dims it."""

    cells: Sequence[Cell]
    is_off: bool = False


@dataclass(frozen=True)
class Table:
    """`folded` is the line under which it unfolds, `left_out` a note below it."""

    head: Sequence[str]
    rows: Sequence[Row]
    folded: str = ""
    left_out: str = ""

    @property
    def sortable(self) -> bool:
        return len(self.rows) > 1

    @cached_property
    def numeric(self) -> list[bool]:
        """Whether a column holds numbers."""
        width = max((len(row.cells) for row in self.rows), default=len(self.head))
        columns = [[row.cells[i] for row in self.rows] for i in range(width)]
        return [
            any(c.value is not None for c in column)
            and all(c.value is not None or not c.text for c in column)
            for column in columns
        ]


@dataclass(frozen=True)
class Section:
    """Notes, then plots by name, then slices and thumbnails, then tables."""

    id: str
    title: str
    notes: Sequence[str] = ()
    plots: Sequence[str] = ()
    tables: Sequence[Table] = ()
    slices: Sequence[tuple[str, str]] = ()
    thumbnails: Sequence[Thumbnail] = field(default=())


def render(
    *,
    title: str,
    lead: str,
    cards: Sequence[Mapping[str, str]],
    sections: Sequence[Section],
    figures: Mapping[str, Any],
) -> str:
    """The page as text; `figures` are plotly's, by the names that sections use."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("page.html").render(
        title=title,
        lead=lead,
        cards=cards,
        sections=sections,
        figures={f"plot-{name}": plot for name, plot in figures.items()},
        css=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        js=Markup((_TEMPLATES / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )
    return text.lstrip() + "\n"


def plain_table(head: Sequence[str], rows: Iterable[Sequence[str]], folded: str = "") -> Table:
    """A table of texts."""
    return Table(head, [Row([Cell(text) for text in row]) for row in rows], folded)


def number(value: float | None, form: str, missing: str = "") -> Cell:
    """A cell that sorts by its value."""
    return Cell(missing) if value is None else Cell(format(value, form), value)


def any_cell(value: Any) -> Cell:
    """A cell for any value of JSON."""
    if isinstance(value, float):
        return number(value, ".6g")
    return (
        number(value, "d") if isinstance(value, int) else Cell("" if value is None else str(value))
    )


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested JSON as (dotted name, text) rows."""
    if isinstance(value, dict) and value:
        return [
            row for k, v in value.items() for row in flat(v, f"{prefix}.{k}" if prefix else str(k))
        ]
    if isinstance(value, list):
        value = "; ".join(
            ", ".join(map(str, v.values())) if isinstance(v, dict) else str(v) for v in value
        )
    return [(prefix, "-" if value is None else str(value))]
