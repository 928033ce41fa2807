"""One private Ray for all tests of a process, and a folder in which the workers' own logs lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ray_runs import TESTS, Log

from clso.config import RunConfig
from clso.evaluation.evaluator import Evaluator
from clso.evaluation.execution import ExecutionBackend
from clso.evaluation.ray_session import RayBackend
from clso.evaluation.workers import Workers
from clso.run import run
from clso.space.build import build_space, load_plugins
from clso.space.objectives import Objectives

# Before ray is imported, which would otherwise write a token to the user's home.
os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "clso-tests" * 7})

MakeEvaluator = Callable[..., Evaluator]


@pytest.fixture(scope="session")
def environment(
    tmp_path_factory: pytest.TempPathFactory, _own_cache: None
) -> Iterator[dict[str, str]]:
    """Environment of drivers and workers, also of those in sub-processes."""
    python_path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    values = {"CLSO_TEST_LOG": str(tmp_path_factory.mktemp("log")), "PYTHONPATH": python_path}
    values["CLSO_TEST_DRIVER"] = str(os.getpid())
    # Not in tmp_path: names of sockets have at most 107 characters.
    with (
        pytest.MonkeyPatch.context() as patch,
        TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
    ):
        for name, value in {**values, "RAY_TMPDIR": folder}.items():
            patch.setenv(name, value)
        yield {**os.environ}


@pytest.fixture
def log(environment: dict[str, str]) -> Log:
    folder = Path(environment["CLSO_TEST_LOG"])
    for path in folder.iterdir():
        path.unlink()
    return Log(folder)


@pytest.fixture(scope="session")
def shared_place(environment: dict[str, str]) -> Iterator[RayBackend]:
    place = RayBackend(Workers(n=3, object_store_mb=80), "cpu")
    yield place
    place.close()


@pytest.fixture
def place(
    shared_place: RayBackend, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RayBackend]]:
    """Sets the workers of the shared Ray, and makes runs use it instead of starting their own."""
    before = shared_place.n, shared_place.workers

    def with_workers(n: int, **settings: Any) -> RayBackend:
        shared_place.n, shared_place.workers = n, replace(before[1], **settings)
        return shared_place

    @contextmanager
    def open_execution(workers: Workers, device: str) -> Iterator[ExecutionBackend]:
        yield with_workers(workers.n) if workers else ExecutionBackend(device)

    monkeypatch.setattr(run, "open_execution", open_execution)
    yield with_workers
    shared_place.n, shared_place.workers = before


@pytest.fixture
def make_evaluator(place: Callable[..., RayBackend]) -> Iterator[MakeEvaluator]:
    """An evaluator on the shared Ray: of a space by its name, or of a whole config."""
    made = []

    def make(config: RunConfig, n: int, **settings: Any) -> Evaluator:
        plugin, _ = load_plugins(config)
        space = build_space(plugin, config, "cpu")
        made.append(place(n, **settings).evaluator(config, Objectives.of(config, space)))
        return made[-1]

    yield make
    for evaluator in made:
        evaluator.close()
