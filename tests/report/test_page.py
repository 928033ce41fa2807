from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clso.config import RunConfig
from clso.report import draw_report, importances
from clso.report.plots import robust_range
from clso.report.thumbnails import thumbnails
from clso.run.folder import RunFolder

from .chromium import opened, show
from .folders import write_baseline, write_run

EVIL = '<script>alert("x")</script>'


class _Page(HTMLParser):
    """Collects tags, links and text outside scripts and styles; `open` holds what was not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")
        ]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text += data


def page_of(run: Path, out: Path, *baselines: Path) -> str:
    draw_report(run, list(baselines), out)
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    """Importances are no subject here, and each page has some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importances, "_TREES", 4)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder full of markup, one prediction far off, and its page."""
    folder = tmp_path_factory.mktemp("page")
    run = write_run(
        folder / EVIL.replace("/", "_"),
        gene_names=[f"{EVIL}{i}" for i in range(6)],
        allele_names=[f"a & b <i>{i}" for i in range(6)],
        disabled_reason=EVIL,
        wild_prediction=-3000.0,
        config=RunConfig(data=f"text:{EVIL}"),
    )
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["genes"] = [{"name": f"{EVIL}{i}", "n_choices": 64} for i in range(6)]
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    failed = {
        "type": "evaluation",
        "generation": 1,
        "genome": [1] * 6,
        "fidelity": 0,
        "values": [],
        "status": "failed",
        "n_tokens": 0,
        "error": f"Traceback\n{EVIL}",
    }
    RunFolder.open(run.path).append([failed])
    page = folder / "new" / "page.html"
    return page, page_of(run.path, page, write_baseline(folder / "b", EVIL))


def test_the_page_is_whole_in_one_file(written: tuple[Path, str]) -> None:
    page = _Page(written[1])
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert len(written[1].encode()) < 6_000_000
    wanted = ("loss", "importances", "parallel", "audits", "trust", "energy", "genome", "slice-0")
    assert {f"plot-{name}" for name in wanted} <= set(page.ids)
    assert set(json.loads(page.scripts[0])) == {i for i in page.ids if i.startswith("plot-")}


def test_everything_from_outside_is_escaped(written: tuple[Path, str]) -> None:
    text = written[1]
    page = _Page(text)
    assert EVIL not in text
    assert page.tags.count("script") == 3  # the figures, plotly, ours
    assert "i" not in page.tags
    for i in range(6):
        assert f"{EVIL}{i}" in page.text
        assert f"a & b <i>{i}" in page.text
    assert f"1{'failed'}" in re.sub(r"\s", "", page.text)  # a failure, by its reason
    figures = json.loads(page.scripts[0])
    assert "<script" not in json.dumps(figures)  # plotly takes tags in labels for markup


def test_what_was_not_measured_is_said_not_claimed(written: tuple[Path, str]) -> None:
    text = _Page(written[1]).text
    assert "not measured, so nothing is claimed: RAPL cannot be read" in text
    assert re.search(r"Against <script>.*: loss 67.7 % higher.*no claim: energy of", text)
    assert "energy saved" not in text


def test_audits_show_the_threshold_and_are_not_squashed(written: tuple[Path, str]) -> None:
    figures = json.loads(_Page(written[1]).scripts[0])
    low, high = figures["plot-audits"]["layout"]["xaxis"]["range"]
    assert 0 < high - low < 5
    assert "1 of" in figures["plot-audits"]["layout"]["annotations"][0]["text"]
    (line,) = (t for t in figures["plot-trust"]["data"] if t["name"].startswith("0.2: "))
    assert line["y"] == [0.2, 0.2]


def test_a_range_is_that_of_most_values() -> None:
    import numpy as np

    values = np.append(np.linspace(4, 5, 99), 1e6)
    low, high = robust_range(values)
    assert low < 4
    assert 5 < high < 10
    assert robust_range(np.ones(3))[0] < 1 < robust_range(np.ones(3))[1]


def test_the_page_states_results_and_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gross_j=1000.0)
    result = json.loads((run.path / "result.json").read_text())
    energy = result["energy_j"]
    energy["gross"]["library"] = energy["net"]["library"] = None
    energy["reasons"] = {"library": "too short for a test"}
    (run.path / "result.json").write_text(json.dumps(result))
    adamw = write_baseline(tmp_path / "adamw", gross_j=4000.0)
    whole = page_of(run.path, tmp_path / "page.html", adamw)
    text = _Page(whole).text
    for expected in (
        "CLSO run run",
        "5.2000 nats per token",
        "1 kJ gross, 600.0 J net",
        "energy saved 75.0 %",
        "3.03 times the speed",
        "crystal-3",
        "tokenizer",
        "software.python",
        "not measured (too short for a test)",
    ):
        assert expected in text
    assert str(tmp_path) not in text.partition("Made with")[0]
    colours = [
        t["marker"]["color"] for t in json.loads(_Page(whole).scripts[0])["plot-energy"]["data"]
    ]
    assert colours == ["#0072B2", "#D55E00"]  # a side's own


def test_crystals_are_thumbnails(finished_run: Path) -> None:
    found = thumbnails(RunFolder(finished_run))
    assert len(found) >= 8  # one layer: q, k, v, projections, embeddings
    assert all(t.data.startswith("data:image/png;base64,") for t in found)
    assert "h.0.attn.c_attn.weight v" in {t.name for t in found}


def test_in_a_browser(written: tuple[Path, str], tmp_path: Path) -> None:
    ids = [i for i in _Page(written[1]).ids if i.startswith("plot-")]
    with opened(tmp_path / "profile") as browser:
        for width, dark in ((1280, False), (390, True)):
            show(browser, written[0], width=width, dark=dark)
            drawn = browser.execute_script(
                "return [...document.querySelectorAll('.plot')].filter(p => p.querySelector('svg.main-svg')).map(p => p.id)"
            )
            assert sorted(drawn) == sorted(ids)
            assert browser.get_log("browser") == []
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(255, 255, 255)") != dark
        column = "return [...document.querySelectorAll('#trials tbody tr')].map(r => +r.cells[0].dataset.value)"
        browser.execute_script("document.querySelector('#trials button.sort').click()")
        first = browser.execute_script(column)
        assert first == sorted(first)
        browser.execute_script("document.querySelector('#trials button.sort').click()")
        assert browser.execute_script(column) == first[::-1]
