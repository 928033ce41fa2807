"""A probe: every subject by every group of metrics, compared on the same examples, and the record
of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.models.modules import n_parameters
from clso.plugins import as_plugin_error
from clso.probe import (
    hardware,
    inference,
    interpretability,
    robustness,
    scaling,
    sensitivity,
    states,
)
from clso.probe.comparison import compare_all, example_scores
from clso.probe.context import Context
from clso.probe.figure import Figure, Figures, over_seeds
from clso.probe.settings import ProbeSettings
from clso.probe.subject import Subject, open_subjects, open_task
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.tasks.base import Task
from clso.tasks.scoring import majority_accuracy

__all__ = ["Probe", "run_probe"]

_BY_SEED: dict[str, Callable[[Context], Figures]] = {
    "robustness": robustness.measure,
    "states": states.measure,
    "interpretability": interpretability.measure,
}
"""Groups that are measured of every seed's model."""
_OF_ONE: dict[str, Callable[[Context], Figures]] = {
    "inference": inference.measure,
    "scaling": scaling.measure,
    "hardware": hardware.measure,
}
"""Groups that are measured of seed 0's: what they cost does not depend on what was learnt."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Probe:
    """The record: `figures` has the metrics of each subject, in order."""

    settings: ProbeSettings
    task: dict[str, Any]
    subjects: list[dict[str, Any]]
    figures: list[Figures]
    comparisons: list[dict[str, Any]]
    manifest: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "settings": json.loads(json.dumps(asdict(self.settings)))
            | {"subjects": [subject["subject"] for subject in self.subjects]},
            "task": self.task,
            "models": [
                {**subject, "metrics": {name: asdict(f) for name, f in figures.items()}}
                for subject, figures in zip(self.subjects, self.figures, strict=True)
            ],
            "comparisons": self.comparisons,
            "manifest": self.manifest,
        }


def run_probe(
    settings: ProbeSettings, progress: Progress = lambda text: None, kept: Path | None = None
) -> Probe:
    """Train or read every subject, measure it, and compare all.

    Args:
        kept: a folder of trained models, which are read instead of being trained again; those that
            are missing are added to it.

    Raises:
        ClsoError: as `open_task` and `open_subjects`; a device or source of energy that is not there.
    """
    settings = replace(settings, device=resolve_device(settings.device))
    task = open_task(settings)
    with TemporaryDirectory() as passing:
        subjects = open_subjects(settings, task, progress, kept or Path(passing))
    with open_meter(settings.energy, settings.device) as meter:
        figures = []
        for subject in subjects:
            with as_plugin_error(f"the model {subject.name!r} can be measured"):
                figures.append(_measure(subject, task, settings, meter, progress))
        manifest = {
            "code": describe_code(),
            "software": describe_software(),
            "hardware": describe_device(settings.device),
            "energy": {"source": meter.source, "reason": meter.reason},
        }
    progress("comparing")
    test = task.split("test")
    scores = {
        subject.name: example_scores(subject.models, test, settings.device) for subject in subjects
    }
    return Probe(
        settings,
        task.describe(),
        [subject.describe() for subject in subjects],
        figures,
        compare_all(scores),
        manifest,
    )


def _measure(
    subject: Subject, task: Task, settings: ProbeSettings, meter: EnergyMeter, progress: Progress
) -> Figures:
    examples = task.split("test")[: settings.examples]
    contexts = [Context(model, task, settings, meter, examples) for model in subject.models]
    found: Figures = {}
    for group in settings.groups:
        progress(f"{subject.name}: {group}")
        if group == "task":
            found |= _answers(subject, task, settings)
        elif group == "sensitivity":
            found |= sensitivity.measure(subject)
        elif group in _OF_ONE:
            found |= _OF_ONE[group](contexts[0])
        else:
            found |= over_seeds([_BY_SEED[group](context) for context in contexts])
    return found


def _answers(subject: Subject, task: Task, settings: ProbeSettings) -> Figures:
    """The group "task"."""
    test = task.split("test")
    scores = example_scores(subject.models, test, settings.device)
    trained: list[Figures] = [
        {
            "training_steps": Figure(done.best_step),
            "training_time_s": Figure(done.train_s),
            "training_tokens": Figure(done.n_tokens),
        }
        for done in subject.fits
    ] or [
        {
            name: Figure(None, "the run was trained elsewhere")
            for name in ("training_steps", "training_time_s", "training_tokens")
        }
    ]
    measured: list[Figures] = [
        {"accuracy": Figure(float(np.mean(right))), "loss": Figure(float(np.mean(loss)))}
        for loss, right in zip(scores["loss"], scores["accuracy"], strict=True)
    ]
    return {
        **over_seeds(measured),
        "chance": Figure(majority_accuracy(task.split("train"), test)),
        "parameters": Figure(n_parameters(subject.model)),
        **over_seeds(trained),
    }
