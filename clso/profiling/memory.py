"""Peak memory of a pass, exactly, and what happens when it does not fit.

On CUDA the allocator's own peak is read. On a CPU every storage that an operator returns is counted
from its birth until its last reference goes, so the peak does not depend on the allocator or on
what ran before. What a kernel allocates and frees within one operator is not in it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clso.errors import ConfigError

__all__ = [
    "LiveBytes",
    "OverBudget",
    "describe_out_of_memory",
    "is_out_of_memory",
    "limited",
    "resolve_budget",
]

_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
)


class OverBudget(MemoryError):
    """The tensors of a cell outgrew its budget."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the CPU storages that are alive while it is entered.

    Attributes:
        held_bytes: what `held` (weights, tokens) weighs: alive throughout, and counted in both
        figures below.
        live_bytes: alive now.
        peak_bytes: the most that was alive at once.
    """

    def __init__(self, held: list[torch.Tensor], budget_bytes: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = self.peak_bytes = 0
        self._budget_bytes, self._most_bytes = budget_bytes, float("inf")
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in held:
            self._see(tensor)
        self.held_bytes = self.live_bytes
        if budget_bytes is not None:
            self._most_bytes = self.held_bytes + budget_bytes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch imports its compiler for a mode's first operator, and goes through it at every
        one: half the time."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in (out,) if isinstance(out, torch.Tensor) else tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf)
        return out

    def _see(self, tensor: torch.Tensor) -> None:
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        n_bytes = storage.nbytes()

        def gone(_: object) -> None:
            del self._known[key]
            self.live_bytes -= n_bytes

        self._known[key] = weakref.ref(storage, gone)
        self.live_bytes += n_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        if self.live_bytes > self._most_bytes:
            raise OverBudget(f"tensors outgrew the budget of {self._budget_bytes:,} bytes")


def resolve_budget(budget_bytes: int | None, device: str) -> int | None:
    """The budget of a cell on `device` in bytes: on a CPU 80 % of the free memory unless given, on
    CUDA None.

    Raises `ConfigError` for a budget on CUDA, where the card's own memory is the limit.
    """
    if device != "cpu":
        if budget_bytes is not None:
            raise ConfigError(
                "a memory budget is for the CPU; a card's own memory is the limit", got=device
            )
        return None
    if budget_bytes is None:
        import psutil

        budget_bytes = int(0.8 * psutil.virtual_memory().available)
    return budget_bytes


@contextmanager
def limited(budget_bytes: int | None) -> Iterator[None]:
    """Have the kernel refuse what would outgrow the budget by far, so that no other process pays
    for it.

    `LiveBytes` sees a tensor when it is there already, and one can be larger than the machine. On
    Linux the process's private memory (RLIMIT_DATA) is bounded by what it holds now, the budget and
    a quarter more; elsewhere nothing is."""
    if budget_bytes is None or not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _private_bytes() + budget_bytes + max(budget_bytes // 4, 256 << 20)
    bounds = [b for b in (soft, hard, wanted) if b != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _private_bytes() -> int:
    for line in (
        Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is the failure of an allocation: CUDA's, the CPU allocator's, Python's or the
    budget's."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)


def describe_out_of_memory(error: BaseException) -> str:
    """What the allocator said, without the place in its source and its advice: two sentences."""
    text = str(error).rpartition("DefaultCPUAllocator: ")[2].strip()
    return ". ".join(text.splitlines()[0].split(". ")[:2]) if text else type(error).__name__
