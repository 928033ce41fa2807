"""One worker against several, each with a GPU of its own, on the reference model: rates, evenness,
joules of each card.

    python benchmarks/ray_gpus.py --data text:FOLDER --out runs/DATE_ray-gpus
    python benchmarks/ray_gpus.py --device cpu --workers 2 --loads 32x512 --out DIR        # the same without GPUs

For each load (candidates x tokens) one worker, all of them, and one again measure the same genomes,
so that a drift of clocks hits both alike. Then whole searches, breeding included, in both modes.
Writes ray_gpus.json."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ray_scaling import one_family, seconds, space_of, with_workers  # type: ignore[import-not-found]

from clso.config import RunConfig
from clso.device import quiet_host, resolve_device
from clso.energy import open_meter
from clso.evaluation.evaluator import Evaluator, LocalEvaluator
from clso.evaluation.opening import open_execution
from clso.evaluation.ray_session import RayBackend
from clso.evaluation.workers import Workers
from clso.search.generations import Listener, Search
from clso.search.steady_state import SteadySearch
from clso.space import SearchSpace

RECIPE = Path(__file__).parents[1] / "runs" / "ref-2x128.toml"


def measure(
    place: RayBackend, config: RunConfig, space: SearchSpace, n: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Every load with `n` workers: seconds of each pass, and of all of them who measured how many,
    and joules by card."""
    begin = time.perf_counter()
    evaluator = with_workers(place, config, space, n)
    out: dict[str, Any] = {"workers": n, "start_s": time.perf_counter() - begin, "loads": {}}
    local = LocalEvaluator(space.objective())
    for load in args.loads:
        n_candidates, n_tokens = map(int, load.split("x"))
        rung = config.fitness_tokens.index(n_tokens)
        genomes = one_family(space, n_candidates)
        for _ in range(args.warm_up):  # shapes that come again are captured as CUDA graphs
            found = evaluator.evaluate(genomes, rung)
        expected = local.evaluate(genomes, rung)
        shares = _count(evaluator)
        with ExitStack() as stack:
            cards = [stack.enter_context(open_meter("auto", d)) for d in place.devices]
            windows = [stack.enter_context(c.window("passes")) for c in cards]
            times = [
                seconds(partial(evaluator.evaluate, genomes, rung)) for _ in range(args.repeats)
            ]
        out["loads"][load] = {
            "s": times,
            "candidates_by_worker": sorted(shares.values()),
            "energy_j_by_card": [w.energy_j for w in windows],
            "largest_difference": max(
                abs(a.value - b.value) for a, b in zip(found, expected, strict=True)
            ),
        }
    evaluator.close()
    return out


def _count(evaluator: Evaluator) -> Counter[int]:
    """Candidates by worker, from now on."""
    dispatcher = evaluator._dispatcher  # type: ignore[attr-defined]
    assign, counts = dispatcher.assign, Counter[int]()

    def counted(now_s: float) -> Any:
        tasks = assign(now_s)
        for worker, task in tasks:
            counts[worker] += len(task.genomes)
        return tasks

    dispatcher.assign = counted
    return counts


def search(
    place: RayBackend, config: RunConfig, space: SearchSpace, n: int, *, steady: bool
) -> dict[str, Any]:
    """A search after one that warmed everything up: evaluations a second, breeding included."""
    config = replace(config, asynchronous=steady)
    evaluator = with_workers(place, config, space, n)
    for seed in (0, 1):
        kind = SteadySearch if steady else Search
        found = kind(space, evaluator, None, replace(config, seed=seed), Listener())
        begin = time.perf_counter()
        while not found.done:
            found.generation()
        time_s = time.perf_counter() - begin
    evaluator.close()
    best = found.engine.best
    assert best is not None
    return {
        "evaluations": len(found.evaluations),
        "s": time_s,
        "rate": len(found.evaluations) / time_s,
        "best": best.value,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--data", default="python-stdlib")
    parser.add_argument("--tokenizer")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=0, help="0: as many as GPUs")
    parser.add_argument("--loads", nargs="+", default=["2048x8192", "1024x2048", "256x2048"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--gens", type=int, default=5, help="of the searches; 0: none")
    args = parser.parse_args()
    device = resolve_device(args.device)
    most = args.workers or torch.cuda.device_count()
    rungs = tuple(sorted({int(load.split("x")[1]) for load in args.loads}))
    config = RunConfig.from_toml(args.recipe)
    config = replace(
        config,
        data=args.data,
        tokenizer=args.tokenizer or config.tokenizer,
        device=device,
        energy="null",
    )
    config = replace(config, surrogate="none", gens=args.gens, fitness_tokens=rungs)
    found: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "torch": torch.__version__,
        "turns": [],
        "loads": {},
        "search": {},
    }
    args.out.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        (args.out / "ray_gpus.json").write_text(json.dumps(found, indent=2) + "\n")

    with quiet_host(device), open_execution(Workers(n=most), device) as place:
        assert isinstance(place, RayBackend)
        space = space_of(config, device)
        for n in (1, most, 1):
            found["turns"].append(measure(place, config, space, n, args))
            save()
            print(
                n,
                {k: round(median(v["s"]), 4) for k, v in found["turns"][-1]["loads"].items()},
                flush=True,
            )
        for load in args.loads:
            before, many, after = (median(t["loads"][load]["s"]) for t in found["turns"])
            speedup = (before + after) / 2 / many
            found["loads"][load] = {
                "s": [before, many, after],
                "speedup": speedup,
                "efficiency": speedup / most,
            }
        save()
        if args.gens:
            n_candidates, n_tokens = map(int, args.loads[0].split("x"))
            config = replace(config, pop=n_candidates, fitness_tokens=(n_tokens,))
            space = space_of(config, device)
            for steady in (False, True):
                rows = {n: search(place, config, space, n, steady=steady) for n in (1, most)}
                rows["speedup"] = rows[most]["rate"] / rows[1]["rate"]
                found["search"]["steady" if steady else "generational"] = rows
                save()
    save()
    print(json.dumps({k: found[k] for k in ("loads", "search")}, indent=1))


if __name__ == "__main__":
    main()
