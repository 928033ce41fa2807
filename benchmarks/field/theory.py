"""Exact expected hitting times of the (1+1) evolutionary algorithm, against the engine's own
mutation operator."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.field.ours import mutation_only
from benchmarks.field.problems import PBO
from benchmarks.field.suites import load
from benchmarks.field.trajectory import minimise

__all__ = ["leading_ones_time", "measure", "one_max_time"]


def one_max_time(n: int, rate: float) -> float:
    """Expected evaluations until n ones, from a uniform start, the first one included: the Markov
    chain solved."""
    expected = [0.0] * (n + 1)  # by the number of zeros left
    for zeros in range(1, n + 1):
        leave, onward = 0.0, 0.0
        for gained in range(1, zeros + 1):
            p = sum(
                math.comb(zeros, gained + lost)
                * math.comb(n - zeros, lost)
                * rate ** (gained + 2 * lost)
                * (1 - rate) ** (n - gained - 2 * lost)
                for lost in range(min(n - zeros, zeros - gained) + 1)
            )
            leave += p
            onward += p * expected[zeros - gained]
        expected[zeros] = (1 + onward) / leave
    return 1 + sum(math.comb(n, zeros) * time for zeros, time in enumerate(expected)) / 2.0**n


def leading_ones_time(n: int, rate: float) -> float:
    """The same for LeadingOnes (Böttcher, Doerr & Neumann 2010, theorem 3;
    doi:10.1007/978-3-642-15844-5_1)."""
    return 1 + (math.pow(1 - rate, 1 - n) - (1 - rate)) / (2 * rate**2)


def measure(seeds: int) -> list[dict[str, Any]]:
    """Mean hitting times of `seeds` runs on each of the two functions, and what theory expects."""
    rows = []
    for name, expected in ((PBO[0], one_max_time), (PBO[1], leading_ones_time)):
        times = []
        for seed in range(seeds):
            run = minimise(mutation_only, load(name, seed), 10**6, seed, stop_at_optimum=True)
            times.append(len(run.steps))
        n = len(load(name, 0).n_choices)
        mean = sum(times) / seeds
        deviation = math.sqrt(sum((t - mean) ** 2 for t in times) / (seeds - 1))
        row = {"problem": name, "n": n, "seeds": seeds, "theory": expected(n, 1 / n), "mean": mean}
        rows.append({**row, "standard_error": deviation / math.sqrt(seeds)})
    return rows
