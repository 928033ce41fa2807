"""Ctrl-C is no error: a calm line, what goes on from there, and exit code 130."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from clso.search.generations import Search

NK = ("--space", "nk", "--gens", "40", "--pop", "8", "--surrogate", "none", "--energy", "null")


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c(clso: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, presses: int) -> None:
    generation = Search.generation

    def pressed(search: Search) -> list[dict[str, Any]]:
        rows = generation(search)
        if search.n_generations == 3:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
        return rows

    monkeypatch.setattr(Search, "generation", pressed)
    run = tmp_path / "a run"
    done = clso("evolve", *NK, "--out", run)
    assert done.code == 130
    last = done.err.splitlines()[-1]
    assert last.startswith("stopped")
    assert last.endswith(f"Go on with: clso resume {shlex.quote(str(run))}")
    assert "error" not in done.err
    assert "Traceback" not in done.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert clso("resume", run, "--json").code == 0
