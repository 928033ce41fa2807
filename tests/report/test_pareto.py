from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import without_checksums
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from clso.config import RunConfig
from clso.errors import RunFolderError
from clso.report import draw_report
from clso.report.draw import draw_figures
from clso.report.plots import plots_of
from clso.report.reading import read_run
from clso.run import evolve
from clso.run.trials import read_trials

from .test_figures import _undrawn

TOYS = Path(__file__).parents[1] / "toys_pareto.py"


@pytest.fixture(scope="module")
def runs(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Finished runs of two objectives, three, and four, the last of them a language model's."""
    folder = tmp_path_factory.mktemp("pareto")
    config = replace(tiny, surrogate="none")
    for n, objective in ((2, ("loss", "trailing")), (3, ("loss", "trailing", "size"))):
        evolve(
            replace(config, space=f"{TOYS}:Lotz", objective=objective, pop=16, options={}),
            folder / str(n),
        )
    evolve(replace(config, objective=("loss", "flops", "n_bytes", "n_params")), folder / "4")
    return {n: folder / str(n) for n in (2, 3, 4)}


@pytest.fixture(params=[2, 3, 4])
def run(request: pytest.FixtureRequest, runs: dict[int, Path]) -> Path:
    return runs[request.param]


def test_the_picture_shows_what_was_measured(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    rows = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    names = result["objectives"]
    data = read_run(run, [])
    figure = draw_figures(data)["pareto"]
    assert len(figure.axes) == len(names)
    first_rung = [
        r["values"] for r in rows if r["type"] == "evaluation" and r["generation"] is not None
    ]
    for column, axes in enumerate(figure.axes[:-1], 1):
        drawn = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in axes.collections}
        assert drawn["measured"] == [[v[column], v[0]] for v in first_rung]
        front = [[m["values"][names[column]], m["values"][names[0]]] for m in result["front"]]
        assert sorted(drawn["front"]) == sorted(front)
        assert drawn["least loss"] == [front[0]]
        low, high = axes.get_xlim()
        assert all(low < x < high for x, _ in front)
        low, high = axes.get_ylim()
        assert all(low < y < high for _, y in front)
    growth = figure.axes[-1].get_lines()[0]
    assert np.asarray(growth.get_ydata()).tolist() == [
        r["hypervolume"] for r in rows if r["type"] == "generation"
    ]
    text = " ".join(t.get_text() for t in figure.findobj(Text))
    assert f"Pareto front: {len(front)} genome" in text
    assert ("fitness text, first rung, 256 tokens" in text) == (names[0] == "fitness_loss")


def test_no_text_is_clipped(run: Path) -> None:
    figure = draw_figures(read_run(run, []))["pareto"]
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for text in figure.findobj(Text):
        box = text.get_window_extent(renderer)
        if (
            text.get_visible()
            and text.get_text()
            and box.width
            and text.get_text() not in _undrawn(figure)
        ):
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= figure.bbox.width, text
            assert box.y1 <= figure.bbox.height, text


def test_files_and_page(runs: dict[int, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[4], run)
    paths = draw_report(run, [], tmp_path / "page.html")
    assert [p.name for p in paths] == [
        "loss.png",
        "audits.png",
        "energy.png",
        "genome.png",
        "pareto.png",
    ]
    page = (tmp_path / "page.html").read_text()
    section = page.partition('<section id="front">')[2].partition("</section>")[0]
    assert "<h2>The front</h2>" in section
    for column in ("fitness loss", "flops", "n bytes", "n params", "genome"):
        assert f">{column}<" in section
    for member in json.loads((run / "result.json").read_text())["front"]:
        assert " ".join(map(str, member["genome"])) in section


def test_where_more_is_better_order_and_axes_follow(tiny: RunConfig, tmp_path: Path) -> None:
    objective = ("leading", "not_trailing")
    config = replace(
        tiny, space=f"{TOYS}:Measured", objective=objective, surrogate="none", pop=16, options={}
    )
    result = evolve(config, tmp_path / "run")
    data, trials = read_run(tmp_path / "run", []), read_trials(tmp_path / "run")
    most = max(t.evaluation.values[0] for t in trials.trials if t.evaluation.ok)
    assert data.own.score == data.best[-1] == result["best"]["values"]["leading"] == most > 0
    assert (np.diff(data.best) >= 0).all()
    low, median, high = data.spread
    assert (low <= median).all()
    assert (median <= high).all()
    assert data.value_label == "leading (more is better)"
    plots = plots_of(data, trials, None)
    ends = [
        float(end) for line in plots["parallel"]["data"] for end in line["name"].split(" to ")[::-1]
    ]
    assert ends == sorted(ends)  # from the worst, drawn first, to the best
    assert ends[-1] == most
    front = plots["front-1"]
    assert front["layout"]["yaxis"]["title"]["text"] == "leading (more is better)"
    assert front["layout"]["xaxis"]["title"]["text"] == "not trailing (less is better)"
    points = {(m["values"]["not_trailing"], m["values"]["leading"]) for m in result["front"]}
    drawn = front["data"][1]
    assert set(zip(drawn["x"], drawn["y"], strict=True)) == points
    draw_report(tmp_path / "run", [], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    table = page.partition('<section id="trials">')[2].partition("</section>")[0]
    shown = re.findall(r"<td[^>]*>ok</td>\s*<td[^>]*>([^<]*)</td>", table)
    assert [float(v) for v in shown] == sorted((float(v) for v in shown), reverse=True)
    assert len(shown) > 10
    assert f"best leading, {data.better}" in page
    figure = draw_figures(data)["pareto"]
    labels = {c.get_label() for axes in figure.axes[:-1] for c in axes.collections}
    assert "most leading" in labels


def test_one_objective_has_no_such_picture(finished_toy_run: Path) -> None:
    assert "pareto" not in draw_figures(read_run(finished_toy_run, []))


def without_values(result: dict[str, Any]) -> None:
    del result["front"][0]["values"]


def infinite(result: dict[str, Any]) -> None:
    result["front"][0]["values"]["trailing"] = 1e999


def empty(result: dict[str, Any]) -> None:
    result["front"] = []


def other_objectives(result: dict[str, Any]) -> None:
    result["objectives"] = ["fitness"]


@pytest.mark.parametrize("damage", [without_values, infinite, empty, other_objectives])
def test_a_damaged_front(runs: dict[int, Path], tmp_path: Path, damage: Any) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[2], run)
    without_checksums(run)
    result = json.loads((run / "result.json").read_text())
    damage(result)
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(RunFolderError, match=r"result\.json is of a finished run"):
        read_run(run, [])
