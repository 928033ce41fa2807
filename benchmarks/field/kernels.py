"""Tables like those of tuning a GPU kernel: about half of the configurations cannot run, because
products of block and tile sizes exceed a limit of the card.

A configuration picks the threads of a block, the tile that a thread computes, the unrolling, whether
a tile goes through shared memory, and the width of a load. It fails if the block has too many
threads, too few, too many registers or too much shared memory. What runs takes the time of a
roofline (Williams et al. 2009, doi:10.1145/1498765.1498785): arithmetic or traffic, whichever takes
longer, over the share of the card that its blocks fill, and a little that no formula explains. The
seed draws the card and the kernel; none of it is a measurement."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np

from clso.space import Genome

__all__ = ["GENES", "Table", "table"]

GENES: dict[str, tuple[int, ...]] = {
    "block_x": (16, 32, 48, 64, 96, 128, 192, 256),
    "block_y": (1, 2, 4, 6, 8, 12, 16, 32),
    "tile_x": (1, 2, 3, 4, 6, 8),
    "tile_y": (1, 2, 3, 4, 6, 8),
    "unroll": (1, 2, 4),
    "shared": (0, 1),
    "vector": (1, 2),
}
"""Name -> values: 27,648 configurations."""

Table = dict[Genome, float]
"""Milliseconds of each configuration; infinite if it cannot run."""

_SIZE = 4096  # points of the picture, a side
_WARP = 32


@cache
def table(seed: int) -> Table:
    """The table of one card and kernel."""
    rng = np.random.default_rng([6, seed])
    radius = int(rng.choice([1, 2, 4, 7]))  # of the filter, in points
    registers = float(rng.uniform(8, 20))  # of a thread, without its tile
    a_point = float(rng.uniform(1.0, 3.0))  # registers for each point of a thread's tile
    max_threads = int(rng.choice([768, 1024]))
    shared_bytes = 1024 * int(rng.choice([32, 48, 64]))
    register_file = int(rng.choice([32, 64])) * 1024
    flops_per_byte = float(rng.uniform(4, 30))
    prefers = rng.normal(0, 0.06, size=(len(GENES), 8))  # what no formula explains
    pairs = list(itertools.combinations(range(len(GENES)), 2))
    together = rng.normal(0, 0.12, size=(len(pairs), 8, 8))
    alone = rng.normal(0, 0.05, size=math.prod(map(len, GENES.values())))
    out: Table = {}
    genomes = itertools.product(*(range(len(values)) for values in GENES.values()))
    for number, genome in enumerate(genomes):
        bx, by, tx, ty, unroll, shared, vector = (
            values[a] for values, a in zip(GENES.values(), genome, strict=True)
        )
        threads = bx * by
        used_registers = threads * (registers + a_point * tx * ty + 1.5 * unroll * vector)
        tile_points = (bx * tx + 2 * radius) * (by * ty + 2 * radius)
        used_shared = 4 * tile_points * shared
        if (
            not _WARP <= threads <= max_threads
            or used_registers > register_file
            or used_shared > shared_bytes
            or (vector > 1 and tx % vector)
        ):
            out[genome] = math.inf
            continue
        blocks = min(
            register_file // used_registers,
            shared_bytes // used_shared if used_shared else 16,
            2048 // threads,
            16,
        )
        occupancy = min(1.0, blocks * threads / 2048)
        filled = occupancy * (1 - 0.4 / (tx * ty)) * (1 - 0.25 / unroll)
        work = (2 * radius + 1) ** 2
        read = tile_points / (bx * tx * by * ty) if shared else 1 + 0.15 * work / math.sqrt(tx * ty)
        traffic = (read + 1) * (1 if vector > 1 else 1.15) * (1 if bx >= _WARP else 1.6)
        waves = math.ceil(_SIZE / (bx * tx)) * math.ceil(_SIZE / (by * ty)) / (80 * max(1, blocks))
        tail = math.ceil(waves) / waves
        ms = tail * max(work / flops_per_byte / (0.15 + filled), traffic / (0.3 + occupancy**0.5))
        own = sum(prefers[g, a] for g, a in enumerate(genome)) + alone[number]
        own += sum(together[k, genome[i], genome[j]] for k, (i, j) in enumerate(pairs))
        out[genome] = float(ms * math.exp(own))
    return out
