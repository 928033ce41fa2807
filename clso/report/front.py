"""The front of a run with several objectives, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.run.entries import finite

__all__ = ["Floats", "Front", "read_front"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Front:
    """True evaluations only. `points` (n, objectives) are the front's values, by rising first one;
    `genomes` are theirs.

    `everything` (evaluations, objectives) is all that was measured, `hypervolume` (generations,)
    grew around `reference`."""

    objectives: tuple[str, ...]
    points: Floats
    genomes: tuple[tuple[int, ...], ...]
    everything: Floats
    hypervolume: Floats
    reference: Floats


def read_front(
    result: dict[str, Any], everything: list[list[float]], hypervolume: list[float]
) -> Front | None:
    """The front in result.json; None for a run of one objective. `everything` and `hypervolume`
    come from the record.

    Raises `KeyError`, `TypeError` or `ValueError` if something is missing, or does not fit
    together."""
    if "front" not in result:
        return None
    names = tuple(map(str, result["objectives"]))
    # the record's values are minimised all, and so are those drawn
    signs = [-1.0 if d == "max" else 1.0 for d in result.get("directions", ["min"] * len(names))]
    if len(signs) != len(names):
        raise ValueError(f"{len(signs)} directions of {len(names)} objectives")

    def read(values: dict[str, Any]) -> list[float]:
        return [sign * finite(values[name]) for sign, name in zip(signs, names, strict=True)]

    points = [read(member["values"]) for member in result["front"]]
    measured = np.array(everything, dtype=np.float64)
    if not points or len(names) < 2 or measured.shape[1:] != (len(names),):
        raise ValueError(
            f"a front of {len(points)} genomes with {len(names)} objectives, {measured.shape} measured"
        )
    return Front(
        tuple(name if sign > 0 else f"-{name}" for sign, name in zip(signs, names, strict=True)),
        np.array(points),
        tuple(tuple(map(int, member["genome"])) for member in result["front"]),
        measured,
        np.array(hypervolume, dtype=np.float64),
        np.array(read(result["hypervolume_reference"])),
    )
