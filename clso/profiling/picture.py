"""Time and memory of a pass against the length, on log scales, a line a model."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from clso.profiling.measure import Row
from clso.profiling.run import Profile
from clso.report.style import (
    COLOURS,
    OWN,
    RULE,
    TEST,
    Label,
    Margins,
    add_axes,
    label_right,
    new_figure,
    styled,
    to_png,
)

__all__ = ["draw"]

_WIDTH, _HEIGHT = 13.0, 4.6
_COLOURS = (OWN, TEST, *COLOURS)
_MARKS = "osD^v<>"
_PANELS: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
    ("ms, forward and backward", lambda r: _both_ms(r)),
    ("peak memory, MB", lambda r: None if r.peak_bytes is None else r.peak_bytes / 1e6),
)


def draw(profile: Profile) -> bytes | None:
    """A PNG file; None if nothing was measured."""
    s = profile.settings
    where = profile.manifest["hardware"].get("gpu", {}).get("name", s.device)
    note = f"Batch {s.batch}, {s.dtype}, {where}. Log scales. A line ends where memory or time ran out, or the model failed."
    with styled():
        figure, head = new_figure(_WIDTH, _HEIGHT, "What a pass costs by length", [note])
        half = _WIDTH / 2
        drawn = [
            _panel(
                profile,
                figure,
                Margins(0.8 + i * half, 0.6, 1.6 + (1 - i) * half, head + 0.1),
                *panel,
            )
            for i, panel in enumerate(_PANELS)
        ]
        return to_png(figure) if any(drawn) else None


def _panel(
    profile: Profile,
    figure: Figure,
    margins: Margins,
    title: str,
    value: Callable[[Row], float | None],
) -> bool:
    axes = add_axes(figure, margins)
    axes.set_xscale("log")
    axes.set_yscale("log")
    labels = []
    for i, model in enumerate(profile.models):
        points = [(r.length, value(r)) for r in profile.rows if r.model == model["name"]]
        known = [(n, v) for n, v in points if v is not None]
        if known:
            colour, mark = _COLOURS[i % len(_COLOURS)], _MARKS[i // len(_COLOURS) % len(_MARKS)]
            axes.plot(*zip(*known, strict=True), color=colour, marker=mark, ms=4, lw=1.5)
            labels.append(Label(known[-1][1], model["name"], colour))
    _ticks(axes, profile.settings.lengths)
    axes.set_xlabel("tokens of a sequence")
    axes.set_ylabel(title)
    axes.grid(which="major", color=RULE, lw=0.7)
    label_right(axes, labels)
    return bool(labels)


def _ticks(axes: Axes, lengths: tuple[int, ...]) -> None:
    axes.set_xlim(lengths[0] / 1.15, lengths[-1] * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(list(lengths)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda n, _: f"{n / 1024:g}k" if n >= 1024 else f"{n:g}")
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _both_ms(row: Row) -> float | None:
    if row.forward_time_s is None or row.backward_time_s is None:
        return None
    return (row.forward_time_s + row.backward_time_s) * 1e3
