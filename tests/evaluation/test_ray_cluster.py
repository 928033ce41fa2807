"""A cluster of two nodes on this machine: a run over both, and what is left of one whose head node
is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ray_runs import TESTS, Log, faulty, outcome, start
from waiting import HANG_S, wait_for

from clso.evaluation.workers import Workers
from clso.run import evolve, resume

pytestmark = pytest.mark.ray


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(TESTS / "two_nodes.py")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    yield process
    process.communicate(timeout=HANG_S)


def test_a_run_on_two_nodes_and_the_loss_of_the_head(
    cluster: subprocess.Popen[str], environment: dict[str, str], log: Log, tmp_path: Path
) -> None:
    assert cluster.stdout is not None
    assert cluster.stdin is not None
    address = cluster.stdout.readline().strip()
    config = replace(faulty("Slower"), gens=125)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(config.to_toml())
    common = ["evolve", "--config", str(recipe), "--ray", address]
    folder = tmp_path / "run"
    driver = start([*common, "--out", str(folder)], environment)
    wait_for(lambda: len(log.pids()) == 2, "a worker on each node, which has one CPU", driver)
    wait_for((folder / "checkpoint.json").exists, "a checkpoint", driver)
    cluster.stdin.write("kill the head\n")
    cluster.stdin.flush()
    assert cluster.stdout.readline() == "gone\n"
    out, err = driver.communicate(timeout=HANG_S)
    assert driver.returncode == 1
    assert out == ""
    assert [line for line in err.splitlines() if "rror" in line] == [err.splitlines()[-1]]
    # Whichever is missed first: the head, or the raylet that died with it.
    missed = ("no answer from ", "Ray's process died")
    assert err.splitlines()[-1].startswith(tuple(f"error: {what}" for what in missed))
    assert "clso resume" in err.splitlines()[-1]

    resume(folder, workers=Workers())
    evolve(config, tmp_path / "serial")
    assert outcome(folder) == outcome(tmp_path / "serial")
