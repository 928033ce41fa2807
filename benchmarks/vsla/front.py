"""The front of the space `vsla`: how little of the keys and values has to be kept at no loss.

For each seed one search with every pattern, for a front of loss, FLOPs and kept bytes, and one of as many generations
with full attention alone. Of the front's members with at most half of the full winner's bytes one is chosen as a run
chooses its winner: those with the lowest losses on the fitness text are measured on tokens of `valid`, and the best of
them is regrown. Both are read on `test`, once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.models.gpt2 import text_loss
from clso.run.run import evolve
from clso.search_spaces.vsla.space import VSLASpace
from clso.space.build import build_space, load_plugins

__all__ = ["measure"]

SEEDS = (0, 1, 2)
_SHARE = 0.5  # of the full winner's bytes


def measure(device: str) -> Iterator[dict[str, Any]]:
    for seed in SEEDS:
        config = RunConfig(
            space="vsla",
            seed=seed,
            device=device,
            energy="null",
            objective=("loss", "flops", "kv_bytes"),
        )
        with tempfile.TemporaryDirectory() as folder:
            found = evolve(config, Path(folder) / "any")
            patterns = {"patterns": "full"}
            full_config = config.with_options(objective=("loss",))
            full = evolve(_with(full_config, patterns), Path(folder) / "full")
        any_space, full_space = _space(config), _space(_with(full_config, patterns))
        full_kv = full_space.costs(tuple(full["best"]["genome"]))["kv_bytes"]
        allowed = [m for m in found["front"] if m["values"]["kv_bytes"] <= _SHARE * full_kv]
        valid, test = any_space.text("valid", config.valid_tokens), any_space.text("test")
        best = sorted(allowed, key=lambda m: m["values"]["fitness_loss"])[: config.finalists]
        finalists = [tuple(m["genome"]) for m in best]
        _, winner = min(zip(any_space.losses(finalists, valid).tolist(), finalists, strict=True))
        model = any_space.final_model(winner).to(device)
        yield {
            "seed": seed,
            "gens": config.gens,
            "pop": config.pop,
            "objective": list(config.objective),
            "fitness_tokens": list(config.fitness_tokens),
            "evaluated": found["counts"]["evaluated"],
            "full_evaluated": full["counts"]["evaluated"],
            "full": {"test_loss": full["best"]["test_loss"], "kv_bytes": full_kv},
            "member": {
                "test_loss": text_loss(model, test),
                "valid_loss": text_loss(model, valid),
                "kv_bytes": any_space.costs(winner)["kv_bytes"],
                "flops": any_space.costs(winner)["flops"],
                "patterns": list(model.config.patterns),
            },
            "full_flops": full_space.costs(tuple(full["best"]["genome"]))["flops"],
            "front": [m["values"] for m in found["front"]],
            "winner": {"test_loss": found["best"]["test_loss"]},
        }


def _with(config: RunConfig, options: dict[str, Any]) -> RunConfig:
    return replace(config, options=options)


def _space(config: RunConfig) -> VSLASpace:
    space = build_space(load_plugins(config)[0], config, config.device)
    assert isinstance(space, VSLASpace)
    return space
