"""Runs that an earlier version interrupted go on to the end that it would have reached.

The folders in `earlier/` were written by version 0.1.0 (commit 7c473a4, 2026-11-22): space nk with
12 genes, 14 generations of 8, stopped after 9 with the surrogate in force. What is expected here is
what that version itself measured when it resumed them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clso import plugins
from clso.errors import RunFolderError
from clso.run import resume
from clso.run.earlier import in_todays_words
from clso.run.folder import RunFolder

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(EARLIER / request.param, folder)
    # a run goes on with the plugins that it began with; what else a release changes must not matter
    manifest = json.loads((folder / "manifest.json").read_text())
    for kind, group in (("space", "search_spaces"), ("surrogate", "surrogates")):
        name = manifest["plugins"][kind]["name"]
        manifest["plugins"][kind] = plugins.load(group, name).describe()  # type: ignore[arg-type]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def genomes(rows: list[dict[str, Any]]) -> list[str]:
    """Those of the search, in order of measuring."""
    found = [r for r in rows if r["type"] == "evaluation" and r["generation"] is not None]
    return ["".join(map(str, row["genome"])) for row in found]


@pytest.mark.parametrize(
    ("earlier", "goes_on_with", "fitness", "n_evaluated", "n_screened_out"),
    [
        (
            "generations",
            "001110101010 001111001010 000110101010 011111100010 001101101010 "
            "101111101011 101101101010 011111001010 001011101000 011111101011",
            0.2764815631865834,
            46,
            66,
        ),
        (
            "steady",
            "001101101011 011101101011 001111100111 000111101011 001100101011 "
            "011011101111 011101101010 001101111011 001111101011 101101111011",
            0.2866143557863931,
            64,
            48,
        ),
    ],
    indirect=["earlier"],
)
def test_an_earlier_versions_run_goes_on(
    earlier: Path, goes_on_with: str, fitness: float, n_evaluated: int, n_screened_out: int
) -> None:
    before = (earlier / "records.jsonl").read_bytes()
    result = resume(earlier)
    after = (earlier / "records.jsonl").read_bytes()
    assert after.startswith(before)
    rows = [json.loads(line) for line in after[len(before) :].splitlines()]
    assert genomes(rows) == goes_on_with.split()
    assert result["best"]["fitness"] == pytest.approx(fitness, rel=1e-9)
    assert result["counts"]["evaluated"] == n_evaluated
    assert result["counts"]["screened_out"] == n_screened_out


@pytest.mark.parametrize("earlier", ["generations"], indirect=True)
def test_a_checkpoint_is_of_its_settings_however_they_are_written(earlier: Path) -> None:
    config, checkpoint = earlier / "config.toml", earlier / "checkpoint.json"
    # as a version would that writes other lines for the same settings
    config.write_text(config.read_text().replace("gens = 14\npop = 8", "pop = 8\ngens = 14"))
    saved = json.loads(checkpoint.read_text())
    saved["config_sha256"] = hashlib.sha256(config.read_bytes()).hexdigest()
    checkpoint.write_text(json.dumps(saved))
    assert RunFolder.open(earlier).load_checkpoint() is not None
    config.write_text(config.read_text().replace("gens = 14", "gens = 15"))
    with pytest.raises(RunFolderError, match="belongs to the"):
        RunFolder.open(earlier).load_checkpoint()


@pytest.mark.parametrize(
    "state", [{}, {"screener": 3}, {"screener": {"open": 3}}, {"screener": {"open": [3]}}]
)
def test_a_damaged_state_is_left_for_its_reader(state: dict[str, Any]) -> None:
    assert in_todays_words(state) == state
