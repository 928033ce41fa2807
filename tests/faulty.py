"""Search spaces whose workers die, hang or run out of memory; loaded as plugins, by FILE.py:NAME.

Each writes what it measures to the folder $CLSO_TEST_LOG, one file a process: what the tests count,
and whom they kill."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from toys import OneMax, ScoreObjective

from clso.space import Genome
from clso.space.functions import FunctionObjective
from clso.space.results import Evaluation


def log_folder() -> Path:
    return Path(os.environ["CLSO_TEST_LOG"])


def once(name: str) -> bool:
    """Whether this is the first call with this name, in any process: a file of this name then holds
    that process's id."""
    own = log_folder() / f"{os.getpid()}.first"
    own.write_text(str(os.getpid()))
    try:
        os.link(own, log_folder() / name)
    except FileExistsError:
        return False
    return True


class Logged(ScoreObjective):
    """Says what it does: "pid.begun" and "pid.done" hold a line for each genome."""

    delay_s = 0.0

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        self._note("begun", genomes)
        if str(os.getpid()) != os.environ["CLSO_TEST_DRIVER"]:
            time.sleep(self.delay_s * len(genomes))
        self.trouble(genomes)
        out = super().evaluate(genomes, fidelity)
        self._note("done", genomes)
        return out

    def trouble(self, genomes: Sequence[Genome]) -> None:
        """What goes wrong."""

    @staticmethod
    def _note(what: str, genomes: Sequence[Genome]) -> None:
        with open(log_folder() / f"{os.getpid()}.{what}", "a") as file:
            file.writelines("".join(map(str, g)) + "\n" for g in genomes)


class Slow(OneMax):
    """Ten milliseconds a genome in workers: time enough to be killed in."""

    def objective(self) -> Logged:
        objective = Logged(self.score)
        objective.delay_s = 0.01
        return objective


class Slower(OneMax):
    """The same with forty, for runs that are to be caught: few generations last long."""

    def objective(self) -> Logged:
        objective = Logged(self.score)
        objective.delay_s = 0.04
        return objective


class _Kills(Logged):
    def trouble(self, genomes: Sequence[Genome]) -> None:
        if any(g[:4] == (1, 1, 0, 1) for g in genomes):
            os.kill(os.getpid(), signal.SIGKILL)


class Killer(OneMax):
    """One genome in sixteen kills its worker."""

    def objective(self) -> Logged:
        return _Kills(self.score)


class _Hangs(Logged):
    def trouble(self, genomes: Sequence[Genome]) -> None:
        if once("hung"):
            time.sleep(10_000)


class Hangs(OneMax):
    """The first batch never ends."""

    def objective(self) -> Logged:
        return _Hangs(self.score)


class _Stops(Logged):
    def trouble(self, genomes: Sequence[Genome]) -> None:
        if once("stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)


class Stops(OneMax):
    """The first worker is stopped in mid-batch: it does not even hear Ray."""

    def objective(self) -> Logged:
        return _Stops(self.score)


class Hungry(OneMax):
    """One genome in sixteen asks for more memory than there is; the first worker exceeds a
    limit."""

    def objective(self) -> FunctionObjective:  # type: ignore[override]
        def values(genomes: Sequence[Genome]) -> np.ndarray:
            if (log_folder() / "use the limit").exists() and once("limited"):
                # the kernel kills the process, as it does for memory
                resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
                while True:
                    pass
            if any(g[:4] == (1, 0, 1, 1) for g in genomes):
                np.zeros(1 << 50)  # raises MemoryError
            return np.array([self.score(g) for g in genomes])

        return FunctionObjective(values)


class OnlyHere(OneMax):
    """Cannot be built by a worker."""

    def __init__(self) -> None:
        super().__init__()
        if str(os.getpid()) != os.environ["CLSO_TEST_DRIVER"]:
            raise RuntimeError("this works only in the driver")


class DiesAtBirth(OneMax):
    """Kills the worker that builds it."""

    def __init__(self) -> None:
        super().__init__()
        if str(os.getpid()) != os.environ["CLSO_TEST_DRIVER"]:
            os.kill(os.getpid(), signal.SIGKILL)
