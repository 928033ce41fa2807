from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from clso.report import draw_report
from clso.report.cost import joules, seconds
from clso.report.draw import draw_figures
from clso.report.genome import adopted
from clso.report.reading import read_run
from clso.report.style import spread, to_png

from .folders import NO_RAPL, Written, write_baseline, write_run

NGRAM = {
    name: {"valid_loss": v, "test_loss": v}
    for name, v in (("unigram", 3.667), ("kn2", 3.242), ("kn3", 2.93))
}


def figures(run: Written, *baselines: Path) -> dict[str, Figure]:
    return dict(draw_figures(read_run(run.path, list(baselines))))


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_every_picture_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = dict(matplotlib.rcParams)
    paths = draw_report(run.path, [write_baseline(tmp_path / "adamw")], None)
    assert [p.name for p in paths] == ["loss.png", "audits.png", "energy.png", "genome.png"]
    for path in paths:
        assert path.parent == run.path / "report"
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size > 20_000
    assert dict(matplotlib.rcParams) == before


def test_importing_the_report_imports_no_matplotlib() -> None:
    code = (
        "import sys, clso.report; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loss_lines_are_the_record(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    ngram = write_baseline(tmp_path / "ngram", "ngram", test_loss=2.93, more=NGRAM)
    figure = figures(run, ngram)["loss"]
    rows = run.generations
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert np.asarray(lines["best so far"].get_ydata()).tolist() == [r["best"] for r in rows]
        assert np.asarray(lines["best so far"].get_xdata()).tolist() == [
            r["generation"] for r in rows
        ]
        medians = [np.median(r["population"]) for r in rows]
        assert np.asarray(lines["population, median"].get_ydata()).tolist() == pytest.approx(
            medians
        )
    assert len(figure.axes) == 2  # the n-grams are far below: the search gets a panel of its own
    whole = figure.axes[1]
    heights = [np.asarray(line.get_ydata()).tolist() for line in whole.get_lines()]
    flat = {float(y[0]) for y in heights if len(set(y)) == 1}
    assert {3.667, 3.242, 2.93, 5.2, np.log(256)} <= flat
    for name in (
        "5.545  log(vocabulary)",
        "5.200  winner, test text",
        "2.930  ngram kn3",
        "none is a prediction",
    ):
        assert name in texts(figure)


def test_one_panel_suffices_where_references_are_near(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert len(figures(run, write_baseline(tmp_path / "b", test_loss=5.3))["loss"].axes) == 1


def test_audits_show_predicted_and_true(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    figure = figures(run)["audits"]
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert points.tolist() == [pair for r in run.generations for pair in r["audits"]]
    assert "guess, no result" in figure.axes[0].get_xlabel()
    assert "0.53 within generations" in texts(figure)
    history = next(a for a in figure.axes if "rank correlation" in a.get_ylabel()).get_lines()[0]
    expected = [r["audit_correlation"] for r in run.generations]
    assert np.asarray(history.get_ydata()).tolist()[3:] == expected[3:]
    assert np.isnan(np.asarray(history.get_ydata()).tolist()[:3]).all()


def test_a_wild_prediction_does_not_squash_the_picture(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", wild_prediction=-3000.0)
    figure = figures(run)["audits"]
    assert figure.axes[0].get_xlim()[0] > 0
    assert "beyond the edges: 1 of" in texts(figure)


def test_a_switched_off_surrogate_is_said_to_be(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", disabled_reason="rank correlation 0.1 on the last 40 audits")
    text = texts(figures(run)["audits"])
    assert "SWITCHED OFF (rank correlation 0.1 on the last 40 audits)" in text
    assert "switched off in generation 6" in text


def test_no_surrogate_no_audits(tmp_path: Path) -> None:
    text = texts(figures(write_run(tmp_path / "run", surrogate="none"))["audits"])
    assert "no surrogate" in text
    assert "every candidate was measured" in text


def test_joules_are_drawn_where_all_were_measured(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gross_j=2345.0)
    sweep = {"by_lr": [{}, {}], "energy_of_winner_j": 9000.0, "time_of_winner_s": 8.0}
    adamw = write_baseline(tmp_path / "adamw", gross_j=45_600.0, more=sweep)
    figure = figures(run, adamw)["energy"]
    points = [tuple(np.asarray(c.get_offsets())[0]) for c in figure.axes[0].collections]
    assert points == [(2345.0, 5.2), (9000.0, 3.1), (45_600.0, 3.1)]
    text = texts(figure)
    assert "Joules against test loss" in text
    assert "adamw, whole sweep\n3.100 at 45.6 kJ" in text
    assert "claim" not in text
    assert figure.axes[0].get_xscale() == "log"


def test_without_joules_there_are_seconds_and_no_claim(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    figure = figures(run, write_baseline(tmp_path / "adamw", gross_j=99.0))["energy"]
    points = [tuple(np.asarray(c.get_offsets())[0]) for c in figure.axes[0].collections]
    assert points == [(13.2, 5.2), (40.0, 3.1)]
    text = texts(figure)
    assert "Seconds against test loss: energy was not measured for all, so no claim" in text
    assert f"clso gpt2 (grown): {NO_RAPL}" in text
    assert "joules" not in text.lower()
    alone = texts(figures(run)["energy"])
    assert "no energy was measured, so no claim" in alone
    assert "No baseline was given" in alone


def test_different_devices_give_no_claim(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gross_j=5.0)
    text = texts(
        figures(run, write_baseline(tmp_path / "b", gross_j=5.0, device="cuda:0"))["energy"]
    )
    assert "different devices (cpu, cuda:0): no claim" in text


def test_a_cost_of_nothing_is_left_out_and_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gross_j=5.0)
    figure = figures(run, write_baseline(tmp_path / "ngram", "ngram", gross_j=0.0))["energy"]
    assert len(figure.axes[0].collections) == 1
    assert "Not drawn, because its cost was measured as nothing: ngram" in texts(figure)


def test_the_heat_map_holds_the_shares(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gene_names=[f"gene-{i}" for i in range(6)])
    data = read_run(run.path, [])
    figure = draw_figures(data)["genome"]
    heat = figure.axes[1]
    assert np.asarray(heat.images[0].get_array()).tolist() == data.held.tolist()
    assert [t.get_text() for t in heat.get_yticklabels()] == list(data.alleles)
    assert all(label in texts(figure) for label in data.alleles.values())


def test_adoption_is_for_good() -> None:
    held = np.array(
        [[0, 1, 0, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=bool
    )
    assert adopted(held).tolist() == [3, 0, -1, 4]


@pytest.mark.parametrize(("n_generations", "n_genes"), [(1, 12), (60, 40)])
def test_no_label_is_clipped_and_none_overlaps(
    tmp_path: Path, n_generations: int, n_genes: int
) -> None:
    alleles = [f"lag {i}, value map of rank {16 * i}" for i in range(n_genes)]
    run = write_run(
        tmp_path / "run",
        n_generations=n_generations,
        n_genes=n_genes,
        allele_names=alleles,
        gross_j=100.0,
    )
    near = [
        write_baseline(
            tmp_path / f"b{i}", f"baseline-{i}", test_loss=5.2 + 0.01 * i, gross_j=99.0 + 4 * i
        )
        for i in range(4)
    ]
    for name, figure in figures(run, *near).items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
        boxes = [
            (t.get_text(), Text.get_window_extent(t, renderer))
            for t in shown
            if t.get_rotation() in (0, 90)
        ]
        for text, box in boxes:
            inside = (
                box.x0 >= 0
                and box.y0 >= 0
                and box.x1 <= figure.bbox.x1
                and box.y1 <= figure.bbox.y1
            )
            # Ticks outside an axis' limits keep a text that is never drawn.
            assert inside or text in _undrawn(figure), (name, text)
        labels = [(t, b) for t, b in boxes if t not in _undrawn(figure)]
        for (one, a), (other, b) in itertools.combinations(labels, 2):
            overlap_x, overlap_y = (
                min(a.x1, b.x1) - max(a.x0, b.x0),
                min(a.y1, b.y1) - max(a.y0, b.y0),
            )
            # Line boxes hold ascenders and descenders; only what reaches the letters is an overlap.
            assert overlap_x <= 1 or overlap_y <= 4, (name, one, other)


def _undrawn(figure: Figure) -> set[str]:
    out = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = {t.get_text() for t in axis.get_ticklabels(which="both")}
            drawn_ticks = axis._update_ticks()  # type: ignore[union-attr]
            kept = {t.label1.get_text() for t in drawn_ticks}
            out |= drawn - kept
    return out


def test_spaces_without_text_are_drawn_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", language=False, n_genes=14, wild_prediction=1e6)
    made = figures(run)
    assert "fitness" in made["loss"].axes[0].get_ylabel()
    assert "Seconds against fitness" in texts(made["energy"])
    assert "test" not in texts(made["loss"])
    draw_report(run.path, [], tmp_path / "page.html")
    assert "best fitness" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_with_markup_are_drawn_as_they_are(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", gene_names=["$x^$", "a_{b", "\\frac", "基因", "é", "%s"])
    made = figures(run, write_baseline(tmp_path / "b", "$\\bad$"))
    assert "3.100  $\\bad$" in texts(made["loss"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_png(made["genome"]).startswith(b"\x89PNG")


def test_labels_keep_their_distance_and_move_least() -> None:
    assert spread([10, 50], 12, 100) == [10, 50]
    assert spread([20, 20], 12, 100) == [14, 26]
    assert spread([0, 0, 100], 12, 100) == [0, 12, 100]
    for wanted in ([5.0, 5.0, 5.0, 90.0], [99.0, 98.0, 97.0], [3.0, 50.0, 49.0, 51.0, 2.0]):
        placed = sorted(spread(wanted, 12, 100))
        assert all(b - a >= 12 - 1e-9 for a, b in itertools.pairwise(placed))
        assert placed[0] >= 0
        assert placed[-1] <= 100 + 1e-9


def test_numbers_read_well() -> None:
    assert [joules(v) for v in (0.0005, 0.25, 3.1, 21.04, 999.7, 45_600, 2.5e6)] == [
        "0.0005 J",
        "250 mJ",
        "3.1 J",
        "21 J",
        "1 kJ",
        "45.6 kJ",
        "2.5 MJ",
    ]
    assert [seconds(v) for v in (3.5e-5, 0.0354, 13.16, 100, 1234.5)] == [
        "35 µs",
        "35.4 ms",
        "13.2 s",
        "100 s",
        "1,234 s",
    ]


def test_thousands_of_genes_are_drawn_in_groups(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_genes=1001, n_generations=4, pop=4, language=False)
    data = read_run(run.path, [])
    figure = draw_figures(data)["genome"]
    heat = figure.axes[1].images[0].get_array()
    assert heat is not None
    assert heat.shape == (91, 4)  # groups of 11 genes
    assert np.asarray(heat)[0] == pytest.approx(data.held[:11].mean(axis=0))
    assert "genes 991–1,001" in texts(figure)
    assert figure.get_size_inches()[1] < 40


def test_a_dollar_in_a_name_is_a_dollar(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", gene_names=["$x_", "a$b$", "c", "d", "e", "f"], language=False
    )
    draw_report(run.path, [], None)
