"""Scans of ours on a GPU beside those of the libraries that their authors keep: seconds of a pass and its gradient.

    pip install mamba-ssm fla-core        # of which those are measured that are there
    python -m benchmarks.scans --out FILE

Mamba's selective scan (`mamba_ssm`) and RWKV-4's mean (`fla`), at d = 64: 128 channels of 16 states, and 64
channels. Each gets its inputs as it likes them to lie. Both take turns; results and gradients are compared first."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.side_by_side import tell
from clso.baselines.rwkv import wkv
from clso.models.fused import difference, with_gradients
from clso.models.selective import selective_scan
from clso.run.manifest import describe_device, describe_software

LENGTHS = (1024, 4096, 16384)
REPETITIONS = 50
WIDTH = 64
STATES = 16
AGREES = 1e-3
"""The most that a library's results may differ: its exponentials are approximate."""

Scan = Callable[..., Tensor]


class Pair(NamedTuple):
    """A scan of ours and a library's, and its inputs."""

    package: str
    ours: Scan
    theirs: Scan
    inputs: list[Tensor]
    swapped: tuple[int, ...]
    """Which inputs are (B, channels, T) there, as is what it gives."""


def mamba(length: int) -> Pair:
    """Equation 2 of Mamba."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    e, n = 2 * WIDTH, STATES
    shapes = (1, length, e), (1, length, e), (e, n), (1, length, n), (1, length, n)
    x, step, a, b, c = drawn(*shapes)
    inputs = [x, torch.nn.functional.softplus(step - 3), -a.exp(), b, c]
    return Pair("mamba_ssm", selective_scan, selective_scan_fn, inputs, (0, 1, 3, 4))


def rwkv(length: int) -> Pair:
    """Equation 16 of RWKV."""
    from fla.ops.rwkv4 import fused_recurrent_rwkv4

    def theirs(rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
        state = key.new_zeros(1, 3, 1, WIDTH)
        state[:, 2] = -1e30
        out: Tensor = fused_recurrent_rwkv4(rate.log(), bonus, key, value, state)[0]
        return out

    rate, bonus, key, value = drawn((WIDTH,), (WIDTH,), (1, length, WIDTH), (1, length, WIDTH))
    return Pair("fla_core", wkv, theirs, [rate.exp(), bonus, key, value], ())


def drawn(*shapes: tuple[int, ...]) -> list[Tensor]:
    """Normal numbers on the GPU."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).cuda() for shape in shapes]


def lying(pair: Pair) -> list[Tensor]:
    """The library's inputs."""
    return [
        x.transpose(1, 2).contiguous() if i in pair.swapped else x
        for i, x in enumerate(pair.inputs)
    ]


def differs(pair: Pair) -> float:
    """Results and gradients."""

    def theirs(*inputs: Tensor) -> Tensor:
        given = [x.transpose(1, 2) if i in pair.swapped else x for i, x in enumerate(inputs)]
        out = pair.theirs(*given)
        return out.transpose(1, 2) if pair.swapped else out

    return difference(*(with_gradients(scan, pair.inputs) for scan in (theirs, pair.ours)))


def seconds_of(scan: Scan, inputs: list[Tensor]) -> float:
    """One pass and its gradient, until the device has done it."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    torch.cuda.synchronize()
    start = time.perf_counter()
    out = scan(*leaves)
    torch.autograd.grad(out.sum(), leaves)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        parser.error("a CUDA device is needed: there is none")
    rows, packages = [], {}
    for name, made in {"mamba": mamba, "rwkv": rwkv}.items():
        for length in LENGTHS:
            try:
                pair = made(length)
                packages[pair.package] = version(pair.package)
            except (ImportError, PackageNotFoundError) as error:
                tell(f"{name}: {error}")
                break
            found = differs(pair)
            if found > AGREES:
                raise SystemExit(f"{name} at {length}: results differ by {found:.1e}")
            sides = {"ours": (pair.ours, pair.inputs), "library": (pair.theirs, lying(pair))}
            times: dict[str, list[float]] = {side: [] for side in sides}
            for turn in range(REPETITIONS + 3):
                for side, (scan, inputs) in sides.items():
                    taken = seconds_of(scan, inputs)
                    if turn >= 3:  # the first ones load kernels
                        times[side].append(taken)
            for side, taken_s in times.items():
                row = {"scan": name, "form": side, "length": length, "time_s": median(taken_s)}
                rows.append(row | {"least_time_s": min(taken_s), "difference": found})
                tell(f"{name} {length} {side}: {1e3 * median(taken_s):.2f} ms")
    record = {
        "software": describe_software() | packages,
        "hardware": describe_device("cuda"),
        "sizes": f"batch 1, float32, d = {WIDTH}, {STATES} states",
        "repetitions": REPETITIONS,
        "rows": rows,
    }
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
