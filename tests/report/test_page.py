from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clso.config import RunConfig
from clso.report import draw_report
from clso.report.page import write_page
from clso.report.reading import read_run

from .folders import write_baseline, write_run

EVIL = '<script>alert("x")</script>'


class _Page(HTMLParser):
    """Collects tags, links and cells; `open` holds what was not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")
        ]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder full of markup, and its page."""
    folder = tmp_path_factory.mktemp("page")
    run = write_run(
        folder / EVIL.replace("/", "_"),
        gene_names=[f"{EVIL}{i}" for i in range(6)],
        allele_names=[f"a & b <i>{i}" for i in range(6)],
        disabled_reason=EVIL,
        config=RunConfig(data=f"text:{EVIL}"),
    )
    page = folder / "new" / "page.html"
    draw_report(run.path, [write_baseline(folder / "b", EVIL)], page)
    return run.path, page.read_text(encoding="utf-8")


def test_the_page_is_whole_in_one_file(written: tuple[Path, str]) -> None:
    run, text = written
    page = _Page(text)
    assert page.open == []
    assert page.tags.count("img") == 4
    assert "http://" not in text
    assert "https://" not in text
    for link, name in zip(page.links, ("loss", "audits", "energy", "genome"), strict=True):
        head, data = link.split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) == (run / "report" / f"{name}.png").read_bytes()


def test_everything_from_outside_is_escaped(written: tuple[Path, str]) -> None:
    text = written[1]
    assert "<script" not in text
    assert "<i>" not in text
    page = _Page(text)
    assert "script" not in page.tags
    for i in range(6):
        assert f"{EVIL}{i}" in page.text
        assert f"a & b <i>{i}" in page.text
    assert re.search(f"text:.*{re.escape(EVIL)}", page.text)


def test_what_was_not_measured_is_said_not_claimed(written: tuple[Path, str]) -> None:
    text = _Page(written[1]).text
    assert "not measured, so nothing is claimed: RAPL cannot be read" in text
    assert re.search(r"Against <script>.*: loss 67.7 % higher.*no claim: energy of", text)
    assert "energy saved" not in text


def test_the_page_states_results_and_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gross_j=1000.0)
    data = read_run(run.path, [write_baseline(tmp_path / "adamw", gross_j=4000.0)])
    text = _Page(write_page(data, {})).text
    for expected in (
        "5.2000 nats per token",
        "1 kJ gross, 600.0 J net",
        "energy saved 75.0 %",
        "3.03 times the speed",
        "crystal-3",
        "tokenizer",
        "software.python",
    ):
        assert expected in text


def test_a_phase_too_short_for_the_source_is_shown_with_its_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gross_j=100.0)
    result = json.loads((run.path / "result.json").read_text())
    energy = result["energy_j"]
    energy["gross"]["library"] = energy["net"]["library"] = None
    energy["reasons"] = {"library": "too short for a test"}
    (run.path / "result.json").write_text(json.dumps(result))
    draw_report(run.path, [], tmp_path / "page.html")
    assert "not measured (too short for a test)" in (tmp_path / "page.html").read_text()
