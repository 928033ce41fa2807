"""`memory`: counted memory and the block's own past, without any GPT-2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from clso.baseline import Baseline, BaselineJob
from clso.models.gpt2 import text_loss
from clso.models.mixing import memory_alone
from clso.models.store import load_model, save_model
from clso.space.language import token_blocks

__all__ = ["FIT_TOKENS", "Memory", "fitness_blocks"]

FIT_TOKENS = 1 << 17
"""Tokens of the fitness text, at most, that a mixture's weights are fitted on."""


class Memory(Baseline):
    """The memory of `gpt2-memory` as it is set by hand; written, and read from disk for its losses."""

    help = "Counted memory and the block's own past, without any GPT-2."

    @dataclass(frozen=True)
    class Settings:
        """No settings."""

    def run(self, job: BaselineJob) -> dict[str, Any]:
        folder = job.folder / "best"
        job.progress("counting, and fitting the mixture's weights")
        with job.ledger.phase("search"):
            save_model(memory_alone(job.corpus, fitness_blocks(job)), folder)
        job.progress("measuring it from disk")
        with job.ledger.phase("validate"):
            model = load_model(folder, device=job.device)
            valid = text_loss(model, job.blocks("valid"))
        with job.ledger.phase("test"):
            test = text_loss(model, job.blocks("test"))
        n_bytes = sum(path.stat().st_size for path in folder.iterdir())
        return {"best": {"valid_loss": valid, "test_loss": test}, "n_bytes": n_bytes}


def fitness_blocks(job: BaselineJob) -> Tensor:
    """Blocks (n, n_positions + 1) of the fitness text that weights are fitted on, on the device."""
    n_positions = job.model_config.n_positions
    blocks = token_blocks(
        job.corpus.tokens("fitness"), n_positions, max(1, FIT_TOKENS // n_positions)
    )
    return blocks.to(job.device)
