"""Writes folders of finished searches, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.run.folder import RunFolder

BESTS = {"forest": (5.0, 6.0, 7.0), "none": (4.0, 5.5, 6.0)}


def write_search(path: Path, best: float, *, direction: str = "max", **settings: Any) -> Path:
    """A finished search of a space with one measure, `hits`, that found `best`."""
    config = RunConfig(**{"space": "nk", "energy": "null", **settings})
    folder = RunFolder.create(path, config)
    sign = -1.0 if direction == "max" else 1.0
    folder.write_json("manifest.json", {"corpus": None, "hardware": {"device": "cpu"}})
    result: dict[str, Any] = {
        "best": {"genome": [0], "alleles": {"a": "0"}, "fitness": sign * best},
        "counts": {"evaluated": 40, "screened_out": 0, "cached": 0, "generations": 4},
        "tokens_forward": 40,
        "measure": {"name": "hits", "direction": direction, "unit": ""},
        "surrogate": {
            "name": "none",
            "trusted": False,
            "audit": {"rank_correlation": None, "n": 0, "disabled": False, "reason": None},
        },
        "space": config.space,
        "seed": config.seed,
        "energy_j": None,
        "energy_reason": "no counter here",
        "time_s": {"total": 2.0 + config.seed},
    }
    folder.write_result(result)
    folder.close()
    return path


def write_sides(folder: Path, *, first_seed: int = 0) -> list[Path]:
    return [
        write_search(folder / f"{name}{i}", best, surrogate=name, seed=i + of * first_seed)
        for of, (name, bests) in enumerate(BESTS.items())
        for i, best in enumerate(bests)
    ]
