"""Labels beside points, where they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from clso.report.style import GREY

__all__ = ["place_labels"]

_NEAR, _FAR = 12.0, 34.0  # points between a marker's centre and its label
_MARK = 9.0  # half a marker's width, in points


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    bold: Sequence[bool],
    fixed: Sequence[Text],
) -> None:
    """Write each text near its point (data units), trying the sides in turn; far ones get a thin
    line.

    Texts that are there already (`fixed`) are kept clear. Call it when limits and scale are final.
    Greedy: the first side with the least overlap is taken."""
    figure = axes.figure  # Axes.get_figure(root=True) needs matplotlib 3.10
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    scale = figure.dpi / 72
    inside = axes.get_window_extent(renderer).padded(-3 * scale)
    centres = [axes.transData.transform(p) for p in points]
    taken = [
        Bbox.from_bounds(x - _MARK * scale, y - _MARK * scale, *[2 * _MARK * scale] * 2)
        for x, y in centres
    ]
    taken += [_text_box(text, renderer) for text in fixed]
    for i, (point, text) in enumerate(zip(points, texts, strict=True)):
        best: tuple[float, Annotation, list[Bbox]] | None = None
        for dx, dy in _offsets():
            note = _annotate(axes, point, text, dx, dy, bold[i])
            note.update_positions(renderer)
            box = _text_box(note, renderer)
            line = _line_boxes(centres[i], box, scale) if _is_far(dx, dy) else []
            cost = _outside(box, inside) + sum(
                _overlap(b, other) for b in (box, *line) for other in taken
            )
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, note, [box, *line])
            else:
                note.remove()
            if best[0] == 0:
                break
        assert best is not None
        taken += best[2]


def _offsets() -> list[tuple[float, float]]:
    sides = [
        (1, 0),
        (-1, 0),
        (0, 1),
        (0, -1),
        (1, 1),
        (1, -1),
        (-1, 1),
        (-1, -1),
        (2, 1),
        (2, -1),
        (-2, 1),
        (-2, -1),
    ]
    return [
        (dx * reach, dy * reach) for reach in (_NEAR, _FAR, 2 * _FAR, 3 * _FAR) for dx, dy in sides
    ]


def _annotate(
    axes: Axes, point: tuple[float, float], text: str, dx: float, dy: float, bold: bool
) -> Annotation:
    return axes.annotate(
        text,
        point,
        xytext=(dx, dy),
        textcoords="offset points",
        ha="left" if dx > 0 else "right" if dx < 0 else "center",
        va="bottom" if dy > 0 else "top" if dy < 0 else "center",
        fontsize=9.5,
        fontweight="bold" if bold else "normal",
        linespacing=1.25,
        bbox={"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.8},
        arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.7, "shrinkA": 0, "shrinkB": 6}
        if _is_far(dx, dy)
        else None,
        zorder=4,
    )


def _is_far(dx: float, dy: float) -> bool:
    return max(abs(dx), abs(dy)) > _NEAR


def _text_box(text: Text, renderer: RendererBase) -> Bbox:
    # An annotation's own extent includes its line.
    return Text.get_window_extent(text, renderer)


def _line_boxes(centre: npt.NDArray[np.float64], box: Bbox, scale: float) -> list[Bbox]:
    """Small boxes along the line from a marker's rim to its label."""
    end = np.array([np.clip(centre[0], box.x0, box.x1), np.clip(centre[1], box.y0, box.y1)])
    length = float(np.hypot(*(end - centre)))
    steps = np.arange(1.5 * _MARK * scale, length, 3 * scale) / max(length, 1.0)
    return [
        Bbox.from_bounds(x - scale, y - scale, 2 * scale, 2 * scale)
        for x, y in centre + steps[:, None] * (end - centre)
    ]


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(width * height) if width > 0 and height > 0 else 0.0


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _overlap(box, frame)
