"""The front of a run with several objectives, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.run.entries import finite
from clso.space.measures import sign_of

__all__ = ["Floats", "Front", "read_front"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Front:
    """True evaluations only, as they were measured. `points` (n, objectives) are the front's values,
    the best by the first objective at the begin; `genomes` are theirs; `directions` say "min" or
    "max" of each objective.

    `everything` (evaluations, objectives) is all that was measured, `hypervolume` (generations,)
    grew around `reference`."""

    objectives: tuple[str, ...]
    directions: tuple[str, ...]
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
    directions = tuple(map(str, result.get("directions", ["min"] * len(names))))
    if len(directions) != len(names):
        raise ValueError(f"{len(directions)} directions of {len(names)} objectives")
    # the record's values are minimised all
    signs = np.array([sign_of(d) for d in directions])

    def read(values: dict[str, Any]) -> list[float]:
        return [finite(values[name]) for name in names]

    points = [read(member["values"]) for member in result["front"]]
    measured = np.array(everything, dtype=np.float64)
    if not points or len(names) < 2 or measured.shape[1:] != (len(names),):
        raise ValueError(
            f"a front of {len(points)} genomes with {len(names)} objectives, {measured.shape} measured"
        )
    return Front(
        names,
        directions,
        np.array(points),
        tuple(tuple(map(int, member["genome"])) for member in result["front"]),
        measured * signs,
        np.array(hypervolume, dtype=np.float64),
        np.array(read(result["hypervolume_reference"])),
    )
