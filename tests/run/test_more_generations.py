"""A finished run that is given more generations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clso.config import RunConfig
from clso.errors import ConfigError, RunFolderError
from clso.run import evolve, resume
from clso.run.folder import RunFolder

NK = RunConfig(
    space="nk", options={"n": 12, "k": 2}, gens=3, pop=8, energy="null", device="cpu", seed=1
)


def test_it_ends_like_a_run_that_had_them_from_the_beginning(tmp_path: Path) -> None:
    whole = evolve(replace(NK, gens=9), tmp_path / "whole")
    first = evolve(NK, tmp_path / "run")
    assert first["counts"]["generations"] == 3
    more = resume(tmp_path / "run", gens=9)
    for key in ("best", "counts", "surrogate"):
        assert {**more[key], "fit_time_s": 0} == {**whole[key], "fit_time_s": 0}
    for name in ("records.jsonl", "config.toml"):
        one, other = ((tmp_path / run / name).read_bytes() for run in ("run", "whole"))
        assert one == other
    assert RunFolder.open(tmp_path / "run").read_result() == more
    assert resume(tmp_path / "run") == more
    assert resume(tmp_path / "run", gens=9) == more


def test_fewer_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    evolve(NK, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    with pytest.raises(ConfigError, match="It has 3"):
        resume(tmp_path / "run", gens=2)
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "nk"', '"name": "kn"'))
    before["manifest.json"] = manifest.read_bytes()
    with pytest.raises(RunFolderError, match="the plugins that it began with"):
        resume(tmp_path / "run", gens=5)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before


def test_a_run_that_was_killed_while_it_got_them_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    evolve(NK, tmp_path / "run")
    monkeypatch.setattr(RunFolder, "save_checkpoint", killed)  # the first thing after the settings
    with pytest.raises(Killed):
        resume(tmp_path / "run", gens=5)
    monkeypatch.undo()
    assert not RunFolder.open(tmp_path / "run").finished
    assert resume(tmp_path / "run")["counts"]["generations"] == 5
