"""The trainings of a probe: each of one model, seed and learning rate, one after another or side by
side in processes, kept in a folder each."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clso import plugins
from clso.device import resolve_device
from clso.errors import EvaluationError
from clso.run.folder import RunFolder
from clso.tasks.base import Task, load_task
from clso.tasks.models import build_model, save_model
from clso.tasks.scoring import Score
from clso.tasks.train import Fit, TrainSettings, fit

__all__ = ["TaskSpec", "Training", "load_cached", "train_all"]

Progress = Callable[[str], None]

_FIT = "fit.json"
_LOOK_S = 0.1  # for progress, while processes train


class TaskSpec(NamedTuple):
    """What a task is loaded from, wherever it is."""

    name: str
    options: tuple[tuple[str, Any], ...]
    seed: int


@lru_cache(maxsize=1)
def load_cached(spec: TaskSpec) -> Task:
    """The task; the last one is remembered, since its examples may take seconds to draw."""
    return load_task(spec.name, dict(spec.options), spec.seed)


@dataclass(frozen=True)
class Training:
    """One model, trained on a task by AdamW from one seed at one rate.

    Attributes:
        name: what progress calls the model, `spec` what it is built from.
        may_diverge: whether a loss that is no number is a result, and not an error.
        root: folder of the trainings that are kept.
    """

    name: str
    spec: str
    sizes: tuple[tuple[str, Any], ...]
    task: TaskSpec
    settings: TrainSettings
    seed: int
    lr: float
    device: str
    may_diverge: bool
    root: Path

    @property
    def folder(self) -> Path:
        """Where the model and its `Fit` are kept; its name tells all that they follow from."""
        values = {key: value for key, value in asdict(self).items() if key != "root"}
        named = (plugins.load("models", self.spec), plugins.load("tasks", self.task.name))
        values["code"] = [plugin.describe() for plugin in named]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return self.root / f"{self.name}-{self.seed}-{digest[:12]}"

    def kept(self) -> Fit | None:
        """What an earlier `run` left, if it came to its end with a loss that is a number."""
        if not (self.folder / _FIT).is_file():
            return None
        found = RunFolder(self.folder).read_json(_FIT)
        return Fit(**{**found, "valid": Score(**found["valid"])})

    def run(self, progress: Progress) -> Fit:
        """Train, and keep the weights.

        One thread computes, so that the result is the same beside others as alone.

        Raises:
            EvaluationError: it diverged.
            PluginError: the model's code failed.
        """
        task = load_cached(self.task)
        model = build_model(self.spec, task, dict(self.sizes), seed=self.seed).to(self.device)
        about = f"{self.name}, seed {self.seed}, lr {self.lr:.2g}"
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with plugins.as_plugin_error(f"the model {self.name!r} can be trained"):
                done = fit(
                    model,
                    task,
                    self.settings,
                    self.lr,
                    seed=self.seed,
                    device=self.device,
                    progress=lambda text: progress(f"{about}: {text}"),
                )
        finally:
            torch.set_num_threads(n_threads)
        if done.valid is not None:
            save_model(self.spec, model, self.folder)
            with suppress(ValueError):  # of a curve that ends in no number, which JSON has not
                RunFolder(self.folder).write_json(_FIT, asdict(done))
        elif not self.may_diverge:
            raise EvaluationError(
                f"the training of {self.name} has a finite loss", got=self.lr, remedy="Lower --lr."
            )
        return done


def train_all(trainings: Sequence[Training], jobs: int, progress: Progress) -> list[Fit]:
    """Each training's result, in order, `jobs` at a time; what is kept already is read.

    Raises:
        EvaluationError: a training diverged that may not, or its process died.
    """
    known = [training.kept() for training in trainings]
    missing = [one for one, done in zip(trainings, known, strict=True) if done is None]
    jobs = min(jobs, len(missing))
    found = iter(
        _side_by_side(missing, jobs, progress)
        if jobs > 1
        else [training.run(progress) for training in missing]
    )
    return [next(found) if done is None else done for done in known]


def _side_by_side(trainings: Sequence[Training], jobs: int, progress: Progress) -> list[Fit]:
    """In `jobs` processes, which end with this function, however it ends, and with this process."""
    spawn = get_context("spawn")  # CUDA does not survive a fork
    lines: SimpleQueue[str] = spawn.SimpleQueue()
    ours, alive = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        jobs, mp_context=spawn, initializer=_begin, initargs=(ours, lines, trainings[0].device)
    )
    try:
        futures = [pool.submit(_run, training) for training in trainings]
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            while not lines.empty():
                progress(lines.get())
            for one in done:
                one.result()  # the first error ends all
        return [one.result() for one in futures]
    except BrokenProcessPool as error:
        raise EvaluationError(
            "a process that trains lives until it is done",
            remedy="Memory may be short: lower --jobs.",
        ) from error
    finally:
        alive.close()
        pool.shutdown(cancel_futures=True)


_tell: Progress = print
"""In a process of `_side_by_side`: how its progress is told."""


def _begin(alive: Connection, lines: SimpleQueue[str], device: str) -> None:
    """Set a new process up."""
    global _tell
    _tell = lines.put
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it says when to end
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    resolve_device(device)


def _end_with(alive: Connection) -> None:
    """End this process, in the middle of whatever it does, when the other end is closed."""
    with suppress(EOFError, OSError):
        alive.recv_bytes()
    os._exit(1)


def _run(training: Training) -> Fit:
    return training.run(_tell)
