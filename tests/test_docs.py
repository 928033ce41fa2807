"""The pages lead somewhere, and what they say of files and folders is what is there."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import proof_rows
from clso.config import RunConfig
from clso.energy import nvml, rapl
from clso.energy.ledger import CHARGED
from clso.energy.nvml_sampled import NvmlSampled
from clso.energy.opening import SOURCES
from clso.run.folder import RunFolder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUN_FOLDER = (ROOT / "docs/run-folder.md").read_text()
# What is in them has the names of genes, options, packages, splits.
_BY_NAME = {
    "alleles",
    "examples",
    "hypervolume_reference",
    "left_out",
    "n_documents",
    "n_tokens",
    "options",
    "settings",
    "software",
    "values",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


@cache
def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_every_page_of_the_docs_can_be_found() -> None:
    """README leads to those of `docs/`, and docs/index.md to those in its folders."""
    for start, pages in ((ROOT / "README.md", "docs/*.*"), (ROOT / "docs/index.md", "*/*.md")):
        text = start.read_text()
        for page in start.parent.glob(pages):
            assert f"({page.relative_to(start.parent).as_posix()})" in text, page


def test_the_folders_are_those_of_the_architecture() -> None:
    """Each is named, and they come in the order of imports that CI holds."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (
        c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers"
    )
    place = {name: i for i, layer in enumerate(layers) for name in layer.split(" | ")}
    page = (ROOT / "docs/architecture.md").read_text().split("| what it is for |")[1]
    rows = re.findall(r"^\| (`.*?) \|", page.partition("\n\n")[0], re.MULTILINE)
    named = [re.findall(r"`(?:clso/)?(\w+)(?:/|\.py)?`", row) for row in rows]
    assert {name for row in named for name in row} == {*place} - {"__main__"}
    places = [place[name] for row in named for name in row]
    assert places == sorted(places)


def test_the_folders_that_readme_names_are_there() -> None:
    for name in re.findall(r"`(clso/\w+)`", (ROOT / "README.md").read_text()):
        assert (ROOT / name / "__init__.py").is_file(), name


def test_the_settings_are_documented() -> None:
    assert {f.name for f in fields(RunConfig)} - _documented("config.toml") == set()


@pytest.mark.parametrize("run", ["finished_run", "finished_toy_run"])
def test_every_key_of_a_run_folder_is_documented(run: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    for name in ("manifest.json", "checkpoint.json", "result.json"):
        value = json.loads((folder / name).read_text())
        if name == "checkpoint.json":  # the inside of the state is no interface
            value["state"] = dict.fromkeys(value["state"])
        assert _keys(value) - _documented(name) == set(), name
    rows = list(RunFolder.open(folder).records())
    assert {"evaluation", "generation"} <= {row["type"] for row in rows}
    used = _keys(rows) | {row["type"] for row in rows}
    assert used - _documented("records.jsonl") == set()


def test_the_files_of_a_run_folder_are_documented(finished_run: Path) -> None:
    listed = RUN_FOLDER.split("## ")[0]
    for path in finished_run.iterdir():
        assert path.name in listed, path.name


def test_recorded_results_of_all_kinds_are_documented() -> None:
    found = sorted(ROOT.glob("runs/*/**/result.json"))
    assert len(found) > 3
    for path in found:
        keys = _keys(json.loads(path.read_text()))
        assert keys - _documented("result.json") == set(), path


def test_the_recorded_proof_is_documented() -> None:
    known = _documented("A proof's folder")
    for row in proof_rows().values():
        assert set(row) - {"type"} - known == set(), row["key"]
        assert row["type"] in known


def test_the_phases_that_are_charged() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (yes|no) \|$", _energy(), re.MULTILINE)
    assert tuple(name for name, charged in rows if charged == "yes") == CHARGED
    assert {name for name, _ in rows} == {"data", "compile", "test", *CHARGED}


def test_the_energy_sources() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| ([\d.]+ s|-) \|.*\|$", _energy(), re.MULTILINE)
    assert {name for name, _ in rows} == {*SOURCES} - {"auto"}
    found = {name: float(text.removesuffix(" s")) for name, text in rows if text != "-"}
    assert found == {
        "nvml": nvml.RESOLUTION_S,
        "nvml-sampled": NvmlSampled.resolution_s,
        "rapl": rapl.RESOLUTION_S,
    }


def _energy() -> str:
    return (ROOT / "docs/energy.md").read_text()


def _documented(name: str) -> set[str]:
    """Keys that the section of a file names; `a.b` names both."""
    (section,) = (part for part in RUN_FOLDER.split("\n## ") if part.startswith(f"{name}\n"))
    phases = {"data", "compile", "library", "search", "validate", "test", "total"}
    words = re.findall(r"`\[?([\w.-]+)\]?`", section)
    return {part for word in words for part in word.split(".")} | phases


def _keys(value: Any) -> set[str]:
    """All keys of JSON, but those that a space or a plugin chooses."""
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    if not isinstance(value, dict):
        return set()
    inside = (item for key, item in value.items() if key not in _BY_NAME)
    return set(value).union(*map(_keys, inside))
