"""`clso evolve --warm-from`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.errors import RunFolderError
from clso.run import evolve, resume
from clso.search.generations import Interrupted, Listener, Search

CONFIG = RunConfig(gens=6, pop=16, space="nk", energy="null", device="cpu", idle_s=0.0)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm") / "first"
    evolve(CONFIG, folder)
    return folder


def test_a_run_begins_where_another_ended(first: Path, tmp_path: Path) -> None:
    best = json.loads((first / "result.json").read_text())["best"]
    config = replace(CONFIG, seed=1, warm_from=(str(first),))
    result = evolve(config, tmp_path / "second")
    assert result["best"]["fitness"] <= best["fitness"]
    assert result["warm_from"]["runs"] == [str(first)]
    assert result["warm_from"]["seeds"] == CONFIG.pop // 4
    rows = (tmp_path / "second/records.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["genome"] == best["genome"]


def test_it_goes_on_without_the_earlier_folder(first: Path, tmp_path: Path) -> None:
    earlier = shutil.copytree(first, tmp_path / "earlier")
    config = replace(CONFIG, seed=1, warm_from=(str(earlier),))
    whole = evolve(config, tmp_path / "whole")
    heard = Heard()
    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "cut", listener=heard, stop=lambda: heard.n_generations >= 3)
    shutil.rmtree(earlier)
    result = resume(tmp_path / "cut")
    assert _outcome(result) == _outcome(whole)
    copy = tmp_path / "whole/warm.json"
    copy.write_text(copy.read_text()[:-9])
    with pytest.raises(RunFolderError, match=r"warm\.json"):
        resume(tmp_path / "whole", gens=8)


def test_islands_that_were_stopped_end_as_those_that_were_not(first: Path, tmp_path: Path) -> None:
    """Each epoch begins from what all islands measured in the last: nothing but that, and the
    seed, decides."""

    def island(folder: Path, seed: int, *earlier: Path, is_stopped: bool) -> list[Any]:
        config = replace(CONFIG, seed=seed, warm_from=tuple(map(str, earlier)))
        if is_stopped:
            heard = Heard()
            with pytest.raises(Interrupted):
                evolve(config, folder, listener=heard, stop=lambda: heard.n_generations >= 2)
            result = resume(folder)
        else:
            result = evolve(config, folder)
        return [result[key] for key in ("best", "counts")]

    found = []
    for is_stopped in (False, True):
        epoch = tmp_path / f"stopped {is_stopped}"
        island(epoch / "1-1", 1, is_stopped=is_stopped)
        last = first, epoch / "1-1"
        found.append(
            [island(epoch / f"2-{i}", 10 + i, *last, is_stopped=is_stopped) for i in range(2)]
        )
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


class Heard(Listener):
    n_generations = 0

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        self.n_generations += 1


def _outcome(result: dict[str, Any]) -> list[Any]:
    return [result[key] for key in ("best", "counts", "warm_from")]
