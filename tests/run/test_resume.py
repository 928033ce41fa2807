"""Interrupted runs end as uninterrupted ones: the same genomes, losses, record and model, bit for
bit."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from waiting import HANG_S, wait_for

from clso.config import RunConfig
from clso.disk.parsing import parse_toml
from clso.errors import ConfigError, RunFolderError
from clso.run import evolve, resume
from clso.run.folder import RunFolder
from clso.search.generations import Interrupted, Listener, Search
from clso.space.build import all_options

HERE = Path(__file__).parents[1]


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    surrogate = {k: v for k, v in result["surrogate"].items() if k != "fit_time_s"}
    return {k: v for k, v in result.items() if "time" not in k and "energy" not in k} | {
        "surrogate": surrogate
    }


def stop_after(n: int) -> tuple[Listener, Any]:
    """A listener that counts generations, and the stop function that goes with it."""

    class Count(Listener):
        seen = 0

        def generation(self, search: Search, row: dict[str, Any]) -> None:
            self.seen += 1

    count = Count()
    return count, lambda: count.seen >= n


@pytest.fixture
def stopped(tiny: RunConfig, tmp_path: Path) -> Path:
    """A run that was stopped after three of its six generations."""
    folder = tmp_path / "stopped"
    listener, stop = stop_after(3)
    with pytest.raises(Interrupted, match="clso resume"):
        evolve(tiny, folder, listener=listener, stop=stop)
    return folder


def kill_points() -> list[str]:
    """Writes of a run of 5 generations: config, manifest, 5 times (record, checkpoint), finalists,
    result."""
    rng = random.Random(2)
    fixed = [
        "1:half",  # before config.toml
        "2:after",  # before the first checkpoint
        "3:half",  # the first generation's rows, torn
        "8:after",  # rows without their checkpoint
        "13:before",  # between the search and the finalists' rows
        "14:before",  # everything but result.json
        "14:half",
        "7:half+4:half+2:before",  # three times
        "5:after+1:after+1:half",
    ]
    return [
        *fixed,
        *(f"{rng.randrange(3, 15)}:{rng.choice(('before', 'half', 'after'))}" for _ in range(3)),
    ]


def test_kill_9_at_any_point_changes_nothing(tiny: RunConfig, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    # 16 a generation, so that the surrogate screens from the third on.
    config.write_text(replace(tiny, gens=5, pop=16, seed=1).to_toml())
    command = [
        sys.executable,
        str(HERE / "kill_driver.py"),
        str(config),
        str(tmp_path),
        *kill_points(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    whole = ends.pop("uninterrupted")
    assert whole["result"]["counts"]["screened_out"] > 0
    for point, end in ends.items():
        assert end.pop("killed") == [True] * len(point.split("+")), point
        assert end == {k: v for k, v in whole.items() if k != "killed"}, point


def test_a_graceful_stop_resumes_to_the_same_end(
    tiny: RunConfig, stopped: Path, finished_run: Path
) -> None:
    result = resume(stopped)
    assert timeless(result) == timeless(json.loads((finished_run / "result.json").read_text()))
    for name in ("records.jsonl", "best/model.safetensors", "config.toml"):
        assert (stopped / name).read_bytes() == (finished_run / name).read_bytes()


def test_a_run_from_before_sizes_were_options_goes_on(
    tiny: RunConfig, stopped: Path, finished_run: Path
) -> None:
    """Its file has them beside the other settings, and its checkpoint the hash of that file."""
    path = stopped / "config.toml"
    old = {"mlp": False, "checkpoint": "", **parse_toml(path.read_text())}
    path.write_text(tomli_w.dumps(old.pop("options") | old))
    saved = json.loads((stopped / "checkpoint.json").read_text())
    saved["config_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (stopped / "checkpoint.json").write_text(json.dumps(saved))
    assert all_options(RunFolder.open(stopped).config) == all_options(tiny)
    assert timeless(resume(stopped)) == timeless(
        json.loads((finished_run / "result.json").read_text())
    )
    for name in ("records.jsonl", "best/model.safetensors"):
        assert (stopped / name).read_bytes() == (finished_run / name).read_bytes()


def test_stopping_before_the_first_generation_and_after_each(
    tiny: RunConfig, tmp_path: Path, finished_run: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        evolve(tiny, folder, stop=lambda: True)
    for _ in range(5):
        listener, stop = stop_after(1)
        with pytest.raises(Interrupted):
            resume(folder, listener=listener, stop=stop)
    resume(folder)
    assert (folder / "records.jsonl").read_bytes() == (finished_run / "records.jsonl").read_bytes()


def test_a_finished_run_is_returned_and_not_touched(finished_run: Path) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in finished_run.iterdir()}
    assert resume(finished_run) == json.loads((finished_run / "result.json").read_text())
    assert {p.name: p.stat().st_mtime_ns for p in finished_run.iterdir()} == before


def test_an_exhausted_space_stays_exhausted(tiny: RunConfig, tmp_path: Path) -> None:
    config = replace(
        tiny, space=f"{HERE / 'toys.py'}:FourGenomes", surrogate="none", gens=50, options={}
    )
    result = evolve(config, tmp_path / "run")
    assert result["counts"]["evaluated"] == 4
    assert result["best"] == {
        "genome": [0, 0],
        "alleles": {"g0": "0", "g1": "0"},
        "inactive": [],
        "fitness": 0.0,
        "values": {"fitness": 0.0},
    }
    record = (tmp_path / "run" / "records.jsonl").read_bytes()
    (tmp_path / "run" / "result.json").unlink()
    assert timeless(resume(tmp_path / "run")) == timeless(result)
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == record


def _truncate(folder: Path) -> None:
    path = folder / "checkpoint.json"
    path.write_bytes(path.read_bytes()[:-100])


def _flip(folder: Path) -> None:
    path = folder / "checkpoint.json"
    path.write_text(path.read_text().replace('"tokens_forward": ', '"tokens_forward": 1'))


def _other_format(folder: Path) -> None:
    path = folder / "checkpoint.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))


def _not_an_object(folder: Path) -> None:
    (folder / "checkpoint.json").write_text("[1]")


def _foreign(folder: Path) -> None:
    other = folder.parent / "foreign"
    listener, stop = stop_after(2)
    with pytest.raises(Interrupted):
        evolve(
            replace(RunConfig.from_toml(folder / "config.toml"), seed=9),
            other,
            listener=listener,
            stop=stop,
        )
    shutil.copyfile(other / "checkpoint.json", folder / "checkpoint.json")


def _other_settings(folder: Path) -> None:
    path = folder / "config.toml"
    path.write_text(path.read_text().replace("d_model = 16", "d_model = 32"))


def _cut_record(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-10])


def _changed_record(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace("5.", "4.", 1))


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (_truncate, "is whole"),
        (_flip, "is whole"),
        (_other_format, "format 1"),
        (_not_an_object, "JSON object"),
        (_foreign, "belongs to the config.toml"),
        (_other_settings, "belongs to the config.toml"),
        (_cut_record, "records.jsonl begins with"),
        (_changed_record, "records.jsonl begins with"),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_refused_and_nothing_is_lost(
    stopped: Path, damage: Any, rule: str
) -> None:
    damage(stopped)
    before = {p.name: p.read_bytes() for p in stopped.iterdir() if p.is_file()}
    with pytest.raises(RunFolderError, match=rule):
        resume(stopped)
    assert {p.name: p.read_bytes() for p in stopped.iterdir() if p.is_file()} == before


def test_a_folder_without_a_run_or_with_damaged_settings(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"holds config\.toml"):
        resume(tmp_path)
    (tmp_path / "config.toml").write_text("gens = ")
    with pytest.raises(ConfigError, match="is TOML"):
        resume(tmp_path)


def test_two_processes_do_not_write_to_one_folder(stopped: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from clso.run.folder import RunFolder; f = RunFolder(Path(sys.argv[1])); "
        "f.lock(); print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(stopped)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunFolderError, match="one process at a time"):
            resume(stopped)
    finally:
        holder.kill()
        holder.communicate()
    resume(stopped)


@pytest.mark.parametrize(
    ("presses", "message"),
    [(1, "after a whole generation"), (2, "all but the last generation is saved")],
)
def test_ctrl_c(tiny: RunConfig, tmp_path: Path, presses: int, message: str) -> None:
    folder, recipe = tmp_path / "run", tmp_path / "recipe.toml"
    # A generation takes about a second, and there are more of them than anybody waits for.
    recipe.write_text(replace(tiny, gens=100_000, pop=400, surrogate="none").to_toml())
    command = [
        sys.executable,
        "-m",
        "clso",
        "evolve",
        "--config",
        str(recipe),
        "--out",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    wait_for((folder / "checkpoint.json").exists, "the first checkpoint", process)
    process.send_signal(signal.SIGINT)
    if presses == 2:
        while "Ctrl-C again" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    last = err.splitlines()[-1]
    assert message in last
    assert "clso resume" in last
    assert "Traceback" not in err
    generation = _generation(folder)
    listener, stop = stop_after(1)
    with pytest.raises(Interrupted):
        resume(folder, listener=listener, stop=stop)
    assert _generation(folder) == generation + 1


def _generation(folder: Path) -> int:
    state = json.loads((folder / "checkpoint.json").read_text())["state"]
    generation: int = state["engine"]["generation"]
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert max(r["generation"] for r in rows if r["type"] == "generation") >= generation
    return generation


def test_a_refused_resume_leaves_rows_and_checkpoint(
    stopped: Path, tmp_path: Path, tiny: RunConfig
) -> None:
    """Refused before anything is loaded, and after the library was built."""
    with (stopped / "records.jsonl").open("ab") as file:
        file.write(b'{"type":"evaluation","behind":"the checkpoint"}\n')
    manifest = json.loads((stopped / "manifest.json").read_text())
    saved = json.loads((stopped / "checkpoint.json").read_text())
    state = {**saved["state"], "tokens_forward": None}
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    foreign = {**saved, "state": state, "state_sha256": digest}
    for name, value in (
        ("manifest.json", {**manifest, "plugins": {"space": {"name": "other"}}}),
        ("checkpoint.json", foreign),
    ):
        kept = (stopped / name).read_bytes()
        (stopped / name).write_text(json.dumps(value))
        before = {p.name: p.read_bytes() for p in stopped.iterdir() if p.is_file()}
        with pytest.raises(
            RunFolderError, match=r"plugins that it began with|of this search space and version"
        ):
            resume(stopped)
        assert {p.name: p.read_bytes() for p in stopped.iterdir() if p.is_file()} == before
        (stopped / name).write_bytes(kept)
    resume(stopped)
