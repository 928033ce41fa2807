"""Scoring of a population as CUDA graphs: a search asks for the same shapes again and again.

A small population's forward pass is a hundred short kernels, and launching them one by one takes
the host longer than they run. A graph is launched at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.device import captured
from clso.models.head_loss import fused_kernel_fits

__all__ = ["Replays"]

_MOST_GRAPHS = 4  # each keeps its own activations
_BEFORE_CAPTURE = (
    2  # calls with a shape that are run as they are: a capture costs as much as some of them
)


class Replays:
    """`score(values, blocks)` on the device of `blocks`; on CUDA, shapes that come again are
    captured and replayed.

    `score` takes values (P, n) and token blocks, waits for nothing on the host, and gives (P,)
    losses."""

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor], head_width: int) -> None:
        """`head_width`: columns of the output tables."""
        self._score, self._head_width = score, head_width
        # how often; blocks, so that no others get their id
        self._seen: dict[tuple[int, int], tuple[int, Tensor]] = {}
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, values: np.ndarray[Any, Any], blocks: Tensor) -> Tensor:
        rows, key = torch.from_numpy(values), (len(values), id(blocks))
        if key not in self._graphs:
            seen = self._seen.get(key, (0, blocks))[0]
            self._seen[key] = seen + 1, blocks
            if (
                seen < _BEFORE_CAPTURE
                or len(self._graphs) == _MOST_GRAPHS
                or not self._capturable(blocks)
            ):
                return self._score(rows.to(blocks.device), blocks)
            self._graphs[key] = self._captured(rows.to(blocks.device), blocks)
        graph, inputs, out = self._graphs[key]
        inputs.copy_(rows)
        graph.replay()
        return out.clone()  # the next replay writes there again

    def _capturable(self, blocks: Tensor) -> bool:
        # The head's other way asks the host which candidates share a table.
        return fused_kernel_fits(
            blocks.device, blocks[:, 1:].numel(), self._head_width, torch.float16
        )

    def _captured(
        self, inputs: Tensor, blocks: Tensor
    ) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """The graph, its input and its output; each replay fills the output anew."""
        stream = torch.cuda.Stream(blocks.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(blocks.device))
        with torch.cuda.stream(stream), captured() as graph:
            out = self._score(inputs, blocks)
        torch.cuda.current_stream(blocks.device).wait_stream(stream)
        return graph, inputs, out
