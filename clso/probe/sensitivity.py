"""How much the outcome of training hangs on its learning rate and its seed."""

from __future__ import annotations

import numpy as np

from clso.probe.figure import Figure, Figures, missing
from clso.probe.metrics import names_of
from clso.probe.subject import Subject

__all__ = ["measure"]


def measure(subject: Subject) -> Figures:
    """The group "sensitivity"."""
    if not subject.fits:
        return missing(names_of("sensitivity"), "the run was trained elsewhere, once")
    by_seed = [done.valid.accuracy for done in subject.fits if done.valid is not None]
    seeds = (
        Figure(float(np.std(by_seed, ddof=1)), detail={"by_seed": by_seed})
        if len(by_seed) > 1
        else Figure(None, "one seed was trained", detail={"by_seed": by_seed})
    )
    points = [
        {"lr": lr, "loss": loss, "accuracy": accuracy}
        for lr, (loss, accuracy) in subject.at_rates.items()
    ]
    accuracies = [accuracy for _, accuracy in subject.at_rates.values()]
    rates = (
        Figure(max(accuracies) - min(accuracies), detail={"points": points})
        if len(points) > 1
        else Figure(None, "one learning rate gave a finite loss", detail={"points": points})
    )
    return {"seed_sensitivity": seeds, "lr_sensitivity": rates}
