"""Which worker measures what, and what becomes of a worker's candidates when it dies. No Ray and no
clock in here.

The caller sends the batches, waits for answers, and tells what happened and when; a simulation
drives it as a cluster does.

1. The queue is cut into batches. Each worker has at most two: one that it works on, and one at hand
   for when it is done.
2. A worker that dies or hangs loses both. The first was running, as far as is known: each of its
   candidates is measured alone from then on, so that the one that kills workers is found. Nothing
   is held against the others.
3. Alone is: by a worker that has nothing else, before or behind. The answer to a batch can die with
   a worker that was already at its next.
4. A candidate over which alone `attempts` workers died is a failed evaluation, with what they died
   of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clso.space import Genome
from clso.space.results import Evaluation

__all__ = ["Dispatcher", "Task"]

# a worker's share of a submission is cut no finer, for each batch costs the driver a millisecond
_STEPS = 16
_DEPTH = 2  # batches of a worker: with the next at hand, it need not wait for the driver


@dataclass(frozen=True)
class Task:
    """A batch on its way to one worker."""

    number: int
    genomes: tuple[Genome, ...]
    fidelity: int


@dataclass
class _Candidate:
    genome: Genome
    fidelity: int
    deaths: tuple[str, ...] = ()
    n_alone: int = 0  # of them, where the worker had nothing else


class Dispatcher:
    """Batches for workers, which are known by numbers. Times are seconds on any clock that does not
    go back.

    Args:
        attempts: how many workers may die over a candidate that is alone.
        timeout_s: how long a worker may take over a batch.
        batch: candidates of a batch. None: the queue is cut into two for each worker, and what is
            left then into two for each again, so that the last ones are small and all end at about
            the same time (guided self-scheduling, Polychronopoulos & Kuck 1987,
            doi:10.1109/TC.1987.5009495).
        even: with `batch` None, one equal share for each worker: for devices that take many as fast
        as a few.
    """

    def __init__(
        self, *, attempts: int, timeout_s: float, batch: int | None = None, even: bool = False
    ) -> None:
        self._attempts, self._timeout_s, self._batch, self._even = attempts, timeout_s, batch, even
        self._queue: deque[_Candidate] = deque()
        self._sent: dict[int, deque[tuple[Task, list[_Candidate]]]] = {}
        # workers by number of tasks
        self._with: tuple[dict[int, None], ...] = tuple({} for _ in range(_DEPTH + 1))
        self._since: dict[int, float] = {}  # when the worker began its first task
        self._n_tasks = 0
        self._share = 1

    @property
    def busy(self) -> bool:
        """Whether there is anything that is not answered."""
        return bool(self._queue) or len(self._with[0]) < len(self._sent)

    def is_idle(self, worker: int) -> bool:
        return worker in self._with[0]

    def add_worker(self, worker: int) -> None:
        self._sent[worker] = deque()
        self._with[0][worker] = None

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._queue.extend(_Candidate(g, fidelity) for g in genomes)
        self._share = -(-len(self._queue) // max(1, len(self._sent)))

    def assign(self, now_s: float) -> list[tuple[int, Task]]:
        """What to send to whom now."""
        out = []
        for n_tasks in range(_DEPTH):  # nobody gets a second batch before all have a first
            for worker in list(self._with[n_tasks]) if self._queue else ():
                if not self._queue or (n_tasks and len(self._queue) < (self._batch or 1)):
                    break  # who has work waits: better a whole batch later
                if n_tasks and self._queue[0].deaths:
                    break  # it waits for a worker that has nothing
                if n_tasks and self._sent[worker][0][1][0].deaths:
                    continue
                candidates = self._take()
                self._n_tasks += 1
                task = Task(
                    self._n_tasks, tuple(c.genome for c in candidates), candidates[0].fidelity
                )
                if not n_tasks:
                    self._since[worker] = now_s
                self._sent[worker].append((task, candidates))
                self._moved(worker, n_tasks)
                out.append((worker, task))
        return out

    def _moved(self, worker: int, before: int) -> None:
        del self._with[before][worker]
        self._with[len(self._sent[worker])][worker] = None

    def _take(self) -> list[_Candidate]:
        first = self._queue.popleft()
        taken = [first]
        if first.deaths:
            return taken
        size = self._batch
        if size is None:
            guided = -(-(len(self._queue) + 1) // (_DEPTH * len(self._sent)))
            size = self._share if self._even else max(guided, self._share // _STEPS)
        while self._queue and len(taken) < size:
            if self._queue[0].deaths or self._queue[0].fidelity != first.fidelity:
                break
            taken.append(self._queue.popleft())
        return taken

    def finished(self, worker: int, now_s: float) -> None:
        """The worker's first task is answered."""
        n_tasks = len(self._sent[worker])
        self._sent[worker].popleft()
        self._moved(worker, n_tasks)
        self._since[worker] = now_s

    def lost(self, worker: int, reason: str) -> list[Evaluation]:
        """The worker is gone. Returns the candidates that are given up; the others are queued
        again, in front."""
        failed: list[Evaluation] = []
        back: list[_Candidate] = []
        tasks = self._sent.pop(worker, deque())
        self._with[len(tasks)].pop(worker, None)
        for position, (_, candidates) in enumerate(tasks):
            for c in candidates:
                if position == 0:
                    c.deaths = (*c.deaths, reason)
                    c.n_alone += len(candidates) == len(tasks) == 1
                if c.n_alone >= self._attempts:
                    failed.append(
                        Evaluation(c.genome, c.fidelity, (), "failed", 0, _death_note(c.deaths))
                    )
                else:
                    back.append(c)
        self._since.pop(worker, None)
        self._queue.extendleft(reversed(back))
        return failed

    def overdue(self, now_s: float) -> list[int]:
        """Workers that have been at one batch for too long."""
        return [
            w
            for w, tasks in self._sent.items()
            if tasks and now_s - self._since[w] > self._timeout_s
        ]


def _death_note(deaths: Iterable[str]) -> str:
    lines = list(deaths)
    return f"{len(lines)} workers died over this candidate:\n" + "\n".join(lines)
