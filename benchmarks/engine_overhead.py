"""What the engine costs besides evaluation. Prints JSON.

    python benchmarks/engine_overhead.py [--generations 200] [--repeats 5]

(a) ask + tell + record (rows appended and a checkpoint written to disk) at population 32, in milliseconds a generation, with
    genomes of the default space's size: 16 genes of 64 alleles. Then the whole generation as a run
    does it, ridge screening included, less the time of evaluations and of surrogate fits. Medians
    over generations, so that one slow write to a shared disk does not decide.
(b) OneMax-100 evaluations a second of our engine against DEAP's `eaSimple` in the same process, with the settings of DEAP's
    OneMax tutorial (population 300, two-point crossover 0.5, bit-flip mutation 0.2 x 0.05,
    tournament 3). Both count calls of the fitness function; the runs alternate and the best of the
    repeats stands for each.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deap import algorithms, base, tools

from clso import plugins
from clso.config import RunConfig
from clso.engine import Engine, EngineConfig
from clso.evaluation.evaluator import LocalEvaluator
from clso.run.folder import RunFolder
from clso.search.generations import Listener, Search
from clso.space import Gene, Genome, Objective, SearchSpace
from clso.space.results import Evaluation


class Grid(SearchSpace):
    """`n_genes` genes of `n_choices` alleles."""

    def __init__(self, n_genes: int, n_choices: int) -> None:
        self._genes = tuple(
            Gene(f"g{i}", tuple(map(str, range(n_choices)))) for i in range(n_genes)
        )

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def decode(self, genome: Genome) -> Genome:
        return genome

    def objective(self) -> Objective:
        return Timed()


class Timed:
    """Scores genomes near log(50,257), and knows how long that took."""

    fidelities: tuple[int, ...] = (2048,)

    def __init__(self) -> None:
        self.seconds = 0.0

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        start = time.perf_counter()
        out = [Evaluation.measured(g, fidelity, (10.8 + sum(g) * 1e-4,), 2048) for g in genomes]
        self.seconds += time.perf_counter() - start
        return out


def overhead(generations: int) -> dict[str, float]:
    """Median milliseconds a generation of each step, and of all of them together."""
    engine, objective = Engine(Grid(16, 64), EngineConfig(pop_size=32), seed=0), Timed()
    steps: dict[str, list[float]] = {"ask": [], "tell": [], "record": [], "total": []}
    with tempfile.TemporaryDirectory() as base_folder:
        folder = RunFolder.create(Path(base_folder) / "run", RunConfig())
        for generation in range(generations):
            t0 = time.perf_counter()
            genomes = engine.ask(32)
            t1 = time.perf_counter()
            measured = objective.evaluate(genomes, 0)
            t2 = time.perf_counter()
            engine.tell(measured)
            t3 = time.perf_counter()
            rows = [
                {"type": "evaluation", "generation": generation, **e.to_json()} for e in measured
            ]
            folder.append(
                [*rows, {"type": "generation", "population": [i.value for i in engine.population]}]
            )
            folder.save_checkpoint(
                {"engine": engine.state_dict(with_cache=False), "ledger": {}, "clean": False}
            )
            t4 = time.perf_counter()
            for name, seconds in (("ask", t1 - t0), ("tell", t3 - t2), ("record", t4 - t3)):
                steps[name].append(1e3 * seconds)
            steps["total"].append(1e3 * (t1 - t0 + t4 - t2))
        folder.close()
    return {f"{name}_ms": round(statistics.median(values), 4) for name, values in steps.items()}


def whole_generation(generations: int) -> float:
    """Median milliseconds of a generation with screening and record, less evaluations and surrogate
    fits."""
    space, config = Grid(16, 64), RunConfig(pop=32, gens=generations)
    objective = Timed()
    search = Search(
        space,
        LocalEvaluator(objective),
        plugins.load("surrogates", "ridge").value,
        config,
        Listener(),
    )
    times = []
    with tempfile.TemporaryDirectory() as base_folder:
        folder = RunFolder.create(Path(base_folder) / "run", config)
        while not search.done:
            excluded = objective.seconds + search.screener.fit_time_s
            start = time.perf_counter()
            folder.append(search.generation())
            folder.save_checkpoint({**search.state_dict(), "ledger": {}, "clean": False})
            seconds = time.perf_counter() - start
            times.append(
                1e3 * (seconds - (objective.seconds + search.screener.fit_time_s - excluded))
            )
        folder.close()
    return round(statistics.median(times), 4)


class FitnessMax(base.Fitness):  # type: ignore[misc]
    weights = (1.0,)


class Bits(list[int]):
    """What `creator.create` would make."""

    def __init__(self, bits: Sequence[int]) -> None:
        super().__init__(bits)
        self.fitness = FitnessMax()


def deap_onemax(generations: int, seed: int) -> tuple[int, float, int]:
    """Evaluations, seconds, best of `eaSimple`."""
    calls = 0

    def one_max(individual: Bits) -> tuple[int]:
        nonlocal calls
        calls += 1
        return (sum(individual),)

    random.seed(seed)
    toolbox = base.Toolbox()
    toolbox.register("evaluate", one_max)
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
    toolbox.register("select", tools.selTournament, tournsize=3)
    population = [Bits([random.randint(0, 1) for _ in range(100)]) for _ in range(300)]
    start = time.perf_counter()
    final, _ = algorithms.eaSimple(
        population, toolbox, cxpb=0.5, mutpb=0.2, ngen=generations, verbose=False
    )
    return calls, time.perf_counter() - start, max(map(sum, final))


def our_onemax(generations: int, seed: int) -> tuple[int, float, int]:
    """Evaluations, seconds, best of our engine at the same population and tournament."""
    engine = Engine(Grid(100, 2), EngineConfig(pop_size=300, tournament=3), seed=seed)
    start = time.perf_counter()
    for _ in range(generations):
        engine.tell([Evaluation.measured(g, 0, (-sum(g),), 0) for g in engine.ask()])
    seconds = time.perf_counter() - start
    assert engine.best is not None
    return engine.n_evaluated, seconds, int(-engine.best.value)


def onemax(generations: int, repeats: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"clso": [], "deap_eaSimple": []}
    best: dict[str, list[int]] = {"clso": [], "deap_eaSimple": []}
    for seed in range(repeats):
        for name, run in (("clso", our_onemax), ("deap_eaSimple", deap_onemax)):
            evaluations, seconds, found = run(generations, seed)
            rates[name].append(evaluations / seconds)
            best[name].append(found)
    out: dict[str, Any] = {
        name: {"evaluations_per_s": round(max(rates[name])), "best": best[name]} for name in rates
    }
    out["ratio"] = round(max(rates["clso"]) / max(rates["deap_eaSimple"]), 3)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--generations", type=int, default=200, help="of part (a)")
    parser.add_argument("--repeats", type=int, default=5, help="of part (b), 40 generations each")
    options = parser.parse_args()
    whole = {"whole_generation_with_ridge_ms": whole_generation(options.generations)}
    figures = {
        "overhead_pop_32": {**overhead(options.generations), **whole},
        "onemax_100": onemax(40, options.repeats),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
