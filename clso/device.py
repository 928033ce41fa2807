"""Which device a run computes on."""

from __future__ import annotations

import gc
import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch

from clso.errors import DeviceError

__all__ = [
    "can_ask",
    "captured",
    "has_triton",
    "matmul_precision",
    "quiet_host",
    "resolve_device",
    "sent",
    "side_by_side",
    "warm_up_cpu",
]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_RARELY = 100_000  # new objects before garbage is looked for


def resolve_device(name: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as "cpu" or "cuda:N"; a CPU is settled. Raises
    `DeviceError` for one that is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda:0" if count else "cpu"
    if name == "cpu":
        warm_up_cpu()
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise DeviceError("device is auto, cpu, cuda or cuda:N", got=name)
    index = int(match.group(1) or 0)
    if index >= count:
        raise DeviceError(
            f"this machine has {count} CUDA device(s)",
            got=name,
            remedy="Use --device auto, or see `clso doctor`.",
        )
    return f"cuda:{index}"


def can_ask(x: torch.Tensor) -> bool:
    """Whether the host may look at a tensor: not while a CUDA graph is captured."""
    return not (x.is_cuda and torch.cuda.is_current_stream_capturing())


@contextmanager
def captured(pool: Any = None) -> Iterator[torch.cuda.CUDAGraph]:
    """A graph of what is started inside on the current stream, with another graph's memory `pool`.

    `torch.cuda.graph` would collect garbage and empty the allocator's cache first: more than a graph
    saves. It is enough that nothing is collected meanwhile: an older graph that is freed during a
    capture would end it."""
    graph = torch.cuda.CUDAGraph()
    collecting = gc.isenabled()
    gc.disable()
    try:
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            yield graph
        finally:
            graph.capture_end()
    finally:
        if collecting:
            gc.enable()


@cache
def warm_up_cpu() -> None:
    """Call the kernels of a forward pass once, on one small product, before anything is measured;
    later calls do nothing.

    They set themselves up at their first call. If two threads get there at once, one of them may
    take another kernel: on a busy machine the first evaluation of one process in five then differed
    in its sixth digit, and so did its run."""
    x = torch.linspace(-5, 5, 1 << 18).view(256, 1024)
    (x @ x.T).logsumexp(1)
    x.exp().log()
    torch.nn.functional.gelu(x, approximate="tanh")


def sent(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A few numbers of the host on a device, for which the host does not wait."""
    return numbers.to(device, non_blocking=True)


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Float32 products inside as `torch.set_float32_matmul_precision(name)` says ("high" is TF32 on
    CUDA); outside as before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def quiet_host(device: str) -> Iterator[None]:
    """With a GPU, one host thread for linear algebra, and garbage is seldom looked for; else as it
    is.

    What the host does beside a GPU is to launch kernels, and whatever else it does they wait for.
    Its matrices are the surrogate's small ones: more threads take six times the CPU time, since they
    spin while they wait for work. Looking for cycles among all objects of the libraries that are
    loaded took 7 % of a search's joules."""
    if not device.startswith("cuda"):
        yield
        return
    n_threads, thresholds = torch.get_num_threads(), gc.get_threshold()
    torch.set_num_threads(1)
    gc.freeze()
    gc.set_threshold(_RARELY, *thresholds[1:])
    try:
        with _thread_pools().limit(limits=1):
            yield
    finally:
        gc.collect(1)  # what is left in cycles would fill the device, run by run
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        torch.set_num_threads(n_threads)


def side_by_side(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], device: torch.device
) -> list[ResultT]:
    """`function` of each of the items, in their order.

    On a CPU so many at a time as torch has threads, each with one thread to compute with: operations
    on small matrices are not worth sharing out. No result depends on how many there are."""
    n_threads = torch.get_num_threads()
    if device.type != "cpu" or not items:
        return list(map(function, items))
    torch.set_num_threads(1)  # also of threads that begin from here on
    try:
        if n_threads == 1:
            return list(map(function, items))
        with ThreadPoolExecutor(min(n_threads, len(items))) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(n_threads)


@cache
def _thread_pools() -> Any:
    """Of the libraries that are loaded. Finding them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@cache
def has_triton() -> bool:
    """Whether our own GPU kernels can be compiled."""
    return importlib.util.find_spec("triton") is not None
