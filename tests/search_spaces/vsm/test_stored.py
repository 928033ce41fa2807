"""A saved controller that is damaged, or by another hand, is refused in one line; so are problems that are no problems."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.cli import main
from clso.config import RunConfig
from clso.disk.tensors import load_checked, write_checked
from clso.errors import RunFolderError
from clso.run.run import evolve
from clso.search_spaces.vsm.genes import DEFAULT, anatomy
from clso.search_spaces.vsm.lifetime import Rules, raise_controller
from clso.search_spaces.vsm.memory import Memory

_JSON, _TENSORS = "controller.json", "controller.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "best"
    raise_controller(anatomy(DEFAULT), Rules(practice=60), 0).save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "best"))


def test_a_controller_is_read_as_it_was_written(saved: Path) -> None:
    memory = Memory.load(saved)
    assert memory.anatomy == anatomy(DEFAULT)
    assert {"S1.offered", "S2.keys", "S4.tried"} <= memory.tensors().keys()


_FIELDS = ("seed", "width", "s1", "exam_power", "s2", "s3_closeness", "s4", "purple", "habits")
_VALUES: tuple[Any, ...] = (None, "x", -1, 10**12, 1.5, [], {})


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, v) for n in _FIELDS for v in _VALUES if (n, v) != ("seed", 10**12)],
)
def test_a_setting_that_no_allele_means_is_refused(copy: Path, name: str, value: Any) -> None:
    settings = json.loads((copy / _JSON).read_text())
    (settings if name in settings else settings["anatomy"])[name] = value
    (copy / _JSON).write_text(json.dumps(settings))
    with pytest.raises(RunFolderError, match="a controller of this version"):
        Memory.load(copy)


@pytest.mark.parametrize("name", [_JSON, _TENSORS])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "other", "fifo"])
def test_a_damaged_file_is_refused(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    data = bytearray(path.read_bytes())
    path.unlink()
    data[len(data) // 2] ^= 0x80
    if damage == "fifo":
        os.mkfifo(path)
    elif damage != "missing":
        kinds: dict[str, bytes | bytearray] = {
            "cut": data[: len(data) // 2],
            "flipped": data,
            "other": b"[" * 100_000,
        }
        path.write_bytes(kinds[damage])
    with pytest.raises(RunFolderError, match="a controller of this version"):
        Memory.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {"S1.patterns": -1 - tensors["S1.patterns"]},
        lambda tensors: {"S1.patterns": tensors["S1.patterns"] + (1 << 20)},
        lambda tensors: {"S1.offered": tensors["S1.offered"][:-1].clone()},
        lambda tensors: {"S4.tried": tensors["S4.tried"].float()},
        lambda tensors: {"S2.habits": torch.zeros(len(tensors["S2.keys"]), 3, dtype=torch.int64)},
        lambda tensors: {"S1.weights": torch.zeros(3)},
        lambda tensors: {"S9.x": torch.zeros(3)},
    ],
    ids=["negative", "too-great", "shorter", "type", "columns", "width", "unknown"],
)
def test_tensors_that_no_practice_gives_are_refused(
    copy: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    """The checksum is right: somebody wrote them so."""
    tensors = load_checked(copy / _TENSORS)
    write_checked({**tensors, **change(tensors)}, copy / _TENSORS)
    with pytest.raises(RunFolderError, match="a controller of this version"):
        Memory.load(copy)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = {"practice": 20, "window_s": 0.01, "blocks": 3}
    config = RunConfig(space="vsm", gens=1, pop=2, finalists=1, options=options, energy="null")
    evolve(config, folder)
    return folder


@pytest.mark.parametrize("sums", [True, False], ids=["sums", "no-sums"])
@pytest.mark.parametrize("damage", ["no folder", "missing", "cut", "setting"])
def test_evaluate_refuses_a_damaged_winner_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, sums: bool
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    settings = folder / "best" / _JSON
    if damage == "no folder":
        shutil.rmtree(folder / "best")
    elif damage == "missing":
        settings.unlink()
    elif damage == "cut":
        settings.write_text(settings.read_text()[:100])
    else:
        settings.write_text(
            settings.read_text().replace('"s4": "1"', '"s4": "x"').replace("1", "7")
        )
    if not sums:
        (folder / "SHA256SUMS").unlink()
    assert _refused(["evaluate", str(folder), "--json"], capsys)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xfe", b"[" * 100_000, b'{"id": 1}', b'{"id": 1, "start": [9], "goal": [9]}', None],
    ids=["empty", "no-utf8", "nested", "keys", "blocks", "fifo"],
)
def test_evaluate_refuses_malformed_problems_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes | None
) -> None:
    path = tmp_path / "p.jsonl"
    if text is None:
        os.mkfifo(path)
    else:
        path.write_bytes(text)
    assert _refused(["evaluate", str(run), "--problems", str(path)], capsys)


def _refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the command ended with exit code 2, and its last line says why, the only one of an error."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["clso", *args])
        main()
    said = capsys.readouterr().err.strip().splitlines()
    is_error = [line.startswith("error:") for line in said]
    # Without checksums a line says first that the folder is of an earlier version.
    return ended.value.code == 2 and is_error[-1] and sum(is_error) == 1 and len(said) <= 2
