"""What is shown is what there is: no text of others is obeyed, and output that cannot be written
stops nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from clso.cli import cli
from clso.cli.console import console
from clso.cli.new_folder import new_folder
from clso.cli.output import Forgiving, echo, plain

QUICK = (
    "--space",
    "nk",
    "--gens",
    "2",
    "--pop",
    "8",
    "--surrogate",
    "none",
    "--energy",
    "null",
    "--device",
    "cpu",
)
NOISY = """
import os
from clso.space.results import Evaluation
from clso.space import Gene, SearchSpace

print("imported")

class Noisy(SearchSpace):
    name, fidelities = "noisy", (1,)
    genes = tuple(Gene(f"[/g{i}]", ("[red]", "\x1b[31m", "c")) for i in range(4))

    def decode(self, genome):
        return self.validate(genome)

    def objective(self):
        return self

    def evaluate(self, genomes, fidelity):
        print("epoch 1")
        os.write(1, b"from C\\n")
        return [Evaluation.measured(g, fidelity, (float(sum(g)),), 1) for g in genomes]
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[bold]x[/bold] :smile: ü 漢", "[bold]x[/bold] :smile: ü 漢"),
        ("a\x1b[31mb\rc\x07", "a\\x1b[31mb\\x0dc\\x07"),
        ("\x9b31m\u202egnp", "\\x9b31m\\u202egnp"),
        (os.fsdecode(b"n\xff"), "n\\xff"),
        ("a\tb\nc", "a    b\nc"),
    ],
)
def test_text_is_shown_and_not_obeyed(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plain(text) == shown
    echo(text)
    console().print(text, soft_wrap=True)
    assert capsys.readouterr().out == f"{shown}\n" * 2


def test_folders_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a[bold]b", "a[/b]c", "x[", "e\x1b[31mz", os.fsdecode(b"n\xff")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for name in names:
        cli(["evolve", *QUICK, "--out", name], standalone_mode=False)
    shown = capsys.readouterr()
    for name in names:
        assert f"run folder: {plain(name)}" in shown.out
        assert (tmp_path / name / "result.json").exists()
    assert "\x1b" not in shown.out + shown.err


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    arguments = ["--space", "noisy.py:Noisy", *QUICK[2:], "--json", "--out", "run"]
    command = [sys.executable, "-m", "clso", "evolve", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert json.loads(done.stdout)["counts"]["generations"] == 2
    assert {"imported", "epoch 1", "from C"} <= set(done.stderr.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_progress_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clso", "evolve", *QUICK, "--out", "run"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=full, text=True)
    assert done.returncode == 0
    assert "run folder: run" in done.stdout


def test_a_stream_that_is_closed_takes_everything() -> None:
    with open(os.devnull) as for_reading:
        for stream in (None, for_reading):
            forgiving = Forgiving(stream)
            assert forgiving.write("x") == 1
            assert forgiving.write("y") == 1


def test_two_runs_of_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Still:  # type: ignore[override]
            return cls(2026, 1, 1, 12)

    monkeypatch.setattr(sys.modules["clso.cli.new_folder"], "datetime", Still)
    monkeypatch.chdir(tmp_path)
    with new_folder(None, "a") as first, new_folder(None, "a") as second:
        assert [first.name, second.name] == ["2026-01-01_12-00-00_a", "2026-01-01_12-00-00_a-2"]
        (first / "config.toml").touch()
    with pytest.raises(KeyError), new_folder(None, "a") as third:
        raise KeyError
    assert not third.exists()
    assert first.exists()
