"""A stranger's space and surrogate on the command line: as files, across folders, and with
faults."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

MINE = """
from clso.space.results import Evaluation
from clso.space import Gene, SearchSpace
from surrogates.linear import ridge

class MySpace(SearchSpace):
    name = "mine"
    fidelities = (1,)
    @property
    def genes(self): return tuple(Gene(f"bit {i}", ("0", "1")) for i in range(40))
    def decode(self, genome): return self.validate(genome)
    def objective(self): return self
    def evaluate(self, genomes, fidelity):
        return [Evaluation.measured(g, fidelity, (float(40 - sum(g)),), 1) for g in genomes]

def my_surrogate(random_state): return ridge(random_state)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_space.py"
    path.write_text(MINE)
    return path


SEARCH = ["evolve", "--space", "./my_space.py:MySpace", "--surrogate", "./my_space.py:my_surrogate"]
FEW = ["--gens", "8", "--pop", "8", "--energy", "null", "--json"]


def test_a_file_gives_space_and_surrogate(clso: Any, mine: Path, tmp_path: Path) -> None:
    done = clso(*SEARCH, *FEW, "--out", "run")
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    for kind, name in (("space", "MySpace"), ("surrogate", "my_surrogate")):
        expected = {
            "name": f"{mine}:{name}",
            "distribution": str(mine),
            "version": "file",
            "sha256": digest,
        }
        assert manifest["plugins"][kind] == expected
    assert json.loads(done.out)["surrogate"]["fit_time_s"] > 0


@pytest.fixture
def stopped(clso: Any, mine: Path, tmp_path: Path) -> Path:
    """A run of the file, stopped half-way."""
    from clso.config import RunConfig
    from clso.run import evolve
    from clso.search.generations import Interrupted

    config = RunConfig(
        gens=8, pop=8, space="./my_space.py:MySpace", surrogate="none", device="cpu", energy="null"
    )
    asked: list[int] = []
    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "run", stop=lambda: asked.append(1) or len(asked) > 3)  # type: ignore[func-returns-value]
    return tmp_path / "run"


def test_resume_from_another_folder(
    clso: Any, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = clso("resume", stopped, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["counts"]["generations"] == 8


def test_resume_refuses_a_file_that_has_changed(clso: Any, stopped: Path, mine: Path) -> None:
    record = (stopped / "records.jsonl").read_bytes()
    mine.write_text(MINE.replace("40 - sum(g)", "sum(g)"))
    done = clso("resume", stopped)
    assert done.code == 2
    assert "code that a run folder names is run if a run of yours has recorded it" in done.error
    # agreed, and still another plugin than the run began with
    done = clso("resume", stopped, "--trust")
    assert done.code == 2
    assert "goes on with the plugins that it began with" in done.error
    mine.unlink()
    assert "names a file" in clso("resume", stopped).error
    mine.write_text(MINE)
    assert (stopped / "records.jsonl").read_bytes() == record
    assert clso("resume", stopped).code == 0


NAME = "    name = "
FAULTS = [
    (
        NAME,
        "    def __init__(self): raise KeyError('no table')\n    name = ",
        "raised KeyError: 'no table'.*: .*can be built",
    ),
    (
        NAME,
        "    def __init__(self): open('no/table')\n    name = ",
        "raised FileNotFoundError.*: .*can be built",
    ),
    (
        NAME,
        "    def from_context(context): 1 / 0\n    name = ",
        "raised ZeroDivisionError.*: .*can be built",
    ),
    (NAME, "    def from_context(context): return 3\n    name = ", "returns a search space"),
    (
        NAME,
        "    def prepare(self): 1 / 0\n    name = ",
        "raised ZeroDivisionError.*: .*can be prepared",
    ),
    (
        "return tuple(Gene",
        "return 1 / 0, (Gene",
        "raised ZeroDivisionError.*: .*`genes` of space 'mine' can be called",
    ),
    (
        NAME,
        "    def seeds(self): 1 / 0\n    name = ",
        "raised ZeroDivisionError.*: .*`seeds` of space 'mine' can be called",
    ),
    (
        "def objective(self): return self",
        "def nothing(self): pass",
        "raised TypeError.*: .*can be built",
    ),
    ("return ridge(random_state)", "return ridge()", "raised TypeError.*: .*can make an estimator"),
    ("return ridge(random_state)", "return 3", "has fit and predict"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_a_plugin_with_a_fault_is_one_line(
    clso: Any,
    mine: Path,
    tmp_path: Path,
    old: str,
    new: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert old in MINE
    mine.write_text(MINE.replace(old, new))
    done = clso(*SEARCH, *FEW, "--out", "run")
    assert done.code == 2
    assert re.search(message, done.error), done.error
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("CLSO_TRACEBACK", "1")
    asked = clso(*SEARCH, *FEW, "--out", "run")
    assert asked.code == 2
    assert asked.err.endswith(done.err)
    assert "Traceback" in asked.err


def test_an_objective_that_raises_fails_the_run_in_one_line(clso: Any, mine: Path) -> None:
    mine.write_text(
        MINE.replace(
            "        return [Evaluation", "        raise KeyError('x')\n        return [Evaluation"
        )
    )
    done = clso(*SEARCH, *FEW, "--out", "run")
    assert done.code == 1
    assert "reports a failure as a status" in done.error
    assert "KeyError: 'x'" in done.error
