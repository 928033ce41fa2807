"""What workers bring and what they cost: scaling, overhead, the driver's memory, and a simulation
to 1,024 workers.

    python benchmarks/ray_scaling.py --out runs/DATE_ray
    python benchmarks/ray_scaling.py --parts overhead simulation --out DIR

Writes ray_scaling.json and ray_scaling.md; parts that are not run are kept. Rates are compared
within one run, in turns, so that a busy machine hits all alike. `ray_gpus.py` compares GPUs."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import resource
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from ray_simulation import Costs, simulate  # type: ignore[import-not-found]

from clso.config import RunConfig
from clso.evaluation.evaluator import Evaluator, LocalEvaluator
from clso.evaluation.opening import open_execution
from clso.evaluation.ray_session import RayBackend
from clso.evaluation.workers import Workers
from clso.search.generations import Listener, Search
from clso.search.steady_state import SteadySearch
from clso.space import Genome, Objective, SearchSpace
from clso.space.build import build_space, load_plugins
from clso.space.objectives import Objectives
from clso.space.results import Evaluation

TRIVIAL = RunConfig(
    space="nk", options={"n": 48, "k": 2}, surrogate="none", device="cpu", energy="null", pop=32
)
PARTS = ("scaling", "overhead", "memory", "simulation")
SIMULATED = (1, 4, 16, 64, 256, 1024)


def space_of(config: RunConfig, device: str) -> SearchSpace:
    plugin, _ = load_plugins(config)
    space = build_space(plugin, config, device)
    space.prepare()
    return space


def draw(space: SearchSpace, n: int, seed: int = 0) -> list[Genome]:
    rng = random.Random(seed)
    return list(dict.fromkeys(space.sample(rng) for _ in range(n)))


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def with_workers(
    place: RayBackend, config: RunConfig, space: SearchSpace, n: int, **settings: Any
) -> Evaluator:
    """An evaluator with `n` workers on a Ray that has room for them."""
    place.n, place.workers = n, replace(place.workers, **settings)
    evaluator = place.evaluator(config, Objectives.of(config, space))
    evaluator.evaluate(draw(space, 8 * n, seed=99), 0)  # all have built what they need
    return evaluator


def one_family(space: SearchSpace, n: int) -> list[Genome]:
    """Genomes of one family of codes, so that nothing is grown while time is taken."""
    seed = space.seeds()[0]
    return [(seed[0], *g[1:]) for g in draw(space, n)]


_alone: Objective  # of a process of `Ceiling`


def _prepare(config: RunConfig) -> None:
    global _alone
    _alone = space_of(config, "cpu").objective()


def _measure_alone(genomes: list[Genome]) -> int:
    return len(_alone.evaluate(genomes, 0))


class Ceiling:
    """`n` plain processes that share the candidates evenly and nothing else: what the machine
    itself gives to so many."""

    def __init__(self, n: int, config: RunConfig) -> None:
        self._n, spawn = n, get_context("spawn")
        self._pool = ProcessPoolExecutor(
            n, mp_context=spawn, initializer=_prepare, initargs=(config,)
        )

    def seconds(self, genomes: list[Genome]) -> float:
        size = -(-len(genomes) // self._n)
        parts = [genomes[i : i + size] for i in range(0, len(genomes), size)]
        return seconds(lambda: list(self._pool.map(_measure_alone, parts)))

    def close(self) -> None:
        self._pool.shutdown()


def scaling(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluations a second of the reference model with more and more workers, relative to one, and
    what is possible here."""
    config = RunConfig(device="cpu", energy="null", surrogate="none", fitness_tokens=(args.tokens,))
    space = space_of(config, "cpu")
    genomes = one_family(space, args.candidates)
    times: dict[int, list[float]] = {n: [] for n in args.workers}
    serial_s: list[float] = []
    differences = [0.0]
    # workers of all counts live side by side
    with open_execution(Workers(n=sum(args.workers)), "cpu") as place:
        assert isinstance(place, RayBackend)
        local = LocalEvaluator(space.objective())
        expected = local.evaluate(genomes, 0)

        def measure(evaluator: Evaluator, out: list[float]) -> None:
            begin = time.perf_counter()
            found = evaluator.evaluate(genomes, 0)
            out.append(time.perf_counter() - begin)
            differences.extend(abs(a.value - b.value) for a, b in zip(found, expected, strict=True))

        evaluators = {n: with_workers(place, config, space, n) for n in args.workers}
        ceilings = {n: Ceiling(n, config) for n in args.workers}
        bare_s: dict[int, list[float]] = {n: [] for n in args.workers}
        for ceiling in ceilings.values():
            ceiling.seconds(genomes)
        for _ in range(args.repeats):
            measure(local, serial_s)
            for n in args.workers:
                measure(evaluators[n], times[n])
                bare_s[n].append(ceilings[n].seconds(genomes))
        for n in args.workers:
            evaluators[n].close()
            ceilings[n].close()

    def ratios(times: dict[int, list[float]]) -> dict[int, float]:
        one = times[args.workers[0]]
        return {n: median(a / b for a, b in zip(one, t, strict=True)) for n, t in times.items()}

    speedups, possible = ratios(times), ratios(bare_s)
    return {
        "cores": os.cpu_count(),
        "candidates": len(genomes),
        "tokens": args.tokens,
        "repeats": args.repeats,
        "largest_difference": max(differences),
        "serial_s": median(serial_s),
        "serial_spread_s": [min(serial_s), max(serial_s)],
        "candidate_s": median(serial_s) / len(genomes),
        "workers": {
            n: {
                "s": median(t),
                "speedup": speedups[n],
                "efficiency": speedups[n] / n,
                "bare_speedup": possible[n],
                "of_bare": speedups[n] / possible[n],
            }
            for n, t in times.items()
        },
        "load": os.getloadavg(),
    }


def overhead(args: argparse.Namespace) -> dict[str, Any]:
    """What a worker and the driver spend on an evaluation that itself costs next to nothing."""
    space = space_of(TRIVIAL, "cpu")
    out: dict[str, Any] = {"serial_ms": {}, "batched_ms": {}}
    with open_execution(Workers(n=2), "cpu") as place:
        assert isinstance(place, RayBackend)
        evaluator = with_workers(place, TRIVIAL, space, 2)
        local = LocalEvaluator(space.objective())
        for size in (32, 256, 2048):
            ask = (
                partial(local.evaluate, draw(space, size), 0),
                partial(evaluator.evaluate, draw(space, size), 0),
            )
            both = [(seconds(ask[0]), seconds(ask[1])) for _ in range(15)]
            out["serial_ms"][size] = 1e3 * median(a for a, _ in both) / size
            out["batched_ms"][size] = 1e3 * median(b for _, b in both) / size
        evaluator.close()
        out["messages"] = messages(place, space)
    return out


def messages(place: RayBackend, space: SearchSpace) -> dict[str, float]:
    """Seconds that the driver's Python thread takes for a batch and each candidate in it (from
    batches of two sizes), for a `ray.wait` and each reference that it is given (from few and many),
    and for the engine.

    Ray's own threads in the driver send and receive beside it.
    """
    import ray

    spent_s = [0.0]
    wait = ray.wait

    def timed(*args: Any, **kwargs: Any) -> Any:
        begin = time.thread_time()
        try:
            return wait(*args, **kwargs)
        finally:
            spent_s[0] += time.thread_time() - begin

    cpu_s = {}
    ray.wait = timed
    for size in (2, 64):
        config = replace(TRIVIAL, asynchronous=True)
        evaluator = with_workers(place, config, space, 1, in_flight=2 * size)
        genomes, found = draw(space, 100 * size), []
        for _ in range(5):
            spent_s[0] = 0.0
            begin = time.thread_time()
            evaluator.evaluate(genomes, 0)
            found.append((time.thread_time() - begin - spent_s[0]) / 100)
        cpu_s[size] = median(found)
        evaluator.close()
    ray.wait = wait
    candidate_s = (cpu_s[64] - cpu_s[2]) / 62
    few_s, many_s = _wait_s(16), _wait_s(2048)
    each_s = (many_s - few_s) / 2032
    return {
        "batch_s": max(0.0, cpu_s[2] - 2 * candidate_s),
        "candidate_s": candidate_s,
        "wait_s": max(0.0, few_s - 16 * each_s),
        "wait_each_s": each_s,
        "engine_steady_s": _engine_s(space, steady=True),
        "engine_generational_s": _engine_s(space, steady=False),
    }


def _wait_s(n: int) -> float:
    """Seconds of the driver's thread for `ray.wait` on `n` calls that do not end."""
    import ray

    class Busy:
        def work(self) -> None:
            time.sleep(1000.0)

    actor = ray.remote(Busy).remote()
    references = [actor.work.remote() for _ in range(n)]

    def once() -> float:
        begin = time.thread_time()
        ray.wait(references, num_returns=n, timeout=0)
        return time.thread_time() - begin

    found = median(once() for _ in range(31))
    ray.kill(actor)
    return found


def _engine_s(space: SearchSpace, *, steady: bool) -> float:
    """Seconds of the engine for proposing and taking in one candidate, 64 at a time."""
    objective = space.objective()

    class Free:
        fidelities = objective.fidelities
        spent_s = 0.0

        def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
            begin = time.process_time()
            out = objective.evaluate(genomes, fidelity)
            self.spent_s += time.process_time() - begin
            return out

    def once() -> float:
        free = Free()
        evaluator = LocalEvaluator(free)
        evaluator.capacity = 64
        kind = SteadySearch if steady else Search
        search = kind(
            space,
            evaluator,
            None,
            replace(TRIVIAL, gens=200, pop=64, asynchronous=steady),
            Listener(),
        )
        begin = time.process_time()
        while not search.done:
            search.generation()
        return (time.process_time() - begin - free.spent_s) / search.engine.n_evaluated

    return median(once() for _ in range(7))


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Resident memory of the driver over many generations of a trivial space, with a worker and
    without."""
    config = replace(TRIVIAL, gens=args.generations, pop=4)
    space = space_of(config, "cpu")
    out: dict[str, Any] = {"generations": args.generations, "pop": 4}
    with open_execution(Workers(n=1), "cpu") as place:
        assert isinstance(place, RayBackend)
        evaluator = with_workers(place, config, space, 1)
        out["worker"] = climb(config, evaluator)
        repeated = draw(space, 4)
        for _ in range(1000):
            evaluator.evaluate(repeated, 0)
        before = _rss_bytes()
        for _ in range(args.generations):
            # nothing new for anybody to remember: the evaluator alone
            evaluator.evaluate(repeated, 0)
        gc.collect()
        out["evaluator_alone_bytes_per_evaluation"] = (_rss_bytes() - before) / (
            4 * args.generations
        )
        evaluator.close()
    # whose memory nobody has used before
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        out["local"] = fresh.submit(climb, config, None).result()
    return out


def climb(config: RunConfig, evaluator: Evaluator | None) -> dict[str, Any]:
    """A search; resident megabytes after each tenth of it."""
    space = space_of(config, "cpu")
    search = Search(space, evaluator or LocalEvaluator(space.objective()), None, config, Listener())
    rows = []
    while not search.done:
        search.generation()
        if search.n_generations % (config.gens // 10) == 0:
            gc.collect()
            rows.append((search.engine.n_evaluated, _rss_bytes()))
    (n_before, start), (n_after, end) = rows[0], rows[-1]
    rss_mb = [round(b / 2**20, 1) for _, b in rows]
    return {"rss_mb": rss_mb, "bytes_per_evaluation": (end - start) / (n_after - n_before)}


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def simulation(args: argparse.Namespace, measured: dict[str, Any]) -> dict[str, Any]:
    """Efficiency at more workers than there are here, from recorded times."""
    config = RunConfig(device="cpu", energy="null", surrogate="none", fitness_tokens=(args.tokens,))
    space = space_of(config, "cpu")
    objective = space.objective()
    genomes = one_family(space, 64)
    objective.evaluate(genomes[:2], 0)
    recorded = [seconds(lambda g=g: objective.evaluate([g], 0)) for g in genomes]  # type: ignore[misc]
    m = measured["messages"]
    out: dict[str, Any] = {
        "recorded_s": {
            "median": median(recorded),
            "min": min(recorded),
            "max": max(recorded),
            "n": len(recorded),
        },
        "messages": m,
        "rows": [],
    }
    for factor in (1, 10, 100):
        times_s = [factor * t for t in recorded]
        for with_engine in (False, True):
            for mode in ("steady", "generational"):
                candidate_s = m["candidate_s"] + (m[f"engine_{mode}_s"] if with_engine else 0.0)
                costs = Costs(
                    m["batch_s"] / 2,
                    m["batch_s"] / 2,
                    candidate_s,
                    m["wait_s"],
                    m["wait_each_s"],
                    m["batch_s"],
                )
                for n in SIMULATED:
                    found = simulate(n, times_s, costs, steady=mode == "steady", rounds=6)
                    row = {"times": factor, "with_engine": with_engine, "mode": mode}
                    out["rows"].append({**row, **asdict(found)})
    return out


def markdown(found: dict[str, Any]) -> str:
    commands = dict.fromkeys(f"`{found[part]['command']}`" for part in PARTS if part in found)
    lines = ["# Workers", "", f"{', '.join(commands)}: {found['machine']}", ""]
    if "scaling" in found:
        s = found["scaling"]
        lines += [
            f"## Scaling ({s['cores']} cores, {s['candidates']} candidates of {s['tokens']} tokens)",
            "",
            f"Largest difference from the results without workers: {s['largest_difference']:g}. Without workers: "
            f"{s['serial_s']:.3f} s ({s['serial_spread_s'][0]:.3f} to {s['serial_spread_s'][1]:.3f}). "
            f"Load of the machine at the end: {s['load'][0]:.1f}.",
            "",
            "Bare: as many processes that share nothing and talk to nobody, the most that this machine gives.",
            "",
            "| workers | seconds | speed-up over 1 worker | efficiency | bare speed-up | of it |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {n} | {w['s']:.3f} | {w['speedup']:.2f} | {w['efficiency']:.0%} | {w['bare_speedup']:.2f} | "
            f"{w['of_bare']:.0%} |"
            for n, w in s["workers"].items()
        ]
        lines.append("")
    if "overhead" in found:
        o = found["overhead"]
        lines += [
            "## Overhead of a trivial evaluation",
            "",
            "| candidates at a time | 2 workers, ms each | without, ms each |",
            "|---|---|---|",
        ]
        lines += [
            f"| {n} | {o['batched_ms'][n]:.3f} | {o['serial_ms'][n]:.4f} |" for n in o["batched_ms"]
        ]
        m = o["messages"]
        lines += [
            "",
            f"The driver's Python thread: {1e6 * m['batch_s']:.0f} us a batch, {1e6 * m['candidate_s']:.1f} us a "
            f"candidate, {1e6 * m['wait_s']:.0f} us a `ray.wait` and {1e6 * m['wait_each_s']:.2f} us for each batch that is "
            f"out, and for the engine {1e6 * m['engine_steady_s']:.0f} us (steady) and "
            f"{1e6 * m['engine_generational_s']:.0f} us (generational) a candidate.",
            "",
        ]
    if "memory" in found:
        m = found["memory"]
        lines += [
            f"## The driver's memory over {m['generations']} generations of {m['pop']}",
            "",
            f"With a worker {m['worker']['rss_mb'][0]} to {m['worker']['rss_mb'][-1]} MB "
            f"({m['worker']['bytes_per_evaluation']:.0f} bytes an evaluation, of which the search remembers each), without "
            f"{m['local']['rss_mb'][0]} to {m['local']['rss_mb'][-1]} MB ({m['local']['bytes_per_evaluation']:.0f}). "
            f"The evaluator alone: {m['evaluator_alone_bytes_per_evaluation']:.1f} bytes an evaluation.",
            "",
        ]
    if "simulation" in found:
        s = found["simulation"]
        lines += [
            "## Simulated clusters, 64 candidates a worker in flight",
            "",
            f"Recorded: {1e3 * s['recorded_s']['median']:.1f} ms a candidate ({1e3 * s['recorded_s']['min']:.1f} to "
            f"{1e3 * s['recorded_s']['max']:.1f}). Efficiency, and in brackets the share of its time that the driver works.",
            "",
            "| candidate takes | driver | mode | " + " | ".join(map(str, SIMULATED)) + " |",
            "|---|---|---|" + "---|" * len(SIMULATED),
        ]
        groups: dict[tuple[Any, ...], list[str]] = {}
        for r in s["rows"]:
            key = (r["times"], "with engine" if r["with_engine"] else "dispatcher", r["mode"])
            groups.setdefault(key, []).append(f"{r['efficiency']:.0%} ({r['driver_busy']:.0%})")
        lines += [
            f"| {1e3 * k[0] * s['recorded_s']['median']:.0f} ms | {k[1]} | {k[2]} | "
            + " | ".join(v)
            + " |"
            for k, v in groups.items()
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--generations", type=int, default=10_000)
    args = parser.parse_args()
    parts = args.parts or PARTS

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "ray_scaling.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}"
    )
    for part in PARTS:
        if part in parts:
            work: dict[str, Callable[[], dict[str, Any]]] = {
                "scaling": partial(scaling, args),
                "overhead": partial(overhead, args),
                "memory": partial(memory, args),
                "simulation": partial(simulation, args, found.get("overhead", {})),
            }
            measured = work[part]()
            found[part] = {"command": shlex.join(["python", *sys.argv]), **measured}
            print(part, "done", flush=True)
            path.write_text(json.dumps(found, indent=2) + "\n")
            # with names for numbers of workers, as when it is read again
            found = json.loads(path.read_text())
    (args.out / "ray_scaling.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
