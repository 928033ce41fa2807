"""Work of many kinds in one pool of processes, the most urgent first, some of which waits for other."""

from __future__ import annotations

import heapq
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import count
from typing import Any

import torch

__all__ = ["Pool", "tell"]

Then = Callable[[Any], None]


def tell(line: str) -> None:
    """Progress."""
    print(f"  {line}", file=sys.stderr, flush=True)


class Pool:
    """Functions and arguments that processes can be sent; with one worker they run in this process.

    Attributes:
        failed: what went wrong, by the name of the work.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self.failed: dict[str, Exception] = {}
        self._waiting: list[tuple[tuple[float, ...], int, str, Callable[..., Any], Any, Then]] = []
        self._order = count()

    def add(
        self,
        name: str,
        urgency: tuple[float, ...],
        work: Callable[..., Any],
        *args: Any,
        then: Then = lambda found: None,
    ) -> None:
        """Have `work(*args)` done, the smallest `urgency` first; `then` is called here with what it
        found, and may add more. If it fails, nothing that `then` would add is done."""
        heapq.heappush(self._waiting, (urgency, next(self._order), name, work, args, then))

    def run(self) -> None:
        """Do all."""
        if self.n_workers == 1:
            while self._waiting:
                _, _, name, work, args, then = heapq.heappop(self._waiting)
                self._done(name, partial(work, *args), then)
            return
        running: dict[Future[Any], tuple[str, Then]] = {}
        spawn = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        with ProcessPoolExecutor(self.n_workers, spawn, torch.set_num_threads, (1,)) as workers:
            while self._waiting or running:
                while self._waiting and len(running) < self.n_workers:
                    _, _, name, work, args, then = heapq.heappop(self._waiting)
                    running[workers.submit(work, *args)] = name, then
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name, then = running.pop(future)
                    self._done(name, future.result, then)

    def _done(self, name: str, result: Callable[[], Any], then: Then) -> None:
        try:
            found = result()
        except Exception as error:  # the others go on
            self.failed[name] = error
            tell(f"{name}: {type(error).__name__}: {error}")
        else:
            then(found)
