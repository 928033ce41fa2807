"""Scoring of a population as CUDA graphs: a search asks for the same shapes again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.cuda_graph import captured
from clso.models.head_loss import fused_kernel_fits

__all__ = ["Replays"]

_MOST_GRAPHS = 4  # each keeps its own activations


class Replays:
    """`score(values, blocks)` on the device of `blocks`; on CUDA, shapes that come again are captured and replayed.

    `score` takes values (P, n) and token blocks, waits for nothing on the host, and gives (P,) losses. The first call with
    a shape runs it as it is, which loads its kernels; the second captures it.
    """

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor], d_model: int) -> None:
        self._score, self._d_model = score, d_model
        self._seen: dict[tuple[int, int], Tensor] = {}  # blocks are kept, so that their identity stays theirs
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, values: np.ndarray[Any, Any], blocks: Tensor) -> Tensor:
        rows, key = torch.from_numpy(values), (len(values), id(blocks))
        if key not in self._graphs:
            if key not in self._seen or len(self._graphs) == _MOST_GRAPHS or not self._capturable(blocks):
                self._seen[key] = blocks
                return self._score(rows.to(blocks.device), blocks)
            inputs = rows.to(blocks.device)
            graph, out = captured(lambda: self._score(inputs, blocks), blocks.device)
            self._graphs[key] = graph, inputs, out
        graph, inputs, out = self._graphs[key]
        inputs.copy_(rows)
        graph.replay()
        return out

    def _capturable(self, blocks: Tensor) -> bool:
        # The head's other way asks the host which candidates share a table.
        return fused_kernel_fits(blocks.device, blocks[:, 1:].numel(), self._d_model)
