"""One value of the wrong kind anywhere in a folder's JSON is one line of error, or nothing that
anybody reads."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from damage import WRONG, leaves, replaced, without_checksums

from clso.cli import cli
from clso.disk.parsing import parse_json, parse_toml
from clso.errors import ClsoError
from clso.run.schema import check_manifest, check_result, check_row

RUNS = Path(__file__).parents[2] / "runs"


@pytest.mark.parametrize("path", sorted(RUNS.rglob("result.json")), ids=lambda p: p.parent.name)
def test_recorded_results_keep_to_the_schema(path: Path) -> None:
    check_result(json.loads(path.read_text()), path)
    manifest = path.with_name("manifest.json")
    if manifest.exists():  # of three stories it stayed on the machine that evolved them
        check_manifest(json.loads(manifest.read_text()), path)
    record = path.with_name("records.jsonl")
    if record.exists():
        for line in record.read_text().splitlines():
            check_row(json.loads(line))


@pytest.mark.parametrize("name", ["result.json", "manifest.json"])
@pytest.mark.parametrize("command", ["report", "compare", "resume"])
def test_wrong_leaves(finished_run: Path, tmp_path: Path, name: str, command: str) -> None:
    import shutil

    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    without_checksums(run)
    whole = json.loads((run / name).read_text())
    arguments = [command, str(run), *([str(finished_run)] if command == "compare" else [])]
    rng = random.Random(f"{name} {command}")
    places = list(leaves(whole))
    for _ in range(5 if command == "report" else 40):
        changed = replaced(whole, rng.choice(places), rng.choice(WRONG))
        (run / name).write_text(json.dumps(changed))
        done = CliRunner().invoke(cli, arguments)
        assert done.exception is None or isinstance(done.exception, (ClsoError, SystemExit)), (
            changed,
            done.exception,
        )


@pytest.mark.parametrize("parse", [parse_json, lambda text: parse_toml(f"a = {text}")])
@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, "[" * 60 + "]" * 60, "9" * 5000, "[", "\\"]
)
def test_what_cannot_be_read_is_a_value_error(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)
