"""The front of the space `vsla`: how little of the keys and values has to be kept at no loss.

For each seed one search with every pattern, for a front of loss and kept bytes, and one of as many evaluations with full
attention alone. Members of the front with at most half of the full winner's bytes are measured again on `valid`; the best of
them is regrown as a winner is, and then both are read on `test`, once.
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
_FINALISTS = 4


def measure(device: str) -> Iterator[dict[str, Any]]:
    for seed in SEEDS:
        config = RunConfig(
            space="vsla",
            seed=seed,
            device=device,
            energy="null",
            objective=("loss", "kv_bytes"),
        )
        with tempfile.TemporaryDirectory() as folder:
            found = evolve(config, Path(folder) / "any")
            patterns = {"patterns": "full"}
            full_config = config.with_options(objective=("loss",))
            full = evolve(_with(full_config, patterns), Path(folder) / "full")
        any_space, full_space = _space(config), _space(_with(full_config, patterns))
        full_kv = full_space.costs(tuple(full["best"]["genome"]))["kv_bytes"]
        allowed = [m for m in found["front"] if m["values"]["kv_bytes"] <= _SHARE * full_kv]
        valid, test = any_space.text("valid", 1 << 15), any_space.text("test")
        best = sorted(allowed, key=lambda m: m["values"]["fitness_loss"])[:_FINALISTS]
        models = {tuple(m["genome"]): any_space.final_model(tuple(m["genome"])) for m in best}
        losses = {genome: text_loss(model.to(device), valid) for genome, model in models.items()}
        winner = min(losses, key=losses.__getitem__)
        yield {
            "seed": seed,
            "gens": config.gens,
            "pop": config.pop,
            "fitness_tokens": list(config.fitness_tokens),
            "evaluated": found["counts"]["evaluated"],
            "full_evaluated": full["counts"]["evaluated"],
            "full": {"test_loss": full["best"]["test_loss"], "kv_bytes": full_kv},
            "member": {
                "test_loss": text_loss(models[winner], test),
                "valid_loss": losses[winner],
                "kv_bytes": any_space.costs(winner)["kv_bytes"],
                "flops": any_space.costs(winner)["flops"],
                "patterns": list(models[winner].config.patterns),
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
