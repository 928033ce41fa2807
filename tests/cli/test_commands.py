from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from waiting import HANG_S

from clso.cli import cli
from clso.config import RunConfig
from clso.energy import EnergyMeter, open_meter
from clso.energy.counter import CounterLimits
from clso.energy.replay import ReplayClock, replay_counter
from clso.models import native

COMMANDS = [
    "evolve",
    "resume",
    "evaluate",
    "generate",
    "export",
    "baseline",
    "compare",
    "report",
    "list",
    "doctor",
]


def test_help_waits_for_neither_torch_nor_ray_nor_numpy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom clso.cli import cli\n"
        "for args in ([], ['evolve'], ['baseline'], ['compare'], ['doctor']):\n"
        "    assert CliRunner().invoke(cli, [*args, '--help']).exit_code == 0\n"
        "assert CliRunner().invoke(cli, ['list', 'spaces']).exit_code == 0\n"
        "print(*({'torch', 'ray', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_module_and_the_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clso", "--version"], capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0
    assert done.stdout.startswith("clso, version ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0
    options = [p for p in cli.commands[command].params if isinstance(p, click.Option)]
    assert [o.name for o in options if not (o.help or o.show_default)] == []
    assert cli.commands[command].short_help or cli.commands[command].help
    assert command in CliRunner().invoke(cli, ["--help"]).output


@pytest.mark.parametrize("name", ["ngram", "random-search", "adamw", "sequence"])
def test_every_baseline_has_help_with_its_own_options(name: str) -> None:
    shown = CliRunner().invoke(cli, ["baseline", name, "--help"])
    assert shown.exit_code == 0
    assert "--data" in shown.output
    assert name in CliRunner().invoke(cli, ["baseline", "--help"]).output
    if name == "random-search":
        assert "--evaluations INTEGER" in shown.output
        assert "(default 300)" in " ".join(shown.output.split())


def test_without_a_command_the_help_is_shown(clso: Any) -> None:
    for args in ((), ("baseline",)):
        shown = clso(*args)
        assert shown.code == 2
        assert "Usage: clso" in shown.err
        assert "\nOptions:\n" in shown.err


def test_evolve_prints_a_summary_and_the_folder(clso: Any, recipe: Path, tmp_path: Path) -> None:
    done = clso("evolve", "--config", recipe, "--gens", "2", "--out", tmp_path / "run")
    assert done.code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    for text in (
        "re-measured from disk",
        f"{result['best']['test_loss']:.4f}",
        "log(vocabulary)",
        "16 evaluated",
        "not measured (clso doctor explains)",
        "nats per token on test of text:",
        "not trusted: too few audits yet (0 of 8)",
        "\nwinner\n",
        "{}: {}".format(*next(iter(result["best"]["alleles"].items()))),
        f"\n  clso evaluate {tmp_path / 'run'}\n",
        f"\n  clso resume {tmp_path / 'run'} --gens 4\n",
        f"run folder: {tmp_path / 'run'}",
    ):
        assert text in done.out
    assert "best loss on the fitness text" in done.err
    assert "Traceback" not in done.err


def test_evolve_draws_a_live_view_on_a_terminal(
    clso: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take a pipe for a terminal
    done = clso("evolve", "--config", recipe, "--gens", "3", "--out", tmp_path / "run")
    assert done.code == 0
    for text in (
        "best loss on the fitness text",
        "evaluated",
        " a second",
        "screened out",
        "cached",
        "tokens",
        "/3",
    ):
        assert text in done.err


def test_evolve_prints_json_and_nothing_else(clso: Any, recipe: Path, tmp_path: Path) -> None:
    done = clso("evolve", "--config", recipe, "--gens", "2", "--json")
    assert done.code == 0
    assert done.err == ""
    folders = list((tmp_path / "runs" / "local").iterdir())
    assert len(folders) == 1  # the default place
    assert json.loads(done.out) == json.loads((folders[0] / "result.json").read_text())


def test_options_win_over_the_recipe(
    clso: Any, recipe: Path, tmp_path: Path, tiny: RunConfig
) -> None:
    options = [
        "--gens",
        "1",
        "--pop",
        "4",
        "--seed",
        "5",
        "--surrogate",
        "none",
        "--library-size",
        "6",
        "--patience",
        "2",
    ]
    assert (
        clso("evolve", "--config", recipe, *options, "--out", tmp_path / "run", "--json").code == 0
    )
    config = RunConfig.from_toml(tmp_path / "run" / "config.toml")
    assert (config.gens, config.pop, config.seed, config.surrogate) == (1, 4, 5, "none")
    assert config.patience == 2
    assert config.options == {**tiny.options, "library_size": 6}


def test_resuming_a_finished_run_shows_it_again(clso: Any, finished_run: Path) -> None:
    shown = clso("resume", finished_run, "--json")
    assert json.loads(shown.out) == json.loads((finished_run / "result.json").read_text())
    assert "re-measured" in clso("resume", finished_run).out


def test_evaluate(clso: Any, finished_run: Path, other_english_path: Path) -> None:
    best = json.loads((finished_run / "result.json").read_text())["best"]
    found = json.loads(clso("evaluate", finished_run, "--json").out)
    loss = best["test_loss"]
    assert found == {
        "loss": loss,
        "n_tokens": best["n_test_tokens"],
        "split": "test",
        "recorded_loss": loss,
    }
    assert (
        f"{best['valid_loss']:.4f} nats per token"
        in clso("evaluate", finished_run, "--split", "valid").out
    )
    other = json.loads(
        clso("evaluate", finished_run, "--data", f"text:{other_english_path}", "--json").out
    )
    assert other["loss"] != best["test_loss"]


def test_export(clso: Any, finished_run: Path, tmp_path: Path) -> None:
    assert clso("export", finished_run, tmp_path / "hf", "--format", "hf").code == 0
    names = {p.name for p in (tmp_path / "hf").iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert "new folder" in clso("export", finished_run, tmp_path / "hf").error


def test_baseline_and_compare(clso: Any, finished_run: Path, recipe: Path, tmp_path: Path) -> None:
    done = clso("baseline", "ngram", "--config", recipe, "--out", tmp_path / "ngram")
    assert done.code == 0
    assert all(name in done.out for name in ("unigram", "kn2", "kn3", "run folder"))
    shown = clso("compare", finished_run, tmp_path / "ngram")
    assert shown.code == 0
    assert "no claim: energy" in shown.out
    assert "higher" in shown.out
    assert "not measured" in shown.out
    found = json.loads(clso("compare", finished_run, tmp_path / "ngram", "--json").out)
    assert [r["name"] for r in found["rows"]] == ["clso gpt2 (random)", "ngram"]
    assert found["verdicts"][0]["criteria_met"] == []
    printed = json.loads(
        clso("baseline", "ngram", "--config", recipe, "--out", tmp_path / "again", "--json").out
    )
    assert printed == json.loads((tmp_path / "again" / "result.json").read_text())
    assert "only evolved runs" in clso("resume", tmp_path / "ngram").error


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("spaces", "gpt2"),
        ("surrogates", "ridge"),
        ("baselines", "ngram"),
        ("models", "lstm"),
        ("tasks", "listops"),
        ("crystals", "monarch"),
        ("recipes", "ref-2x128"),
    ],
)
def test_list(clso: Any, kind: str, name: str) -> None:
    assert name in clso("list", kind).out
    rows = json.loads(clso("list", kind, "--json").out)
    assert name in [r["name"] for r in rows]
    assert all(r["what"] for r in rows)


def test_doctor(clso: Any) -> None:
    shown = clso("doctor")
    assert shown.code == 0
    for section in ("software:", "device:", "energy:", "optional:", "cache:"):
        assert section in shown.out
    found = json.loads(clso("doctor", "--json").out)
    assert found["software"]["clso"]
    assert found["energy"]["source"] == "null" or "missing" not in found["energy"]
    has_compiler = native.compiler() is not None
    assert found["optional"]["C compiler"].startswith("missing:") is not has_compiler


def replayed(readings: list[tuple[float, float]], resolution_s: float = 0.1) -> EnergyMeter:
    clock = ReplayClock()
    counter = replay_counter([readings], clock, CounterLimits(resolution_s, 2000.0))
    return EnergyMeter(counter, clock=clock, sleep=clock.advance)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([(0.0, 0.0), (2.0, math.nan)], "read nan J"),
        ([(0.0, 0.0), (2.0, -1.0)], "read -1.0 J"),
        ([(0.0, 500.0), (3.0, 1.0)], "went backwards"),
        ([(0.0, 500.0)], "did not move"),
    ],
)
def test_doctor_says_what_is_wrong_with_a_meter(
    clso: Any, monkeypatch: pytest.MonkeyPatch, readings: list[tuple[float, float]], reason: str
) -> None:
    monkeypatch.setattr("clso.energy.open_meter", lambda source, device: replayed(readings))
    energy = json.loads(clso("doctor", "--json").out)["energy"]
    assert energy["ok"] is False
    assert reason in energy["reason"]
    assert energy["resolution_s"] == 0.1


def test_doctor_says_why_nothing_is_measured(
    clso: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    domain = tmp_path / "intel-rapl:0"
    domain.mkdir()
    for name, content in (("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", "0")):
        (domain / name).write_text(content)
    monkeypatch.setattr(
        "clso.energy.open_meter",
        lambda source, device: open_meter(source, "cpu", rapl_root=tmp_path),
    )
    energy = json.loads(clso("doctor", "--json").out)["energy"]
    assert energy["source"] == "null"
    assert "wraps at 0 J" in energy["missing"]
