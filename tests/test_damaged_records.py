"""Records of profiles and probes whose values somebody changed: read as they are, or told in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from damage import WRONG, leaves, replaced

from clso.errors import ClsoError, RunFolderError
from clso.probe.folder import read_probe
from clso.probe.page import write_page
from clso.profiling.claims import judge
from clso.profiling.claims_text import claims_markdown
from clso.profiling.folder import read_profile
from clso.profiling.table import to_csv

ROOT = Path(__file__).parents[1]


def n_told(path: Path, record: Any, read: Callable[[Path], None], every: int) -> int:
    """How many damages were told of, of one in `every`; others were read."""
    told: list[str] = []
    damages = ((at, wrong) for at in leaves(record) for wrong in WRONG)
    for at, wrong in islice(damages, 0, None, every):
        path.write_text(json.dumps(replaced(record, at, wrong)))
        try:
            read(path)
        except ClsoError as error:
            told.append(str(error))
    assert not any("\n" in line for line in told)
    return len(told)


def test_what_is_missing(tmp_path: Path) -> None:
    for name, read in (("profile", read_profile), ("probe", read_probe)):
        path = tmp_path / f"{name}.json"
        path.write_text("{}")
        with pytest.raises(RunFolderError, match="it has settings"):
            read(path)


def test_a_damaged_profile(tmp_path: Path) -> None:
    record = json.loads((ROOT / "runs/2026-11-30_profile-cpu/profile.json").read_text())
    names = "simple-nsm", "transformer"
    record["rows"] = [
        row for row in record["rows"] if row["model"] in names and row["length"] == 1024
    ]
    record["models"] = [model for model in record["models"] if model["name"] in names]
    for model in record["models"]:
        model.pop("config"), model.pop("plugin")

    def read(path: Path) -> None:
        profile = read_profile(path)
        to_csv(profile.rows)
        claims_markdown(profile, judge(profile.rows))

    assert n_told(tmp_path / "profile.json", record, read, 41) > 10


def test_a_damaged_probe(tmp_path: Path) -> None:
    folder = ROOT / "runs/2026-11-30_nsm-tasks/stories_kind-1_max_sentences-6"
    record = json.loads((folder / "probe.json").read_text())
    record["models"] = record["models"][:1]
    record["comparisons"] = record["comparisons"][:1]
    record["manifest"] = {}
    metrics = record["models"][0]["metrics"]
    kept = ("accuracy", "noise_drop", "states_allocated")
    record["models"][0]["metrics"] = {name: metrics[name] for name in kept}

    def read(path: Path) -> None:
        write_page(read_probe(path), "it")

    assert n_told(tmp_path / "probe.json", record, read, 97) > 5


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("runs/*/profile.json")), ids=lambda p: p.parent.name
)
def test_committed_profiles_are_read(path: Path) -> None:
    assert read_profile(path).rows


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("runs/**/probe.json")), ids=lambda p: p.parent.name
)
def test_committed_probes_are_read(path: Path) -> None:
    assert read_probe(path)["models"]
