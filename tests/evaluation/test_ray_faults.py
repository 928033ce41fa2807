"""Workers that die, hang, or run out of memory: real processes and real signals. Nothing is lost,
nothing counts twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray_runs import TESTS, Log, faulty, kill, outcome, start
from toys import OneMax
from waiting import HANG_S, wait_for

from clso.config import RunConfig
from clso.errors import EvaluationError
from clso.evaluation import raylet
from clso.evaluation.evaluator import Evaluator
from clso.evaluation.workers import Workers
from clso.run import evolve, resume
from clso.search.generations import Interrupted, Listener, Search
from clso.space import Genome
from clso.space.build import build_space, load_plugins
from clso.space.results import Evaluation

pytestmark = pytest.mark.ray


def genomes(n: int) -> list[Genome]:
    """Distinct ones, the first bits of which count up."""
    return [tuple(map(int, f"{i:05b}")) + (0,) * 19 for i in range(n)]


def serial(asked: list[Genome]) -> list[Evaluation]:
    return OneMax().objective().evaluate(asked, 0)


def collect(evaluator: Evaluator) -> list[Evaluation]:
    """All answers; a genome that comes twice is there twice."""
    out: list[Evaluation] = []
    while more := evaluator.completed():
        out += more
    return sorted(out, key=lambda e: e.genome)


def test_a_worker_killed_in_mid_batch(make_evaluator: Callable[..., Evaluator], log: Log) -> None:
    # so that it is in its batch however late it is killed
    evaluator = make_evaluator(faulty("Hangs"), 2)
    asked = genomes(32)
    evaluator.submit(asked, 0)
    kill(wait_for(lambda: log.first("hung"), "a batch to begin"))
    assert collect(evaluator) == serial(asked)
    assert log.lines("begun").total() > 32  # its batch was measured again
    assert max(log.lines("done").values()) == 1


def test_half_of_the_workers_killed_in_each_generation(
    place: Callable[..., Any], log: Log, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = replace(faulty("Slow"), gens=3)
    killed: list[int] = []

    class Killer(Listener):
        def generation(self, search: Search, row: dict[str, Any]) -> None:
            victim = log.pids()[0]
            kill(victim)
            killed.append(victim)

    evolve(config, tmp_path / "workers", workers=Workers(n=2), listener=Killer())
    assert len(set(killed)) == config.gens
    assert capfd.readouterr().out == ""  # where a script reads JSON
    evolve(config, tmp_path / "serial")
    assert outcome(tmp_path / "workers") == outcome(tmp_path / "serial")


def test_a_genome_that_kills_its_workers_fails_alone(
    make_evaluator: Callable[..., Evaluator], log: Log
) -> None:
    evaluator = make_evaluator(faulty("Killer"), 2, attempts=1)
    asked = genomes(32)  # of which 11010 and 11011 are deadly
    evaluator.submit(asked, 0)
    found = collect(evaluator)
    deadly = [e for e in found if e.status == "failed"]
    assert [e.genome[:5] for e in deadly] == [(1, 1, 0, 1, 0), (1, 1, 0, 1, 1)]
    assert [e for e in found if e.ok] == [e for e in serial(asked) if e.genome[:4] != (1, 1, 0, 1)]
    for evaluation in deadly:
        assert evaluation.error is not None
        assert evaluation.error.startswith("2 workers died over this candidate:\nActorDiedError")
        assert "SIGKILL" in evaluation.error or "unexpectedly" in evaluation.error


@pytest.mark.parametrize("space", ["Hangs", "Stops"])
def test_a_worker_that_hangs_is_replaced(
    space: str, make_evaluator: Callable[..., Evaluator], log: Log
) -> None:
    # a healthy one may be late, too
    evaluator = make_evaluator(faulty(space), 2, timeout_s=3.0, attempts=100)
    asked = genomes(16)
    evaluator.submit(asked, 0)
    assert collect(evaluator) == serial(asked)
    assert log.lines("begun").total() > 16


def test_a_worker_out_of_memory(make_evaluator: Callable[..., Evaluator], log: Log) -> None:
    """A MemoryError is the genome's failure, with its traceback; a process that its limit kills is
    replaced."""
    (log.folder / "use the limit").touch()
    evaluator = make_evaluator(faulty("Hungry"), 1)
    asked = genomes(24)
    evaluator.submit(asked, 0)
    found = collect(evaluator)
    assert (log.folder / "limited").exists()
    hungry = [e for e in found if e.genome[:4] == (1, 0, 1, 1)]
    assert [e.status for e in hungry] == ["failed", "failed"]
    assert all("MemoryError" in str(e.error) for e in hungry)
    plugin, _ = load_plugins(faulty("Hungry"))
    assert found == build_space(plugin, faulty("Hungry"), "cpu").objective().evaluate(asked, 0)


def test_a_full_object_store(
    tiny: RunConfig, finished_run: Path, place: Callable[..., Any], tmp_path: Path
) -> None:
    import numpy as np
    import ray

    full = [ray.put(np.ones(30 << 20, dtype=np.uint8)) for _ in range(4)]  # 120 MB in 80
    evolve(tiny, tmp_path / "run", workers=Workers(n=1))
    assert outcome(tmp_path / "run") == outcome(finished_run)
    assert len(full) == 4


def test_workers_that_die_while_they_start_are_not_tried_for_ever(
    make_evaluator: Callable[..., Evaluator],
) -> None:
    with pytest.raises(EvaluationError, match="live long enough to start"):
        make_evaluator(faulty("DiesAtBirth"), 1, attempts=2)


def test_workers_for_which_there_is_no_room(
    make_evaluator: Callable[..., Evaluator], place: Callable[..., Any]
) -> None:
    import ray

    place(1)

    class Holder:
        pass

    all_of_them = ray.cluster_resources()["CPU"]
    holder = ray.remote(Holder).options(num_cpus=all_of_them).remote()
    try:
        with pytest.raises(EvaluationError, match="a worker is ready within"):
            make_evaluator(faulty("Slow"), 1, start_timeout_s=2.0)
    finally:
        ray.kill(holder)


def test_a_failed_evaluation_of_a_worker_is_recorded_and_never_wins(
    place: Callable[..., Any], log: Log, tmp_path: Path
) -> None:
    config = replace(faulty("Hungry"), gens=3)
    evolve(config, tmp_path / "run", workers=Workers(n=1))
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    ]
    failed = [r for r in rows if r["type"] == "evaluation" and r["status"] == "failed"]
    assert failed
    assert all(r["genome"][:4] == [1, 0, 1, 1] and "MemoryError" in r["error"] for r in failed)
    assert str(TESTS / "faulty.py") in failed[0]["error"]


def _start_run(tmp_path: Path, environment: dict[str, str], space: str = "Slow") -> Any:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(replace(faulty(space), gens=500).to_toml())
    command = ["evolve", "--config", str(recipe), "--workers", "1", "--out", str(tmp_path / "run")]
    return start(command, environment)


def test_a_raylet_that_dies_is_one_line_and_the_run_goes_on(
    environment: dict[str, str], log: Log, tmp_path: Path
) -> None:
    driver, folder = _start_run(tmp_path, environment), tmp_path / "run"
    wait_for((folder / "checkpoint.json").exists, "a checkpoint", driver)
    (victim,) = (
        p for p in psutil.Process(driver.pid).children(recursive=True) if p.name() == "raylet"
    )
    kill(victim.pid)
    out, err = driver.communicate(timeout=HANG_S)
    assert (driver.returncode, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: Ray's process died; its logs are in")
    assert "clso resume" in err.splitlines()[-1]
    seen: list[int] = []

    class Few(Listener):
        def generation(self, search: Search, row: dict[str, Any]) -> None:
            seen.append(row["generation"])

    with pytest.raises(Interrupted):
        resume(folder, workers=Workers(), listener=Few(), stop=lambda: len(seen) >= 2)
    assert seen[0] > 1  # not from the beginning


def test_a_ray_that_does_not_start_is_one_line_and_leaves_no_folder(
    environment: dict[str, str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(faulty("Slow").to_toml())
    command = ["--config", str(recipe), "--workers", "1", "--out", str(tmp_path / "run")]
    few_handles = ["/bin/sh", "-c", 'ulimit -n 40; exec "$0" "$@"']
    driver = subprocess.Popen(
        [*few_handles, sys.executable, "-m", "clso", "evolve", *command],
        env={**environment, "RAY_gcs_server_port_wait_time_s": "3"},  # its own patience is 30
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = driver.communicate(timeout=HANG_S)
    assert (driver.returncode, out) == (1, "")
    phase, error = (line for line in err.splitlines() if line)
    assert phase == "starting Ray"
    assert error.startswith("error: Ray does not start here (")
    assert not (tmp_path / "run").exists()


def test_a_dead_raylet_is_told_of_by_the_watch_if_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A process named like it that ends, while the driver is busy; and one that ends after
    `close`."""
    program = tmp_path / "raylet"
    program.symlink_to(shutil.which("sleep") or "")
    its_own = f"100.{os.getpid()}"  # seconds, and no other process's argument
    monkeypatch.setattr(raylet, "_PERIOD_S", 0.01)
    monkeypatch.setattr(raylet, "_GRACE_S", 0.01)
    others = set(threading.enumerate())  # a shared Ray has its own

    def is_over() -> bool:
        return not [t for t in set(threading.enumerate()) - others if t.name == "clso-raylet"]

    for close in (False, True):
        process = subprocess.Popen([program, its_own])
        name = psutil.Process(process.pid).name
        wait_for(lambda name=name: name() == "raylet", "the name")  # type: ignore[misc]
        watched = raylet.Raylet(its_own, "logs")
        watched.check()
        if close:
            watched.close()
        process.kill()
        process.wait()
        if close:
            assert capfd.readouterr().err == ""
        else:
            wait_for(is_over, "the watch's end")
            assert capfd.readouterr().err.startswith("error: Ray's process died")
        with pytest.raises(EvaluationError, match="process died; its logs are in logs"):
            watched.check()
    assert raylet.Raylet("/no/such/socket", "logs").is_dead is False
