"""How threads wait for each other; without torch, since OpenMP settles that when torch loads it."""

from __future__ import annotations

import os

__all__ = ["wait_passively"]


def wait_passively() -> None:
    """Have OpenMP threads, of this process and those that it starts, sleep while they wait for
    work.

    To be called before torch is imported. By default they spin, and on a busy machine each then
    takes the processor from the one that it waits for. `OMP_WAIT_POLICY` (OpenMP 5.2, section 21.7)
    of the user's own stays, and so does what runtimes put above it (`GOMP_SPINCOUNT`,
    `KMP_BLOCKTIME`)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
