from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

MODELS = Path(__file__).parents[1] / "sequence_models.py"
SMALL = (
    "--lengths",
    "16,32",
    "--d-model",
    "16",
    "--vocab",
    "20",
    "--repeats",
    "2",
    "--seconds",
    "0",
    "--device",
    "cpu",
)


def spec(name: str) -> str:
    return f"{MODELS}:{name}"


def test_everything_is_written_and_can_be_read_again(clso, tmp_path: Path) -> None:
    files = ("--csv", "rows.csv", "--plot", "plot.png", "--out", "profile")
    done = clso("profile", spec("Lstm"), spec("Transformer"), *SMALL, "--claims", *files)
    assert done.code == 0
    assert "growth with the length" in done.out
    assert "4/4 done" in done.err
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert [(r["model"], r["length"], r["status"]) for r in rows] == [
        ("lstm", "16", "ok"),
        ("transformer", "16", "ok"),
        ("lstm", "32", "ok"),
        ("transformer", "32", "ok"),
    ]
    folder = tmp_path / "profile"
    assert sorted(p.name for p in folder.iterdir()) == [
        "claims.md",
        "manifest.json",
        "profile.csv",
        "profile.json",
        "profile.png",
    ]
    assert (folder / "profile.csv").read_text() == (tmp_path / "rows.csv").read_text()
    for picture in (folder / "profile.png", tmp_path / "plot.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["hardware"]["device"] == "cpu"
    assert manifest["software"]["torch"]
    assert manifest["code"]["version"]
    record = json.loads((folder / "profile.json").read_text())
    assert float(rows[0]["forward_time_s"]) == record["rows"][0]["forward_time_s"]
    assert record["models"][0]["plugin"]["sha256"]
    claims = (folder / "claims.md").read_text()
    assert claims in done.out
    assert "without a reproducible measurement" in claims

    again = clso("profile", "--from", folder, "--claims", "--json")
    assert again.code == 0
    assert json.loads(again.out) == record


def test_json_is_alone_on_stdout(clso) -> None:
    done = clso("profile", spec("Bigram"), *SMALL, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert [r["length"] for r in found["rows"]] == [16, 32]
    assert {e["quantity"] for e in found["scaling"]} >= {"forward_time_s", "peak_bytes"}


def test_ctrl_c_keeps_what_was_measured(clso, tmp_path: Path) -> None:
    done = clso("profile", spec("Stopping"), *SMALL, "--lengths", "16,64", "--out", "kept")
    assert done.code == 130
    assert "stopped" in done.err
    record = json.loads((tmp_path / "kept" / "profile.json").read_text())
    assert record["interrupted"]
    assert [(r["length"], r["status"]) for r in record["rows"]] == [(16, "ok")]


def test_a_kill_keeps_what_was_measured(clso, tmp_path: Path) -> None:
    """SIGKILL, by the model itself, at the second length."""
    arguments = ["profile", spec("Killing"), *SMALL, "--lengths", "16,64", "--out", "killed"]
    done = subprocess.run(
        [sys.executable, "-m", "clso", *arguments], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    record = json.loads((tmp_path / "killed" / "profile.json").read_text())
    assert record["interrupted"]
    assert [(r["length"], r["status"]) for r in record["rows"]] == [(16, "ok")]
    assert "killing" in clso("profile", "--from", "killed").out


def test_nothing_measured_is_a_failed_run(clso, tmp_path: Path) -> None:
    done = clso("profile", spec("Failing"), *SMALL, "--lengths", "64", "--out", "none")
    assert done.code == 1
    assert "too long for me" in done.error
    assert (
        json.loads((tmp_path / "none" / "profile.json").read_text())["rows"][0]["status"]
        == "failed"
    )


def test_bad_input_is_one_line(clso, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "other.json").write_text('{"rows": []}')
    for arguments in (
        (),
        ("no-such-model",),
        (spec("NotAModel"),),
        (spec("Bigram"), "--lengths", "1k"),
        (spec("Bigram"), "--lengths", "1"),
        (spec("Bigram"), "--device", "cuda:77"),
        (spec("Bigram"), "--out", "full"),
        (spec("Bigram"), "--csv", "nowhere/rows.csv"),
        (spec("Bigram"), "--csv", "full/file/rows.csv"),
        (spec("Bigram"), "--out", "full/file/profile"),
        (spec("Bigram"), "--memory-budget-gb", "nan"),
        (spec("Bigram"), "--memory-budget-gb", "inf"),
        (spec("Bigram"), "--docs", "0"),
        (spec("Bigram"), "--micro", "0"),
        (spec("Bigram"), "--pad-to", "-1"),
        (spec("Bigram"), "--layout", "sordid"),
        (spec("Bigram"), "--seed", str(10**30)),
        (spec("Bigram"), "--from", "full"),
        ("--from", "other.json"),
        ("--from", "missing"),
    ):
        done = clso("profile", *arguments)
        assert done.code == 2, arguments
        assert done.error
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['clso', 'profile', '--help']\n"
        "from clso.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MODEL" in done.stdout
    assert done.stdout.splitlines()[-1] == "False False"


def test_a_mix_is_measured_and_read_again(clso, tmp_path: Path) -> None:
    mix = ("--mix", "choice:8,24", "--docs", "4", "--micro", "2", "--layout", "sorted,packed")
    done = clso("profile", "vsla-local", *SMALL[2:], *mix, "--step", "--out", "profile")
    assert done.code == 0
    assert "4 documents of choice:8,24, 2 micro-batches" in done.out
    rows = list(csv.DictReader((tmp_path / "profile" / "profile.csv").open(encoding="utf-8")))
    assert [(r["layout"], r["n_tokens"], r["n_slots"]) for r in rows] == [
        ("sorted", "64", "64"),
        ("packed", "64", "64"),
    ]
    assert all(float(r["step_time_s"]) > 0 for r in rows)
    again = clso("profile", "--from", tmp_path / "profile", "--json")
    assert json.loads(again.out) == json.loads((tmp_path / "profile" / "profile.json").read_text())


def test_a_preset_has_its_parameters_without_allocating_them(clso) -> None:
    done = clso("profile", "--preset", "vsla-1b", "--device", "meta", "--json")
    assert done.code == 0
    assert json.loads(done.out)["rows"][0]["parameters"] == 1_319_917_568
    smaller = clso(
        "profile", "--preset", "vsla-1b", "--device", "meta", "--n-layers", "1", "--json"
    )
    assert json.loads(smaller.out)["rows"][0]["parameters"] < 1_319_917_568
    assert clso("profile", "--preset", "vsla-2b", "--device", "meta").code == 2
