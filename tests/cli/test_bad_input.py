"""Bad input: one clear line that begins with "error:", exit code 2 (1 for a run that failed),
nothing lost, nothing left."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import HANG_S

from clso.cli.evolve import graceful_stop
from clso.config import RunConfig

TOYS = Path(__file__).parents[1] / "toys.py"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--space", "gtp2"], "unknown search space; got 'gtp2'. Did you mean 'gpt2'?"),
        (["--space", "nowhere.py:Space"], "names a file"),
        (["--space", f"{TOYS}:NOT_A_SPACE"], "subclass of clso.space.SearchSpace"),
        (["--surrogate", "rigde"], "Did you mean 'ridge'?"),
        (["--data", "python-stdlb"], "Did you mean 'python-stdlib'?"),
        (["--data", "text:nowhere.txt"], "no such file or folder"),
        (["--data", "text:"], "needs a path"),
        (["--tokenizer", "bpe"], "bpe"),
        (["--tokenizer", "bpe:-1"], "bpe"),
        (["--tokenizer", "sentencepiece"], "sentencepiece"),
        (["--device", "gpu"], "device is auto, cpu, cuda or cuda:N; got 'gpu'"),
        (["--device", "cuda:99"], "CUDA device(s); got 'cuda:99'"),
        (["--energy", "solar"], "solar"),
        (["--energy", "nvml"], "NVML"),
        (["--library", "borrowed"], "library is grown, random or warm; got 'borrowed'"),
        (
            ["--library", "warm"],
            "library warm is cut from a checkpoint; got ''. Give --checkpoint FOLDER",
        ),
        (["--checkpoint", "folder"], "library random uses no checkpoint; got '/"),
        (["--library", "warm", "--checkpoint", "nowhere"], "nowhere holds a GPT-2"),
        (["--gens", "0"], "0 is not in the range x>=1"),
        (["--gens", "-3"], "-3 is not in the range"),
        (["--gens", "many"], "'many' is not a valid integer"),
        (["--pop", "0"], "0 is not in the range x>=2"),
        (["--pop", "-1"], "-1 is not in the range"),
        (["--pop", "1"], "1 is not in the range"),
        (["--library-size", "0"], "library_size is at least 1; got 0"),
        (["--library-size", "many"], "option library_size is of type int; got 'many'"),
        (["--patience", "-1"], "-1 is not in the range"),
        (["--seed", "-1"], "seed is at least 0"),
        (["--objective", "loss, flps"], "unknown objective; got 'flps'. Did you mean 'flops'?"),
        (["--objective", ""], "unknown objective; got ''"),
        (["--objective", "loss,energy_j"], "objective energy_j needs an energy source"),
        (["--limit", "flops"], "a limit is NAME=NUMBER; got 'flops'"),
        (
            ["--limit", "flops=1e6", "--limit", "n_byte=3"],
            "unknown limit; got 'n_byte'. Did you mean 'n_bytes'?",
        ),
        (
            ["--limit", "flops=-1"],
            "no genome drawn keeps flops=-1: some genome keeps the limits. The least of",
        ),
        (["--warm-from", "nowhere"], "a run to start from is a folder with config.toml; got"),
        (["--config", "missing.toml"], "can be read"),
        (["--bogus"], "No such option"),
        (["stray"], "unexpected extra argument"),
    ],
)
def test_bad_options_of_evolve(
    clso: Any, recipe: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = clso("evolve", "--config", recipe, "--out", tmp_path / "run", "--json", *options)
    assert done.code == 2
    assert done.out == ""
    assert done.err == done.error + "\n"
    assert message in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the text is empty"),
        (b" \n\n\t\n", "the text is empty"),
        (bytes(range(256)) * 50, "the file is no text: binary"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is no text: binary"),
        (b"One line, and no more.\n", "too short"),
        (b"word " * 500, "too short"),
    ],
)
def test_bad_texts(clso: Any, recipe: Path, tmp_path: Path, content: bytes, message: str) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    done = clso(
        "evolve", "--config", recipe, "--out", tmp_path / "run", "--data", f"text:{text}", "--json"
    )
    assert (done.code, done.err) == (2, done.error + "\n")
    assert message in done.error
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]


def test_a_long_text_on_one_line_is_fine(
    clso: Any, recipe: Path, tmp_path: Path, english_path: Path
) -> None:
    text = tmp_path / "line.txt"
    text.write_text(english_path.read_text().replace("\n", " "))
    assert (
        clso(
            "evolve",
            "--config",
            recipe,
            "--gens",
            "1",
            "--data",
            f"text:{text}",
            "--out",
            tmp_path / "run",
        ).code
        == 0
    )


def test_a_text_shorter_than_a_block(clso: Any, tiny: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        tiny.with_options(fitness_tokens=(2000,), options={"n_positions": 2000}).to_toml()
    )
    done = clso("evolve", "--config", tmp_path / "recipe.toml", "--out", tmp_path / "run", "--json")
    assert (done.code, done.err) == (2, done.error + "\n")
    assert "at least 2001 tokens" in done.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text", ["gen = 3", 'pop = "8"', "fitness_tokens = 5", "gens = ", "n_heads = 3", "d_model = 0"]
)
def test_bad_recipes(clso: Any, english_path: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.toml").write_text(
        f'data = "text:{english_path}"\ntokenizer = "bpe:300"\n{text}\n'
    )
    done = clso("evolve", "--config", tmp_path / "recipe.toml", "--out", tmp_path / "run", "--json")
    assert (done.code, done.err) == (2, done.error + "\n")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_folder_is_refused_and_untouched(
    clso: Any, recipe: Path, finished_run: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")}
    for command in (["evolve"], ["baseline", "ngram"], ["baseline", "random-search"]):
        done = clso(*command, "--config", recipe, "--out", finished_run)
        assert done.code == 2
        assert f"clso resume {finished_run}" in done.error
    assert {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")} == before


def test_a_run_in_which_nothing_can_be_measured_fails_with_1(
    clso: Any, recipe: Path, tmp_path: Path
) -> None:
    config = RunConfig.from_toml(recipe)
    recipe.write_text(replace(config, space=f"{TOYS}:AlwaysNan", options={}).to_toml())
    done = clso("evolve", "--config", recipe, "--out", tmp_path / "run")
    assert done.code == 1
    assert "at least one candidate of the first generation" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["resume", "evaluate", "report"])
def test_commands_on_what_is_no_run(clso: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        done = clso(command, path)
        assert done.code == 2
        assert "a run folder holds config.toml" in done.error
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["checkpoint.json", "config.toml", "manifest.json"])
def test_damaged_folders_on_resume(
    clso: Any, finished_run: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "result.json").unlink()
    (run / name).write_text((run / name).read_text()[:50])
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    done = clso("resume", run)
    assert done.code == 2
    assert done.error
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before


def test_a_result_that_is_damaged(clso: Any, finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "result.json").write_text("{")
    for command in (["resume", run], ["compare", run, finished_run], ["report", run]):
        done = clso(*command)
        assert done.code == 2
        assert "result.json" in done.error


def test_an_unfinished_run_has_nothing_to_show(
    clso: Any, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "result.json").unlink()
    commands = (
        ["evaluate", run],
        ["export", run, tmp_path / "hf"],
        ["compare", run, finished_run],
        ["report", run],
    )
    for command in commands:
        done = clso(*command)
        assert done.code == 2
        assert "inish" in done.error  # "Finish it with ..." or "Let the run finish first"
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["bogus"], "No such command"),
        (["baseline", "adamww"], "unknown baseline; got 'adamww'. Did you mean 'adamw'?"),
        (["baseline", "random-search", "--evaluations", "0"], "evaluations is at least 1"),
        (["baseline", "random-search", "--evaluations", "x"], "not a valid integer"),
        (["baseline", "adamw", "--lr", "fast"], "no comma-separated list of numbers"),
        (["baseline", "ngram", "--data", "text:nowhere"], "no such file"),
        (["compare", "a"], "Missing argument"),
        (["list"], "Missing argument"),
        (["list", "bogus"], "is not one of"),
        (["list", "options"], "followed by the name of a space or task"),
        (["list", "spaces", "gpt2"], "followed by the name of a space or task"),
        (["list", "options", "gtp2"], "Did you mean 'gpt2'?"),
        (["evaluate", "x", "--split", "all"], "is not one of"),
        (["export", "x", "y", "--format", "onnx"], "'onnx' is not"),
    ],
)
def test_bad_arguments_elsewhere(clso: Any, tmp_path: Path, args: list[str], message: str) -> None:
    done = clso(*args)
    assert done.code == 2
    assert message in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_that_fails_leaves_no_folder(clso: Any, recipe: Path, tmp_path: Path) -> None:
    config = RunConfig.from_toml(recipe)
    recipe.write_text(replace(config, space=f"{TOYS}:AlwaysNan", options={}).to_toml())
    done = clso("baseline", "random-search", "--config", recipe, "--out", tmp_path / "run")
    assert done.code == 1
    assert "all 256 failed (the value is infinite or not a number)" in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_full_standard_output(recipe: Path, tmp_path: Path) -> None:
    """The result is on disk by then, and the message is one line all the same."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "clso", "list", "spaces"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANG_S
        )
    assert done.returncode == 1
    assert (
        done.stderr == "error: No space left on device. Free some space, then `clso resume RUN`.\n"
    )


def test_a_closed_pipe_is_silent() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "clso", "list", "spaces", "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=HANG_S)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(disk), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"a small tmpfs cannot be mounted here ({os.strerror(ctypes.get_errno())})")
    yield disk
    libc.umount2(bytes(disk), 2)


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk but for about `leave` bytes."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    filler.write_bytes(b"\0" * max(0, free - leave))
    return filler


@pytest.mark.parametrize(
    "gens", [200, 12], ids=["the search does not fit", "the model does not fit"]
)
def test_a_disk_that_fills_up_loses_nothing(
    clso: Any, tiny: RunConfig, small_disk: Path, tmp_path: Path, gens: int
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(replace(tiny, gens=gens, surrogate="none").to_toml())
    filler = fill(small_disk, 72_000)
    done = clso("evolve", "--config", recipe, "--out", small_disk / "run")
    assert done.code == 1
    assert "No space left on device" in done.error
    assert "clso resume" in done.error
    assert not [p.name for p in (small_disk / "run").iterdir() if p.name.endswith(".tmp")]
    filler.unlink()
    assert clso("resume", small_disk / "run", "--json").code == 0
    assert clso("evolve", "--config", recipe, "--out", tmp_path / "whole", "--json").code == 0
    for name in ("records.jsonl", "best/model.safetensors"):
        assert (small_disk / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16384])
def test_a_disk_that_is_full_at_the_start(
    clso: Any, recipe: Path, small_disk: Path, leave: int
) -> None:
    filler = fill(small_disk, leave)
    done = clso("evolve", "--config", recipe, "--out", small_disk / "run", "--json")
    assert done.code in (1, 2)
    assert done.err == done.error + "\n"
    assert "No space left on device" in done.error
    filler.unlink()
    if (small_disk / "run").exists():
        assert clso("resume", small_disk / "run", "--json").code == 0
    else:
        assert clso("evolve", "--config", recipe, "--out", small_disk / "run", "--json").code == 0


def test_a_cache_on_a_full_disk(
    clso: Any, recipe: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(small_disk, 0)
    monkeypatch.setenv("CLSO_CACHE", str(small_disk / "cache"))
    done = clso("evolve", "--config", recipe, "--out", small_disk.parent / "run", "--json")
    assert done.code == 2
    assert "CLSO_CACHE" in done.error
    assert not (small_disk.parent / "run").exists()


def test_the_interrupt_handler_is_put_back(tmp_path: Path) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    with graceful_stop(tmp_path) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
