"""The two sides: whole CLSO runs, and AdamW by plan. Both start with token arrays in host
memory."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from clso.baseline import TimedTraining, TrainingPlan
from clso.config import RunConfig
from clso.data import SPLITS, Corpus
from clso.data.corpus import Tokens
from clso.errors import DataError
from clso.models.gpt2 import text_loss
from clso.models.store import load_model
from clso.prove.windows import Arm
from clso.run import Trained, train_on
from clso.space.build import load_plugins
from clso.space.language import token_blocks

__all__ = ["ClsoSide", "HostCorpus", "adamw_arm", "adamw_model", "losses_from_disk"]


@dataclass(frozen=True)
class HostCorpus(Corpus):
    """A corpus whose tokens lie in host memory. It has no `test`: no run inside a window can read
    it."""

    arrays: dict[str, Tokens] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, corpus: Corpus) -> HostCorpus:
        arrays = {split: np.array(corpus.tokens(split)) for split in SPLITS if split != "test"}
        return cls(**{f.name: getattr(corpus, f.name) for f in fields(corpus)}, arrays=arrays)

    def tokens(self, split: str) -> Tokens:
        if split not in self.arrays:
            raise DataError(f"a measured run reads {', '.join(self.arrays)}", got=split)
        return self.arrays[split]


def losses_from_disk(
    folder: Path, corpus: Corpus, device: str, n_positions: int, *splits: str
) -> dict[str, float]:
    """`{split}_loss` in nats per token of the model in `folder`, in float32, over all blocks of
    each split."""
    model = load_model(folder, device=device)
    return {
        f"{s}_loss": text_loss(model, token_blocks(corpus.tokens(s), n_positions).to(device))
        for s in splits
    }


class ClsoSide:
    """Whole runs of one config, each in a new folder under `work` that goes when the run is
    over."""

    def __init__(
        self, config: RunConfig, host: HostCorpus, corpus: Corpus, device: str, work: Path
    ) -> None:
        self.config, self._host, self._corpus, self._device, self._work = (
            config,
            host,
            corpus,
            device,
            work,
        )
        self._numbers = itertools.count()
        # as AdamW's are: importing code is no part of a training
        self._plugins = load_plugins(config)

    def arm(self, name: str, **options: Any) -> Arm:
        """An arm of runs with these settings changed."""
        return Arm(name, lambda seed: self._run(replace(self.config, **options), seed)[0])

    def model(self, name: str, seed: int, **options: Any) -> dict[str, Any]:
        """One run outside every window, with its winner read from disk on `valid` and, this once,
        on `test`."""
        _, row = self._run(replace(self.config, **options), seed, "valid", "test")
        return {"type": "model", "arm": name, "seed": seed, **row}

    def valid_loss(self, seed: int, **options: Any) -> float:
        """Of the winner of one run outside every window, read from disk, on all of `valid`."""
        _, row = self._run(replace(self.config, **options), seed, "valid")
        return float(row["valid_loss"])

    def _run(self, config: RunConfig, seed: int, *splits: str) -> tuple[float, dict[str, Any]]:
        out = self._work / f"run-{next(self._numbers)}"
        trained = train_on(
            self._host, replace(config, seed=seed, energy="null"), self._device, out, self._plugins
        )
        row: dict[str, Any] = {}
        if splits:
            row = losses_from_disk(
                out / "best", self._corpus, self._device, config.n_positions, *splits
            )
            row |= _account(trained, out)
        shutil.rmtree(out)
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


def adamw_arm(name: str, training: TimedTraining, plan: TrainingPlan) -> Arm:
    """Whole trainings by one plan."""
    return Arm(name, lambda seed: training.run(seed, plan))


def adamw_model(
    name: str,
    training: TimedTraining,
    plan: TrainingPlan,
    seed: int,
    corpus: Corpus,
    device: str,
    n_positions: int,
    work: Path,
) -> dict[str, Any]:
    """One training outside every window, its model written to disk and read on `valid` and, this
    once, on `test`."""
    training.run(seed, plan)
    out = work / "adamw"
    training.save(out)
    losses = losses_from_disk(out, corpus, device, n_positions, "valid", "test")
    shutil.rmtree(out)
    return {"type": "model", "arm": name, "seed": seed, "plan": str(plan), **losses}
