"""Tables of a folder, such as recorded GPU autotuning runs: `--tables DIR`.

A table is a CSV file. Its header names the genes and, last, the value to be small. A row is a
configuration; an empty value, or a configuration without a row, is invalid. A gene's alleles are
those of its column, in rising order if all are numbers:

    block_size_x,tile_size,use_shared,time_ms
    16,1,yes,2.25
    32,1,yes,
    32,2,no,1.75"""

from __future__ import annotations

import csv
import math
from functools import cache, partial
from pathlib import Path
from statistics import median

from benchmarks.field.invited import EVERYBODY
from benchmarks.field.problem import Genome, Problem, Suite

__all__ = ["read_table", "suite"]


@cache
def read_table(path: Path) -> Problem:
    """A CSV file as a problem whose failures are NaN. Raises ValueError for what is no table."""
    with path.open(newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row]
    if len(header) < 2 or any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path}: every row has the {len(header)} columns of the header")
    columns = list(zip(*rows, strict=True))[:-1]
    alleles = [_in_order(set(column)) for column in columns]
    values = {
        tuple(names.index(cell) for names, cell in zip(alleles, row, strict=False)): float(row[-1])
        for row in rows
        if row[-1]
    }
    if not values:
        raise ValueError(f"{path}: some row has a value")

    def evaluate(genome: Genome) -> float:
        return values.get(genome, math.nan)

    optimum = min(values.values())
    return Problem(
        f"tables/{path.stem}",
        tuple(map(len, alleles)),
        evaluate,
        optimum,
        scale=(median(values.values()) - optimum) or 1.0,
        ordered=tuple(all(map(_is_number, names)) for names in alleles),
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_order(names: set[str]) -> list[str]:
    return sorted(names, key=float) if all(map(_is_number, names)) else sorted(names)


def _load(folder: Path, name: str, seed: int) -> Problem:
    return read_table(folder / f"{name.partition('/')[2]}.csv")


def suite(folder: Path) -> Suite:
    """The tables of a folder. Raises ValueError if there is none."""
    names = sorted(path.stem for path in folder.glob("*.csv"))
    if not names:
        raise ValueError(f"{folder} holds no table (*.csv)")
    return Suite(
        "tables",
        "Tables of a folder",
        f"{', '.join(names)}, as `--tables` was given them; failures are invalid configurations.",
        tuple(f"tables/{name}" for name in names),
        partial(_load, folder),
        n_evaluations=300,
        rivals=EVERYBODY,
    )
