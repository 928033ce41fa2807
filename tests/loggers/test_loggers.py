"""What loggers get of a run, read back from where they put it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.errors import ClsoError, MissingDependencyError, PluginError
from clso.loggers import Logger, load_loggers, logged
from clso.run import evolve
from clso.run.folder import RunFolder
from clso.search.generations import Listener

TOYS = Path(__file__).parents[1] / "toys_pareto.py"
CONFIG = RunConfig(
    space=f"{TOYS}:Measured",
    objective=("leading", "not_trailing"),
    gens=3,
    pop=8,
    surrogate="none",
    energy="null",
    device="cpu",
)
TOLD: list[tuple[str, Any]] = []


class Told(Logger):
    """Keeps what it is told."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        TOLD.append(("config", config["gens"]))

    def values(self, step: int, values: Mapping[str, float]) -> None:
        TOLD.append(("values", (step, dict(values))))

    def winner(self, values: Mapping[str, float], alleles: Mapping[str, str]) -> None:
        TOLD.append(("winner", (dict(values), dict(alleles))))

    def close(self) -> None:
        TOLD.append(("close", None))


class Fails(Told):
    """Loses its connection in the second generation."""

    def values(self, step: int, values: Mapping[str, float]) -> None:
        if step == 2:
            raise ConnectionError("no route\nto host")


class GivesUp(Told):
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        sys.exit(1)


class Absent(Told):
    requires = "no_such_module"
    extra = "absent"


def run_with(folder: Path, kinds: dict[str, type[Logger]]) -> dict[str, Any]:
    TOLD.clear()
    with logged(Listener(), kinds, folder, CONFIG) as listener:
        return evolve(CONFIG, folder, listener=listener)


def test_what_is_told(tmp_path: Path) -> None:
    result = run_with(tmp_path / "run", {"told": Told})
    assert [what for what, _ in TOLD] == ["config", "values", "values", "values", "winner", "close"]
    steps = [value for what, value in TOLD if what == "values"]
    assert [step for step, _ in steps] == [1, 2, 3]
    _, last = steps[-1]
    front = [m["values"] for m in result["front"]]
    assert last == {
        "best/leading": max(m["leading"] for m in front),
        "best/not_trailing": min(m["not_trailing"] for m in front),
        "evaluated": result["counts"]["evaluated"],
        "failed": result["counts"]["failed"],
        "hypervolume": result["hypervolume"],
    }
    values, alleles = TOLD[-2][1]
    assert values["winner/leading"] == result["best"]["values"]["leading"]
    assert values["seconds/search"] == result["time_s"]["search"]
    assert not any(name.startswith("joules") for name in values)  # they were not measured
    assert alleles == {k: str(v) for k, v in result["best"]["alleles"].items()}


def test_a_logger_that_fails_warns_once_and_the_run_goes_on(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="logs nothing more") as caught:
        result = run_with(tmp_path / "run", {"fails": Fails, "gives up": GivesUp, "told": Told})
    texts = [str(w.message) for w in caught if "the logger" in str(w.message)]
    assert len(texts) == 2
    assert any("fails failed" in t and "ConnectionError: no route to host" in t for t in texts)
    assert any("gives up failed" in t and "SystemExit" in t for t in texts)
    assert TOLD[-2][0] == "winner"  # the third one's
    assert result["counts"]["generations"] == 3


def test_loggers_are_closed_after_a_failed_run_too(tmp_path: Path) -> None:
    TOLD.clear()
    with (
        pytest.raises(ClsoError, match="saved"),
        logged(Listener(), {"told": Told}, tmp_path / "run", CONFIG) as listener,
    ):
        evolve(CONFIG, tmp_path / "run", listener=listener, stop=lambda: bool(TOLD))
    assert [what for what, _ in TOLD] == ["config", "values", "close"]


def test_loggers_are_loaded_by_name(tmp_path: Path) -> None:
    here = f"{__file__}:Told"
    assert [kind.__name__ for kind in load_loggers([here, here]).values()] == ["Told"]
    with pytest.raises(PluginError, match="Did you mean 'wandb'"):
        load_loggers(["wandbb"])
    with pytest.raises(PluginError, match=r"subclass of clso\.loggers\.Logger"):
        load_loggers([f"{__file__}:CONFIG"])
    with pytest.raises(MissingDependencyError, match=r"pip install 'clso\[absent\]'"):
        load_loggers([f"{__file__}:Absent"])


def test_a_misspelt_name_is_found_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom clso.cli import main\n"
        "sys.argv[1:] = ['evolve', '--space', 'nk', '--log', 'tensor-bord']\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Did you mean 'tensorboard'?" in done.stderr
    assert done.stdout == "False\n"
    assert list(tmp_path.iterdir()) == []


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    run = tmp_path / "run"
    result = run_with(run, load_loggers(["tensorboard"]))
    (file,) = (run / "tensorboard").iterdir()
    scalars, texts = _events(file.read_bytes())
    assert [step for step, _ in scalars["best/leading"]] == [1, 2, 3]
    assert scalars["evaluated"][-1] == (3, result["counts"]["evaluated"])
    assert scalars["winner/leading"] == [(3, result["best"]["values"]["leading"])]
    assert '"pop": 8' in texts["config"]
    assert set(json.loads(texts["winner"].strip("`\n"))) == set(result["best"]["alleles"])
    # the file grew behind the result, and is none of those that the run answers for
    assert "tensorboard" not in (run / "SHA256SUMS").read_text()
    assert RunFolder.open(run).read_result() == result


def _events(data: bytes) -> tuple[dict[str, list[tuple[int, float]]], dict[str, str]]:
    """Scalars and texts by name, of an event file: records of length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    scalars: dict[str, list[tuple[int, float]]] = {}
    texts: dict[str, str] = {}
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        event: Any = Event.FromString(data[at + 12 : at + 12 + size])
        at += 16 + size
        for value in event.summary.value:
            if value.HasField("tensor"):
                texts[value.tag.removesuffix("/text_summary")] = value.tensor.string_val[0].decode()
            else:
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars, texts


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    result = run_with(tmp_path / "run", load_loggers(["mlflow"]))
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("clso").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["gens"] == "3"
    history = client.get_metric_history(run.info.run_id, "best/leading")
    assert [m.step for m in history] == [1, 2, 3]
    assert run.data.metrics["winner/leading"] == result["best"]["values"]["leading"]
    found = client.download_artifacts(run.info.run_id, "winner.json", str(tmp_path))
    assert set(json.loads(Path(found).read_text())) == set(result["best"]["alleles"])


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run_with(tmp_path / "run", load_loggers(["wandb"]))
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data = file.read_bytes()
    for name in (b"best/leading", b"winner/leading", b"not_trailing"):
        assert name in data


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio", reason="the extra trackio is not installed")
    run_with(tmp_path / "run", load_loggers(["trackio"]))
    (file,) = tmp_path.glob("trackio/**/*.db")
    with sqlite3.connect(file) as connection:
        text = "".join(str(row) for row in connection.execute("SELECT * FROM metrics"))
    assert "best/leading" in text
    assert "winner/leading" in text
