"""The two sides: whole CLSO runs, and AdamW by plan. Both start with token arrays in host
memory."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from clso.baseline import TimedTraining, TrainingPlan
from clso.models.gpt2 import text_loss
from clso.models.store import load_model
from clso.prove.context import ProofContext
from clso.prove.windows import Arm
from clso.run import Trained, train_on
from clso.run.context import RunContext
from clso.space.build import model_sizes
from clso.space.language import token_blocks

__all__ = ["AdamwSide", "ClsoSide", "losses_from_disk"]


def losses_from_disk(proof: ProofContext, folder: Path, *splits: str) -> dict[str, float]:
    """`{split}_loss` in nats per token of the model in `folder`, in float32, over all blocks of
    each split."""
    model = load_model(folder, device=proof.device, trim=True)
    n_positions = model_sizes(proof.config)["n_positions"]
    return {
        f"{s}_loss": text_loss(
            model, token_blocks(proof.corpus.tokens(s), n_positions).to(proof.device)
        )
        for s in splits
    }


class ClsoSide:
    """Whole runs of one config, each in a new folder under `work`. Removing it is no part of a run:
    `tidy` does so after a window."""

    def __init__(self, proof: ProofContext) -> None:
        self._proof = proof
        self._numbers = itertools.count()
        # once, as AdamW's are: importing code is no part of a training
        self._context = RunContext.load(proof.config, proof.device)
        self._done: list[Path] = []

    def tidy(self) -> None:
        """Remove the folders of all runs so far."""
        while self._done:
            shutil.rmtree(self._done.pop())

    def arm(self, name: str, **options: Any) -> Arm:
        """An arm of runs with these settings changed."""
        return Arm(name, lambda seed: self._run({**options, "seed": seed})[0])

    def model(self, name: str, seed: int, **options: Any) -> dict[str, Any]:
        """One run outside every window, with its winner read from disk on `valid` and, this once,
        on `test`."""
        _, row = self._run({**options, "seed": seed}, "valid", "test")
        self.tidy()
        return {"type": "model", "arm": name, "seed": seed, **row}

    def valid_loss(self, seed: int, **options: Any) -> float:
        """Of the winner of one run outside every window, read from disk, on all of `valid`."""
        _, row = self._run({**options, "seed": seed}, "valid")
        self.tidy()
        return float(row["valid_loss"])

    def _run(self, options: dict[str, Any], *splits: str) -> tuple[float, dict[str, Any]]:
        out = self._proof.work / f"run-{next(self._numbers)}"
        self._done.append(out)
        config = self._proof.config.with_options(**options, energy="null")
        trained = train_on(self._proof.host, replace(self._context, config=config), out)
        row: dict[str, Any] = {}
        if splits:
            row = losses_from_disk(self._proof, out / "best", *splits)
            row |= _account(trained, out)
        return float(trained.winner.best["valid_loss"]), row


def _account(trained: Trained, out: Path) -> dict[str, Any]:
    with open(out / "records.jsonl", encoding="utf-8") as file:
        generations = [row for row in map(json.loads, file) if row["type"] == "generation"]
    return {
        "genome": list(trained.winner.genome),
        "valid_sample_loss": trained.winner.best["valid_loss"],
        "counts": trained.counts,
        "tokens_forward": trained.winner.tokens_forward,
        "time_s": trained.account["time_s"],
        "generations": [[g["generation"], g["best"], g["tokens_forward"]] for g in generations],
    }


class AdamwSide:
    """Trainings of the baseline AdamW, by plan."""

    def __init__(self, proof: ProofContext, training: TimedTraining) -> None:
        self._proof = proof
        self.training = training

    def arm(self, name: str, plan: TrainingPlan) -> Arm:
        """Whole trainings by one plan."""
        return Arm(name, lambda seed: self.training.run(seed, plan))

    def model(self, name: str, seed: int, plan: TrainingPlan) -> dict[str, Any]:
        """One training outside every window, its model written to disk and read on `valid` and,
        this once, on `test`."""
        self.training.run(seed, plan)
        losses = self.losses("valid", "test")
        return {"type": "model", "arm": name, "seed": seed, "plan": str(plan), **losses}

    def losses(self, *splits: str) -> dict[str, float]:
        """Of the model that was trained last, read from disk."""
        out = self._proof.work / "adamw"
        self.training.save(out)
        losses = losses_from_disk(self._proof, out, *splits)
        shutil.rmtree(out)
        return losses
