"""A training step as CUDA graphs, replayed without touching the host."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["StepGraphs"]

_MOST_STEPS = 10  # in one graph, to share the few microseconds that a launch costs


class StepGraphs:
    """One graph of a single step and one of several.

    `step` must read and write tensors that stay where they are, find its batch through a counter on
    the device, and have run on `stream` before (so that kernels are loaded, workspaces and
    optimizer state exist). Both graphs share one memory pool: nothing in the pool outlives a
    replay."""

    def __init__(
        self, step: Callable[[], None], stream: torch.cuda.Stream, most_steps: int
    ) -> None:
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        pool = None
        for n_steps in sorted({1, min(most_steps, _MOST_STEPS)}):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                for _ in range(n_steps):
                    step()
            pool = graph.pool()
            self._graphs[n_steps] = graph

    @property
    def sizes(self) -> tuple[int, ...]:
        """Steps of each graph."""
        return tuple(self._graphs)

    def run(self, n_steps: int) -> None:
        """Queue `n_steps` steps; returns before they are done."""
        for size in sorted(self._graphs, reverse=True):
            for _ in range(n_steps // size):
                self._graphs[size].replay()
            n_steps %= size
