"""CUDA graphs: work of many short kernels that is repeated is captured once and launched whole.

Launching a kernel takes the host several microseconds, which is longer than many of them run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["captured", "repeat"]

T = TypeVar("T")


def captured(work: Callable[[], T], device: torch.device) -> tuple[torch.cuda.CUDAGraph, T]:
    """The graph of `work`, and what `work` returned: tensors that each replay fills anew.

    `work` waits for nothing on the host and has run before with the same shapes, so that its kernels are loaded.
    """
    # torch.cuda.graph would collect garbage and empty the allocator's cache first: more than a short graph saves.
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            out = work()
        finally:
            graph.capture_end()
    torch.cuda.current_stream(device).wait_stream(stream)
    return graph, out


def repeat(work: Callable[[], None], times: int, device: torch.device) -> None:
    """Run `work`, which reads and writes tensors that stay where they are, `times` times."""
    if device.type != "cuda" or times < 3:
        for _ in range(times):
            work()
        return
    work()
    graph, _ = captured(work, device)
    for _ in range(times - 1):
        graph.replay()
