"""Kills runs with SIGKILL at chosen moments, resumes them, and prints what each ended as. Run in a
process of its own.

    python kill_driver.py CONFIG.toml FOLDER POINT...

A POINT is "n:moment", or several of them joined by "+": the run is killed at the first, its
resumption at the second, and so on. `n` counts the writes to the run folder (of records and of
whole files), `moment` is before, half or after. Every attempt is a forked child, so that a kill is
a real one and torch is imported once."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clso.data  # noqa: F401  (imported here, once, and not in every child)
from clso import plugins
from clso.config import RunConfig
from clso.disk.checksums import seal
from clso.run import evolve, resume, training
from clso.run.folder import RunFolder

training._SAVE_EVERY_S, training._SAVE_SHARE = 0.0, math.inf  # so that writes come in a known order


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(n: int, moment: str) -> None:
    """Die at the `n`-th write to the folder, before it, when half of its bytes are on disk, or
    after it."""
    writes = 0

    def armed(write: Callable[..., Any], half: Callable[..., None]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes == n:
                if moment == "half":
                    half(*args)
                elif moment == "after":
                    write(*args, **options)
                die()
            return write(*args, **options)

        return call

    def half_append(folder: RunFolder, rows: list[dict[str, Any]]) -> None:
        path = folder.path / "records.jsonl"
        before = path.stat().st_size
        append(folder, rows)
        os.truncate(path, (before + path.stat().st_size) // 2)

    def half_write(folder: RunFolder, name: str, text: str) -> None:
        (folder.path / f".{name}.tmp").write_text(text[: len(text) // 2])

    def half_result(folder: RunFolder, result: dict[str, Any]) -> None:
        seal(folder.path, b"")  # the hashes are there, and the result is not

    append, write_text, write_result = (
        RunFolder.append,
        RunFolder.write_text,
        RunFolder.write_result,
    )
    RunFolder.write_result = armed(write_result, half_result)  # type: ignore[method-assign]
    RunFolder.append = armed(append, half_append)  # type: ignore[method-assign]
    RunFolder.write_text = armed(write_text, half_write)  # type: ignore[method-assign]


def attempt(config: RunConfig, folder: Path, point: str | None) -> bool:
    """Start or continue the run in a child; whether it ended without being killed."""
    child = os.fork()
    if child == 0:
        if point is not None:
            n, moment = point.split(":")
            arm(int(n), moment)
        resume(folder) if (folder / "config.toml").exists() else evolve(config, folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"the child ended with status {status}"
    return True


def fingerprint(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions: the record, the model and the result without times and
    energy."""
    result = json.loads((folder / "result.json").read_text())
    for key in ("time_s", "cpu_time_s", "energy_j", "energy_reason"):
        del result[key]
    del result["surrogate"]["fit_time_s"]
    files = {
        p: hashlib.sha256((folder / p).read_bytes()).hexdigest()
        for p in ("records.jsonl", "best/model.safetensors")
    }
    return {"result": result, "files": files, "left": sorted(p.name for p in folder.iterdir())}


def main() -> None:
    config, base = RunConfig.from_toml(Path(sys.argv[1])), Path(sys.argv[2])
    for group, plugin in (("search_spaces", config.space), ("surrogates", config.surrogate)):
        plugins.load(group, plugin)  # type: ignore[arg-type]
    out: dict[str, Any] = {}
    for name in ("uninterrupted", *sys.argv[3:]):
        folder = base / name.replace(":", "-")
        points = [] if name == "uninterrupted" else name.split("+")
        killed = [not attempt(config, folder, point) for point in points]
        finished = attempt(config, folder, None)
        out[name] = {"killed": killed, "finished": finished, **fingerprint(folder)}
    sys.stdout.write(json.dumps(out))


if __name__ == "__main__":
    main()
