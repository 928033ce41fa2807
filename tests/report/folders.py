"""Writes small run and baseline folders with the same code that runs use, without running
anything."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.run.folder import RunFolder

NO_RAPL = "RAPL cannot be read (no /sys/class/powercap)"


@dataclass
class Written:
    """What was written: the oracle of the tests."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def generations(self) -> list[dict[str, Any]]:
        return [r for r in self.rows if r["type"] == "generation"]

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        return [r for r in self.rows if r["type"] == "evaluation" and r["generation"] is not None]


def energy(gross_j: float, *, source: str = "nvml counter") -> dict[str, Any]:
    split = {
        "library": 0.1 * gross_j,
        "search": 0.7 * gross_j,
        "validate": 0.2 * gross_j,
        "total": gross_j,
    }
    return {
        "source": source,
        "idle_w": 50.0,
        "gross": split,
        "net": {k: 0.6 * v for k, v in split.items()},
    }


def costs(gross_j: float | None, time_s: float, *, source: str = "nvml counter") -> dict[str, Any]:
    return {
        "energy_j": None if gross_j is None else energy(gross_j, source=source),
        "energy_reason": NO_RAPL if gross_j is None else None,
        "time_s": {"data": 0.4, "library": 0.1 * time_s, "search": 0.9 * time_s, "total": time_s},
    }


def manifest(*, text: str | None = "abc", device: str = "cpu") -> dict[str, Any]:
    return {
        "software": {"python": "3.12", "clso": "0.1.0"},
        "hardware": {"device": device},
        "plugins": {},
        "corpus": None if text is None else {"hash": text},
        "seed": 0,
    }


def write_run(
    path: Path,
    *,
    n_generations: int = 12,
    pop: int = 10,
    n_genes: int = 6,
    gene_names: list[str] | None = None,
    allele_names: list[str] | None = None,
    language: bool = True,
    gross_j: float | None = None,
    surrogate: str = "ridge",
    disabled_reason: str | None = None,
    wild_prediction: float | None = None,
    config: RunConfig | None = None,
    finished: bool = True,
) -> Written:
    """A run whose genomes drift towards all zeros, the winner; losses say how far they are from
    it."""
    rng = random.Random(5)
    config = config or RunConfig(
        gens=n_generations, pop=pop, surrogate=surrogate, data="text:book.txt"
    )
    folder = RunFolder.create(path, config)
    out = Written(path)
    population: list[tuple[float, list[int]]] = []
    seen: set[tuple[int, ...]] = set()
    for number in range(1, n_generations + 1):
        pull = number / n_generations
        fresh: list[Any] = []
        while len(fresh) < max(3, pop // 3) if population else len(fresh) < pop:
            genome = [0 if rng.random() < pull * 0.9 else rng.randrange(64) for _ in range(n_genes)]
            if tuple(genome) not in seen:
                seen.add(tuple(genome))
                wrong = sum(a != 0 for a in genome) / n_genes
                fresh.append((5.0 + 0.8 * wrong + 0.02 * rng.random(), genome))
            else:
                pull *= 0.97
        out.rows += [_evaluation(number, value, genome) for value, genome in fresh]
        merged = sorted(population + fresh)
        population = (
            merged[:1] + [p for p in (population + fresh) if p is not merged[0]][-(pop - 1) :]
        )
        audits = []
        if (
            number >= 3
            and surrogate != "none"
            and (disabled_reason is None or number <= n_generations // 2)
        ):
            audits = [[value + rng.gauss(0, 0.15), value] for value, _ in fresh[:2]]
            if wild_prediction is not None and number == 4:
                audits[0][0] = wild_prediction
        known = number >= 4 and surrogate != "none"
        trusted = known and (disabled_reason is None or number < n_generations // 2)
        out.rows.append(
            {
                "type": "generation",
                "generation": number,
                "best": population[0][0],
                "population": [value for value, _ in population],
                "evaluated": len(fresh),
                "screened_out": pop - len(fresh),
                "cached": 0,
                "tokens_forward": 100 * number,
                "audits": audits,
                "audit_correlation": 0.5 + 0.3 * math.sin(number) if known else None,
                "surrogate_trusted": trusted,
            }
        )
    out.rows.append({**_evaluation(1, 4.9, population[0][1]), "generation": None, "fidelity": 1})
    if language:
        out.rows.append({"type": "finalist", "genome": [0] * n_genes, "valid_loss": 5.1})
        out.rows.append({"type": "finalist", "genome": population[0][1], "valid_loss": None})
    folder.append(out.rows)
    folder.write_json("manifest.json", manifest(text="abc" if language else None))
    genes = gene_names or [f"h.{i}.attn.q" for i in range(n_genes)]
    alleles = allele_names or [f"crystal-{i}" for i in range(n_genes)]
    losses = {"valid_loss": 5.1, "test_loss": 5.2} if language else {"fitness": population[0][0]}
    result: dict[str, Any] = {
        "best": {
            "genome": [0] * n_genes,
            "alleles": dict(zip(genes, alleles, strict=True)),
            **losses,
        },
        "counts": {
            "evaluated": len(seen),
            "screened_out": 7,
            "cached": 3,
            "failed": 0,
            "generations": n_generations,
        },
        "tokens_forward": 123_456,
        **costs(gross_j, 13.2),
        "surrogate": {
            "name": surrogate,
            "trusted": surrogate != "none" and disabled_reason is None,
            "audit": {
                "rank_correlation": None if surrogate == "none" else 0.53,
                "n": 0 if surrogate == "none" else 20,
                "disabled": disabled_reason is not None,
                "reason": disabled_reason,
            },
            "fit_time_s": 0.1,
        },
        "space": config.space,
        **({"library": "grown"} if language else {}),
        "seed": 0,
    }
    if language:
        result["log_vocabulary"] = math.log(256)
    if finished:
        folder.write_json("result.json", result)
    folder.close()
    return out


def write_baseline(
    path: Path,
    name: str = "adamw",
    *,
    test_loss: float = 3.1,
    gross_j: float | None = None,
    time_s: float = 40.0,
    text: str = "abc",
    device: str = "cpu",
    more: dict[str, Any] | None = None,
) -> Path:
    folder = RunFolder.create(path, RunConfig())
    folder.write_json("manifest.json", manifest(text=text, device=device))
    best = {"valid_loss": test_loss - 0.1, "test_loss": test_loss}
    folder.write_json(
        "result.json",
        {"baseline": name, "best": best, **costs(gross_j, time_s), "seed": 0, **(more or {})},
    )
    folder.close()
    return path


def _evaluation(generation: int, value: float, genome: list[int]) -> dict[str, Any]:
    return {
        "type": "evaluation",
        "generation": generation,
        "genome": genome,
        "fidelity": 0,
        "values": [value],
        "status": "ok",
        "n_tokens": 2048,
    }
