"""What `--space vsm` learns, and what its parts are worth: the records behind docs/vsm.md.

    python -m benchmarks.vsm --out runs/2026-11-29_vsm                # all; the rivals take an hour or more on one core
    python -m benchmarks.vsm --out DIR --only levels,ablations        # some sections

One JSON line a measurement, in `records.jsonl`; a line that is there already is not measured again, so
a killed run goes on. Every controller is raised anew. Exams are problems of the split `test`; the
hand-set genome was chosen by looking at other draws of that split, with lifetime seeds 0 to 5. So `fresh` measures the
levels again with lifetimes that nobody had looked at.
`benchmarks/vsm_tables.py` makes the tables.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clso.baselines.control.baseline import Control
from clso.config import RunConfig
from clso.run.manifest import describe_device, describe_software
from clso.run.run import evolve
from clso.search_spaces.vsm.controller import Tally
from clso.search_spaces.vsm.exam import examined, speed
from clso.search_spaces.vsm.genes import DEFAULT, LEVELS, Anatomy, anatomy
from clso.search_spaces.vsm.lifetime import Rules, raise_controller
from clso.search_spaces.vsm.memory import Memory
from clso.search_spaces.vsm.space import VSMSpace
from clso.worlds.problems import draw_problems

SEEDS = 8
PROBLEMS = 200
FRESH_SEEDS = range(100, 108)
SEARCH_EPISODES = 33_848  # of a whole search
WHOLE = anatomy(DEFAULT)
Row = dict[str, Any]


def exam_rows(
    memory: Memory, rules: Rules, sizes: tuple[int, ...], count: int = PROBLEMS
) -> list[Row]:
    """A row a number of blocks."""
    out = []
    for n in sizes:
        exam = examined(memory, draw_problems(n, count, "test", 0), rules)
        cost = exam.tally.per_decision()
        costs = {key: cost[key] for key in ("operations", "nodes", "alarms", "habits", "flops")}
        out.append({"blocks": n, **exam.score.to_json(), **costs})
    return out


class Record:
    """`records.jsonl`: rows by section, name and seed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "records.jsonl"
        text = self.path.read_text() if self.path.exists() else ""
        self.rows: list[Row] = [json.loads(line) for line in text.splitlines()]
        self._done = {(row["section"], row["name"], row["seed"]) for row in self.rows}

    def add(self, section: str, name: str, seed: int, measure: Callable[[], list[Row]]) -> None:
        """Measure and write, unless it is there."""
        if (section, name, seed) in self._done:
            return
        begin = time.perf_counter()
        rows = measure()
        wall_s = round(time.perf_counter() - begin, 2)
        with self.path.open("a") as file:
            for row in rows:
                whole = {"section": section, "name": name, "seed": seed, **row, "wall_s": wall_s}
                self.rows.append(whole)
                file.write(json.dumps(whole) + "\n")
        shown = " ".join(f"{r['blocks']}: {r['success']:.3f}" for r in rows if "success" in r)
        print(f"{section} {name} {seed} {shown} {wall_s:.1f} s", flush=True)


def raised_rows(
    settings: Anatomy, rules: Rules, sizes: tuple[int, ...] = (5, 8)
) -> Callable[[int], list[Row]]:
    """Rows of a controller that is raised for a seed."""

    def rows(seed: int) -> list[Row]:
        tally = Tally()
        memory = raise_controller(settings, rules, seed, tally)
        spent = {
            "practice_operations": tally.operations,
            "practice_decisions": tally.decisions,
            "parameters": sum(memory.parameters.values()),
        }
        return [{**row, **spent} for row in exam_rows(memory, rules, sizes)]

    return rows


def _level_cases() -> dict[str, tuple[Anatomy, Rules]]:
    plain = Rules()
    return {
        "all": (WHOLE, plain),
        "S1": (WHOLE.only(["S1"]), plain),
        "S1+S2": (WHOLE.only(["S1", "S2"]), plain),
        "S1+S5": (WHOLE.only(["S1", "S5"]), plain),
        "S4+S5": (WHOLE.only(["S4", "S5"]), plain),
        "none": (WHOLE.only([]), plain),
        "S1 crystal": (replace(WHOLE.only(["S1"]), s1="crystal"), plain),
        "S1 random": (replace(WHOLE, s1="random", habits=False, model=False), plain),
        "all, practice 0": (WHOLE, Rules(practice=0)),
        "S4+S5, practice 0": (WHOLE.only(["S4", "S5"]), Rules(practice=0)),
        "all, goal hidden": (WHOLE, Rules(goal_shown=False)),
        "S1+S2, credit shuffled": (WHOLE.only(["S1", "S2"]), Rules(credit_true=False)),
        "all, credit shuffled": (WHOLE, Rules(credit_true=False)),
    }


def levels(record: Record) -> None:
    """What each part can do, learned and wired in, and the controls."""
    for name, (settings, rules) in _level_cases().items():
        for seed in range(SEEDS):
            record.add("levels", name, seed, partial(raised_rows(settings, rules), seed))


def fresh(record: Record) -> None:
    """`levels` with other lifetimes."""
    for name, (settings, rules) in _level_cases().items():
        for seed in FRESH_SEEDS:
            record.add("fresh", name, seed, partial(raised_rows(settings, rules), seed))


def ablations(record: Record) -> None:
    """The whole without a level, a plasticity, the curriculum or the erasing of loops."""
    cases = {f"without {level}": WHOLE.without([level]) for level in LEVELS}
    cases["habits off"] = replace(WHOLE, habits=False)
    cases["model off"] = replace(WHOLE, model=False)
    cases["explosive off"] = replace(WHOLE, explosive=False)
    cases |= {"flat curriculum": replace(WHOLE, rising=False)}
    cases |= {"loops kept": replace(WHOLE, erase_loops=False)}
    cases |= {"S1, flat curriculum": replace(WHOLE.only(["S1"]), rising=False)}
    cases |= {"S1, loops kept": replace(WHOLE.only(["S1"]), erase_loops=False)}
    for name, settings in cases.items():
        for seed in range(SEEDS):
            record.add("ablations", name, seed, partial(raised_rows(settings, Rules()), seed))


def alarms(record: Record) -> None:
    """The alarms with one response, on S1 alone and on the whole; the one at random as often as betti's."""
    for base, settings in (("S1", WHOLE.only(["S1", "purple"])), ("all", WHOLE)):
        settings = replace(settings, purple_threshold=2, purple_length=2)
        for kind in ("off", "revisits", "no-progress", "betti", "random"):
            rate = _rate(record, base) if kind == "random" else 0.0
            one = replace(settings, purple=kind, purple_rate=rate)
            for seed in range(SEEDS):
                run = raised_rows(one, Rules(), (8, 10))
                record.add("alarms", f"{base}, {kind}", seed, partial(run, seed))


def _rate(record: Record, base: str) -> float:
    """Alarms a decision that betti's raised; a response lasts two decisions."""
    found = [
        r["alarms"]
        for r in record.rows
        if r["section"] == "alarms" and r["name"] == f"{base}, betti"
    ]
    mean: float = sum(found) / len(found) / 2
    return mean


def shapley(record: Record) -> None:
    """All 64 coalitions."""
    space = VSMSpace()
    for seed in range(SEEDS):
        record.add("shapley", "hand-set", seed, partial(_coalitions, space, seed))


def _coalitions(space: VSMSpace, seed: int) -> list[Row]:
    return [space.shapley(WHOLE, seed)]


def sizes(record: Record) -> None:
    """The whole from 3 to 20 blocks."""
    every = (3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20)
    for seed in range(SEEDS):
        record.add("sizes", "all", seed, partial(raised_rows(WHOLE, Rules(), every), seed))


def large(record: Record) -> None:
    """The searches' winners, raised again as they were, with more blocks than any search saw."""
    for row in [r for r in record.rows if r["section"] == "search" and r["blocks"] == 5]:
        seed = row["seed"]
        measure = partial(_winner_rows, anatomy(row["alleles"]), seed)
        record.add("large", "evolved", seed, measure)


def _winner_rows(settings: Anatomy, seed: int) -> list[Row]:
    space = VSMSpace(seed=seed)
    return exam_rows(space.raised(settings), space.rules, (5, 12, 16, 20))


def front(record: Record) -> None:
    """A Pareto search by SPL, operations and bytes; each member is raised again and measured on test."""
    config = RunConfig(
        space="vsm",
        gens=8,
        pop=16,
        objective=("loss", "operations", "n_bytes"),
        options={"window_s": 0.1},
    )
    record.add("front", "nsga2", 0, partial(_front, config))


def _front(config: RunConfig) -> list[Row]:
    space, out = VSMSpace(seed=config.seed), []
    with tempfile.TemporaryDirectory() as folder:
        found = evolve(config, Path(folder) / "run")
        for i, member in enumerate(found["front"]):
            memory = space.raised(anatomy(member["alleles"]))
            memory.save(Path(folder) / str(i))
            n_bytes = sum(p.stat().st_size for p in (Path(folder) / str(i)).iterdir())
            (row,) = exam_rows(memory, space.rules, (5,))
            bounds = {f"{name}_searched": value for name, value in member["values"].items()}
            levels = list(memory.anatomy.present)
            row = {**row, **bounds, "member": i, "n_bytes": n_bytes, "levels": levels}
            out.append({**row, "episodes": found["counts"]["episodes"]})
    return out


def practice(record: Record) -> None:
    """Success by episodes of practice."""
    for name, settings in (("all", WHOLE), ("S1+S2", WHOLE.only(["S1", "S2"]))):
        for episodes in (0, 50, 100, 200, 400, 1000, 2000, 10000):
            for seed in range(3 if episodes < 10_000 else 1):
                run = raised_rows(settings, Rules(practice=episodes))
                record.add("practice", f"{name}, {episodes}", seed, partial(run, seed))


def parameters(record: Record) -> None:
    """S1's crystal read-out by its number of parameters."""
    crystal = replace(WHOLE.only(["S1"]), s1="crystal")
    for n in (0, 10_000, 100_000, 500_000, 1_000_000, 2_000_000):
        run = raised_rows(crystal, Rules(parameters=n), (3, 5, 8, 10))
        record.add("parameters", str(n), 0, partial(run, 0))


def resources(record: Record) -> None:
    """Speed, and what is stored."""

    def measure() -> list[Row]:
        rules = Rules()
        begin = time.process_time()
        memory = raise_controller(WHOLE, rules, FRESH_SEEDS[0])
        raised_s = time.process_time() - begin
        with tempfile.TemporaryDirectory() as folder:
            memory.save(Path(folder) / "best")
            n_bytes = sum(p.stat().st_size for p in (Path(folder) / "best").iterdir())
        by_level = dict.fromkeys(memory.parameters, 0)
        for name, tensor in memory.tensors().items():
            by_level[name.split(".")[0]] += tensor.nbytes
        return [
            {
                "decisions_per_s": speed(memory, rules, 5, 2.0),
                "n_bytes": n_bytes,
                "bytes_by_level": by_level,
                "parameters_by_level": memory.parameters,
                "raised_cpu_s": raised_s,
                "max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        ]

    record.add("resources", "all", FRESH_SEEDS[0], measure)


def search(record: Record) -> None:
    """Whole runs of `clso evolve --space vsm`."""
    for seed in range(SEEDS):

        def measure(seed: int = seed) -> list[Row]:
            config = RunConfig(
                space="vsm", gens=8, pop=16, finalists=2, seed=seed, options={"window_s": 0.1}
            )
            with tempfile.TemporaryDirectory() as folder:
                found = evolve(config, Path(folder) / "run")
            by_blocks = found["best"].pop("by_blocks")
            kept = {
                key: found[key]
                for key in ("counts", "time_s", "energy_j", "energy_reason", "parameters")
            }
            shared = {
                **kept,
                "alleles": found["best"]["alleles"],
                "n_bytes": found["n_bytes"]["total"],
            }
            return [{"blocks": int(n), **row, **shared} for n, row in by_blocks.items()]

        record.add("search", "evolved", seed, measure)


def rivals(record: Record) -> None:
    """`clso baseline control`. What learns by gradients of its own network is cut at few seeds and episodes."""
    for policy in ("random", "legal", "greedy", "gn1", "us", "optimal"):
        record.add("rivals", policy, 0, partial(_control, policy=policy))
    case: dict[str, Any]
    for episodes in (400, 2000):
        case = {"policy": "shared-pg", "episodes": (episodes,), "seeds": 3}
        record.add("rivals", f"shared-pg, {episodes}", 0, partial(_control, **case))
    best = next(r for r in record.rows if r["name"] == "shared-pg, 2000")["setting"]
    setting = {"rates": (best["rate"],), "batches": (best["batch"],)}
    case = {"policy": "shared-pg", "episodes": (10_000,), "seeds": 3, **setting}
    record.add("rivals", "shared-pg, 10000", 0, partial(_control, **case))
    case = {"policy": "shared-pg", "episodes": (SEARCH_EPISODES,), "seeds": 3, **setting}
    record.add("rivals", f"shared-pg, {SEARCH_EPISODES}", 0, partial(_control, **case))
    for episodes, seeds in ((400, 3), (2000, 1), (10_000, 1), (SEARCH_EPISODES, 1)):
        for policy in ("cma", "neat", "maskable-ppo", "ppo", "dqn"):
            _learner(record, policy, episodes, seeds)


def _learner(record: Record, policy: str, episodes: int, seeds: int) -> None:
    case: dict[str, Any] = {"policy": policy, "episodes": (episodes,), "seeds": seeds}
    record.add("rivals", f"{policy}, {episodes}", 0, partial(_control, **case))


def _control(**settings: Any) -> list[Row]:
    from clso.baseline import run_baseline

    with tempfile.TemporaryDirectory() as folder:
        chosen = {**{f: getattr(Control.Settings(), f) for f in _FIELDS}, **settings}
        config = RunConfig(energy="null")
        found = run_baseline("control", chosen, config, Path(folder) / "run")
    out = []
    for row in found["rows"]:
        by_blocks = row.pop("by_blocks")
        out += [
            {"blocks": int(n), **row, **scores, "policy": found["policy"]}
            for n, scores in by_blocks.items()
        ]
    return out


_FIELDS = ("policy", "blocks", "episodes", "seeds", "rates", "batches", "problems")
SECTIONS: dict[str, Callable[[Record], None]] = {
    f.__name__: f
    for f in (
        levels,
        fresh,
        ablations,
        alarms,
        shapley,
        sizes,
        practice,
        parameters,
        resources,
        search,
        large,
        front,
        rivals,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, comma-separated")
    args = parser.parse_args()
    record = Record(args.out)
    manifest = {"software": describe_software(), "hardware": describe_device("cpu"), "seeds": SEEDS}
    (args.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for name in args.only.split(","):
        SECTIONS[name](record)


if __name__ == "__main__":
    main()
