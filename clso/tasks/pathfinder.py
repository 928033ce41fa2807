"""Pathfinder-like images (Linsley et al. 2018, arXiv:1805.08315; 32x32 as in the Long Range Arena):
do two dots lie on one dashed curve?

Every image has two long curves, short distractors and two dots. The dots lie at both ends of one
long curve (class 1) or at one end of each (class 0), so that the strokes say nothing about the
class; and an image is kept only if two ends of different curves are about as far apart as the
two of one, so that the distance between the dots says almost nothing. Curves keep clear of each
other by more than a gap between dashes: the answer is exact."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError
from clso.tasks.generated import GeneratedOptions, GeneratedTask

__all__ = ["Pathfinder"]

_MARGIN = 2.0
_CLEARANCE = 6.0  # pixels between the centre lines of two curves
_DASH, _GAP = 3.0, 2.0
_DOT_RADIUS = 1.6
_STEPS = 4  # points a pixel when drawn
_CANDIDATES = 48
_MOST_TRIES = 1_000
_DISTANCE_TOLERANCE = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _PathfinderOptions(GeneratedOptions):
    n_train: int = 4_000
    size: int = 32
    """Pixels a side."""
    length: int = 20
    """Pixels along each of the two long curves."""
    distractors: int = 3
    """Short curves beside the two long ones."""
    curvature: float = 0.25
    """How sharply a curve turns at most, in radians a pixel (0 to 1)."""
    levels: int = 16
    """Levels of grey, one token each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("size", 12)
        self.at_least("length", 6)
        self.at_least("distractors", 0)
        self.at_least("levels", 2)
        if self.length > 40 or self.levels > 256:
            raise ConfigError(
                "length is at most 40, levels at most 256", got=(self.length, self.levels)
            )
        if not 0 <= self.curvature <= 1:
            raise ConfigError("curvature is from 0 to 1 (radians a pixel)", got=self.curvature)


class Pathfinder(GeneratedTask):
    """Whether two dots are connected: grey levels as tokens (1,024 of an image of 32 x 32), row by
    row; token 1 is black."""

    name = "pathfinder"
    Options: ClassVar[type] = _PathfinderOptions
    n_classes = 2
    options: _PathfinderOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return ("<pad>", *map(str, range(self.options.levels)))

    @property
    def n_positions(self) -> int:
        return self.options.size**2

    def _draw(self, rng: random.Random) -> tuple[list[int], int]:
        numbers = np.random.default_rng(rng.getrandbits(64))
        label = int(numbers.integers(2))
        image = draw(numbers, label, self.options)
        levels = np.minimum(image * self.options.levels, self.options.levels - 1).astype(int)
        return (1 + levels.ravel()).tolist(), label


def draw(rng: np.random.Generator, label: int, options: _PathfinderOptions) -> Floats:
    """An image (size, size) with values from 0 to 1. Raises `ConfigError` if the curves do not
    fit."""
    size = options.size
    for _ in range(_MOST_TRIES):
        pair = _long_pair(rng, options)
        if pair is None:
            continue
        one, other = pair
        dots = [one[0], one[-1] if label else other[-1]]
        curves = [one, other]
        for candidate in _curves(rng, max(4, options.length // 3), options):
            if len(curves) == 2 + options.distractors:
                break
            if all(_distance(candidate, curve) >= _CLEARANCE for curve in curves):
                curves.append(candidate)
        image = np.zeros((size, size))
        for curve in curves:
            _stroke(image, curve, phase=rng.uniform(0, _DASH), grey=rng.uniform(0.5, 0.9))
        for dot in dots:
            y, x = np.mgrid[:size, :size]
            image[np.hypot(y - dot[0], x - dot[1]) <= _DOT_RADIUS] = 1.0
        return image
    raise ConfigError(
        "two curves fit into the image", got=options, remedy="Make them shorter, or less curved."
    )


def _long_pair(
    rng: np.random.Generator, options: _PathfinderOptions
) -> tuple[Floats, Floats] | None:
    """Two clear curves; the first's start is about as far from its end as from the second's end."""
    curves = _curves(rng, options.length, options)
    if not curves:
        return None
    starts, ends = (np.stack([curve[i] for curve in curves]) for i in (0, -1))
    across = np.linalg.norm(starts[:, None] - ends, axis=-1)
    alike = np.abs(across - across.diagonal()[:, None]) < _DISTANCE_TOLERANCE
    for i, j in np.argwhere(alike & (across >= _CLEARANCE)):
        if i != j and across[i, i] >= _CLEARANCE and _distance(curves[i], curves[j]) >= _CLEARANCE:
            return curves[i], curves[j]
    return None


def _curves(rng: np.random.Generator, length: int, options: _PathfinderOptions) -> list[Floats]:
    """Smooth curves (n_points, 2) of `length` pixels that stay inside and clear of themselves; as
    many as came out."""
    n, last = length + 1, options.size - 1 - _MARGIN
    turns = rng.normal(0, options.curvature, (_CANDIDATES, n))
    turns[:, 0] = rng.uniform(0, 2 * np.pi, _CANDIDATES)
    headings = turns.cumsum(1)[:, :-1]
    steps = np.stack([np.sin(headings), np.cos(headings)], -1)
    starts = rng.uniform(_MARGIN, last, (_CANDIDATES, 1, 2))
    points = np.concatenate([starts, starts + steps.cumsum(1)], 1)
    inside = ((points >= _MARGIN) & (points <= last)).all((1, 2))
    points = points[inside]
    apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    order = np.arange(n)
    far_along = np.abs(order[:, None] - order) > 2 * _CLEARANCE
    clear = ~((apart < _CLEARANCE) & far_along).any((1, 2))
    return [*points[clear]]


def _distance(a: Floats, b: Floats) -> float:
    """The least distance between points of two curves."""
    return float(np.linalg.norm(a[:, None] - b, axis=-1).min())


def _stroke(image: Floats, curve: Floats, *, phase: float, grey: float) -> None:
    """Draw dashes along a curve, into `image`."""
    at = np.arange(0, len(curve) - 1 + 1e-9, 1 / _STEPS)
    points = np.stack([np.interp(at, np.arange(len(curve)), axis) for axis in curve.T], -1)
    dashes = points[(at + phase) % (_DASH + _GAP) < _DASH]
    low = np.floor(dashes).astype(int)
    part = dashes - low
    drawn = np.zeros_like(image)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(drawn, (low[:, 0] + dy, low[:, 1] + dx), weight / _STEPS)
    np.maximum(image, grey * np.minimum(1.3 * drawn, 1), out=image)


def image_of(tokens: Any) -> npt.NDArray[np.int64]:
    """The grey levels (size, size) that a sequence stands for."""
    levels = np.asarray(tokens, np.int64)
    size = math.isqrt(levels.size)
    return levels.reshape(size, size) - 1
