"""The front of the space `vsla`: how little of the keys and values has to be kept at no loss.

For each seed one search with full attention alone, and one with every pattern for a front of loss,
FLOPs and kept bytes; the one that has measured fewer candidates goes on until it has as many.
Within a share of the full winner's bytes a candidate is chosen as a run with that limit chooses its
winner: those with the lowest losses on the fitness text are measured on tokens of `valid`, the best
of them is regrown, and no other that was measured there beats it. Of candidates with one loss, which
differ in cost alone, the cheapest stands for all: finalists are as different as the full search's.
All are read on `test`, once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.vsla.records import SHARES
from clso.config import RunConfig
from clso.models.gpt2 import text_loss
from clso.run.folder import RunFolder
from clso.run.run import evolve, resume
from clso.search_spaces.vsla.space import VSLASpace
from clso.space.build import build_space, load_plugins
from clso.space.results import Evaluation

__all__ = ["measure"]

SEEDS = (0, 1, 2, 3, 4)
FINALISTS = 16  # of either search: the 8 that 2,048 fitness tokens like best are much alike
_DIGITS = 4  # of a loss in nats, which a pattern that changes nothing leaves alone

Result = Mapping[str, Any]


def measure(device: str) -> Iterator[dict[str, Any]]:
    for seed in SEEDS:
        config = RunConfig(
            space="vsla",
            seed=seed,
            device=device,
            energy="null",
            finalists=FINALISTS,
            objective=("loss", "flops", "kv_bytes"),
        )
        with tempfile.TemporaryDirectory() as folder:
            full, found = _searched(config, Path(folder))
            measured = {name: _measured(Path(folder) / name) for name in ("any", "full")}
            yield _row(config, full, found, measured["any"]) | _effort(config, measured)


def _searched(config: RunConfig, folder: Path) -> tuple[Result, Result]:
    """What the search with full attention found, and the one for a front, of as many evaluations:
    a generation measures only what is new, and a handful once its surrogate is trusted."""
    full = evolve(_full(config), folder / "full")
    found = evolve(config, folder / "any")
    n = max(_evaluated(full), _evaluated(found))
    return _until(full, folder / "full", n), _until(found, folder / "any", n)


def _until(result: Result, folder: Path, n: int) -> Result:
    while _evaluated(result) < n:
        result = resume(folder, gens=result["counts"]["generations"] + 1)
    return result


def _evaluated(result: Result) -> int:
    return int(result["counts"]["evaluated"])


def _measured(folder: Path) -> list[Evaluation]:
    rows = RunFolder.open(folder).records()
    return [Evaluation.from_json(r) for r in rows if r["type"] == "evaluation" and r["generation"]]


def _effort(config: RunConfig, measured: Mapping[str, Sequence[Evaluation]]) -> dict[str, Any]:
    """By search: the least loss on the fitness text, and how many weights were measured, under
    whatever patterns."""
    space = _space(config)
    n_own = space.source.n_own
    return {
        "least_fitness_loss": {k: min(e.value for e in v if e.ok) for k, v in measured.items()},
        "weights": {k: len({e.genome[:n_own] for e in v}) for k, v in measured.items()},
    }


def _row(
    config: RunConfig, full: Result, found: Result, measured: Sequence[Evaluation]
) -> dict[str, Any]:
    space, full_space = _space(config), _space(_full(config))
    full_costs = full_space.costs(tuple(full["best"]["genome"]))
    at = config.objective.index("kv_bytes")
    by_bytes = sorted((e for e in measured if e.ok), key=lambda e: e.values[at])
    members = {}
    for name, share in SHARES.items():
        most = share * full_costs["kv_bytes"]
        members[name] = _member(space, config, [e for e in by_bytes if e.values[at] <= most])
    return {
        "seed": config.seed,
        "gens": found["counts"]["generations"],
        "full_gens": full["counts"]["generations"],
        "pop": config.pop,
        "objective": list(config.objective),
        "fitness_tokens": list(config.fitness_tokens),
        "evaluated": _evaluated(found),
        "full_evaluated": _evaluated(full),
        "full": {"test_loss": full["best"]["test_loss"], "kv_bytes": full_costs["kv_bytes"]},
        "full_flops": full_costs["flops"],
        **members,
        "front": [m["values"] for m in found["front"]],
        "winner": {"test_loss": found["best"]["test_loss"]},
    }


def _member(
    space: VSLASpace, config: RunConfig, allowed: Sequence[Evaluation]
) -> dict[str, Any] | None:
    """The best of those candidates, given cheapest first; None: there is none."""
    by_loss: dict[float, Evaluation] = {}
    for evaluation in allowed:
        by_loss.setdefault(round(evaluation.value, _DIGITS), evaluation)
    if not by_loss:
        return None
    finalists = [by_loss[loss].genome for loss in sorted(by_loss)[: config.finalists]]
    valid = space.text("valid", config.valid_tokens)
    _, chosen = min(zip(space.losses(finalists, valid).tolist(), finalists, strict=True))
    model, costs = space.final_model(chosen).to(config.device), space.costs(chosen)
    return {
        "test_loss": text_loss(model, space.text("test")),
        "valid_loss": text_loss(model, valid),
        "kv_bytes": costs["kv_bytes"],
        "flops": costs["flops"],
        "patterns": list(model.config.patterns),
    }


def _full(config: RunConfig) -> RunConfig:
    """The same, for the loss of full attention alone."""
    return replace(config, options={"patterns": "full"}, objective=("loss",))


def _space(config: RunConfig) -> VSLASpace:
    space = build_space(load_plugins(config)[0], config, config.device)
    assert isinstance(space, VSLASpace)
    return space
