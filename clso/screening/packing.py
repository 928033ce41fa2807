"""Numbers in a checkpoint: base64 of little-endian arrays, exact, and cheap enough to be written
every generation."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.space import Genome

__all__ = ["pack", "pack_rows", "unpack", "unpack_rows"]


def pack(numbers: Iterable[Any], kind: str) -> str:
    """An array of dtype `kind` ("<f8", ...) as text."""
    return base64.b64encode(np.array(list(numbers), dtype=kind).tobytes()).decode()


def unpack(packed: str, kind: str) -> npt.NDArray[Any]:
    """The packed numbers, flat. Raises TypeError or ValueError if there are none."""
    return np.frombuffer(base64.b64decode(packed), dtype=kind)


def pack_rows(rows: Iterable[tuple[Genome, tuple[float, ...]]]) -> dict[str, str]:
    """Genomes with their values, as many each."""
    pairs = list(rows)
    return {
        "genomes": pack((g for g, _ in pairs), "<i4"),
        "values": pack((v for _, v in pairs), "<f8"),
    }


def unpack_rows(
    packed: dict[str, str], n_genes: int, n_values: int = 1
) -> list[tuple[Genome, tuple[float, ...]]]:
    """What `pack_rows` packed. Raises KeyError, TypeError or ValueError for damaged text."""
    values = unpack(packed["values"], "<f8").reshape(-1, n_values)
    genomes = unpack(packed["genomes"], "<i4").reshape(len(values), n_genes)
    return [
        (tuple(genome), tuple(value))
        for genome, value in zip(genomes.tolist(), values.tolist(), strict=True)
    ]
