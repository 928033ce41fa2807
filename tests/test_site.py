"""The site's pages: each can be found, what they say to run runs, and mkdocs builds them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks.results import record
from clso.cli import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = sorted(path for path in DOCS.rglob("*.md"))
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in SITE}
BLOCK = re.compile(r"^```(python|sh)(?: title=\"(.*?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TESTED_ELSEWHERE = {"plugins.md"}  # by test_docs_plugins
WITH_CODE = [
    name
    for name, text in PAGES.items()
    if name not in TESTED_ELSEWHERE
    and any(kind == "python" and ">>>" not in code for kind, _, code in BLOCK.findall(text))
]
RUN_WHOLE = ("tutorial.md", "howto/own-space.md", "howto/own-surrogate.md")


def test_every_page_is_in_the_sites_index_of_pages() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    assert set(re.findall(r"[\w/-]+\.md", nav)) == {*PAGES}


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Blocks with a file's name as title are that file; the others are one script, but for that
    of a library which is not installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    script, modules = [], []
    for kind, title, code in BLOCK.findall(PAGES[name]):
        if kind != "python" or ">>>" in code:
            continue
        if title.endswith(".py"):
            modules.append(title.removesuffix(".py"))
            (tmp_path / title).write_text(code)
        elif title == "Optuna" and importlib.util.find_spec("optuna") is None:
            compile(code, name, "exec")
        else:
            script.append(code)
    try:
        exec(compile("\n".join(script), name, "exec"), {"__name__": "page"})
        for module in modules:
            if module.startswith("test_"):
                assert pytest.main(["-q", "-p", "no:cacheprovider", f"{module}.py"]) == 0
            importlib.import_module(module)
    finally:
        for module in modules:
            sys.modules.pop(module, None)
    capfd.readouterr()


def test_sessions_are_on_the_page_that_doctest_runs() -> None:
    """By tests/search/test_optimizer.py."""
    assert [name for name, text in PAGES.items() if ">>>" in text] == ["library.md"]


@pytest.mark.parametrize("name", RUN_WHOLE)
def test_the_commands_of_a_page_run_in_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, title, code in BLOCK.findall(PAGES[name]):
        if kind == "python" and title.endswith(".py"):
            (tmp_path / title).write_text(code)
        elif kind == "sh":
            for line in code.splitlines():
                words = shlex.split(line, comments=True)
                if words[0] == "clso":
                    cli.main(words[1:], standalone_mode=False)
                else:
                    assert words[0] == "python"
                    subprocess.run([sys.executable, *words[1:]], check=True)
    capfd.readouterr()


def commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of each `clso ...` in a block of shell or between backticks."""
    for name, text in {**PAGES, "README.md": (ROOT / "README.md").read_text()}.items():
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        lines += re.findall(r"`(clso [^`]+)`", prose)
        for line in lines:
            if line.startswith("clso ") and "COMMAND" not in line and "..." not in line:
                yield name, shlex.split(line.split(" #")[0].split(" | ")[0], comments=True)[1:]


def test_commands_that_pages_name_have_their_options() -> None:
    found = 0
    for name, words in commands():
        command: click.Command = cli
        context = click.Context(cli)
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            sub = command.get_command(context, rest[0])
            if "|" in rest[0] or rest[0].isupper():  # one of several, or the reader's choice
                break
            assert sub is not None, (name, words)
            command, context = sub, click.Context(sub, parent=context)
            rest = rest[1:]
        if isinstance(command, click.Group):
            continue
        known = {opt for p in command.get_params(context) for opt in (*p.opts, *p.secondary_opts)}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, (name, words)
                found += 1
    assert found > 80


def test_six_tasks_are_one_command_each(
    finished_run: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """But for going on, which `tests/cli/test_runs.py` does to a run of its own."""
    table = PAGES["features.md"].split("## Six tasks")[1]
    named = set(re.findall(r"`clso (\w+)", table))
    run = str(finished_run)
    tasks: dict[str, tuple[list[str], str]] = {
        "report": ([run, "--html", str(tmp_path / "page.html")], "winner"),
        "trials": ([run, "--csv"], ",error"),
        "importances": ([run], "permutation"),
        "generate": ([run, "The ", "--tokens", "3"], "The "),
        "compare": ([run, run], "test loss"),
    }
    assert named == {*tasks, "resume"}
    for command, (words, expected) in tasks.items():
        cli.main([command, *words], standalone_mode=False)
        assert expected in capfd.readouterr().out, command
    parts = re.findall(r"<h2>(.*?)</h2>", (tmp_path / "page.html").read_text())
    assert len(parts) > 8
    how_to = PAGES["howto/report.md"]
    for part in parts:  # which loss or cost it is differs from run to run
        pattern = r"^.* (?=by generation)|^(Joules|Seconds) (?=against)|(?<=against ).*loss.*"
        assert re.sub(pattern, "", part).strip() in how_to, part


def test_the_figures_of_the_original_claim_are_the_records() -> None:
    text = " ".join(PAGES["explanation/original-claim.md"].split())
    random = record("2026-11-22_random-cpu/result.json")
    unigram = record("2026-11-22_nsm/ngram/result.json")["unigram"]["test_loss"]
    assert f"random crystals end at {random['best']['test_loss']:.3f} nats" in text
    assert f"nothing at all, is {random['log_vocabulary']:.3f}" in text
    assert f"single tokens gives {unigram:.3f}" in text


def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    # not --quiet: warnings that are not logged would not count
    words = ["build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "tutorial.html").read_text()
    loaded: list[Any] = re.findall(
        r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\" >]+)", page
    )
    assert loaded == []  # no network
    assert (tmp_path / "site/repository/runs/2026-11-22_proof-h100/pareto.png").is_file()
