"""What is neither side: n-grams, random search in the same space, and CLSO on random crystals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clso import plugins
from clso.baseline import Baseline, BaselineJob
from clso.config import RunConfig
from clso.data import Corpus
from clso.energy import EnergyMeter
from clso.energy.ledger import Ledger
from clso.prove.context import ProofContext
from clso.run.entries import models_of

__all__ = ["baseline_row", "make_job"]


def make_job(proof: ProofContext) -> BaselineJob:
    """What a measured baseline works on: the text in host memory."""
    return _job(proof, proof.config, proof.host, proof.work / "adamw", proof.meter)


def _job(
    proof: ProofContext, config: RunConfig, corpus: Corpus, folder: Path, meter: EnergyMeter
) -> BaselineJob:
    return BaselineJob(config, lambda: corpus, proof.device, folder, Ledger(meter), lambda _: None)


def baseline_row(
    proof: ProofContext, name: str, settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """One run of a baseline on the whole text; what it charges to itself, and its losses by
    model."""
    kind: type[Baseline] = plugins.load("baselines", name).subclass_of(Baseline)
    config, folder = proof.config.with_options(seed=seed), proof.work / f"{name}-{seed}"
    with proof.open_meter() as meter:
        job = _job(proof, config, proof.corpus, folder, meter)
        result = kind(kind.Settings(**settings)).run(job)
        account = job.ledger.summary()
    models = models_of(result) or {name: result["best"]}
    energy = account["energy_j"]
    return {
        "type": "control",
        "name": name,
        "seed": config.seed,
        "models": {
            k: {"valid_loss": v["valid_loss"], "test_loss": v["test_loss"]}
            for k, v in models.items()
        },
        "counts": result.get("counts"),
        "energy_j": energy["gross"]["total"] if energy else None,
        "energy_reason": account["energy_reason"],
        "time_s": account["time_s"]["total"],
        "cpu_time_s": account["cpu_time_s"]["total"],
    }
