"""A probe: every subject by every group of metrics, compared on the same examples, and the record
of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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
from clso.probe.comparison import Scores, compare_all, example_scores
from clso.probe.context import Context
from clso.probe.figure import Figure, Figures, over_seeds
from clso.probe.settings import ProbeSettings
from clso.probe.subject import Subject, open_subjects, open_task
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.tasks.base import Task
from clso.tasks.scoring import majority_accuracy

__all__ = ["TIMED", "Measured", "Probe", "compare", "measure", "run_probe"]

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
TIMED = tuple(_OF_ONE)
"""Groups whose figures are wrong beside other work."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """One subject: what it is, its figures, and what each answer of test scores."""

    subject: dict[str, Any]
    figures: Figures
    scores: Scores


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
        found = [measure(subject, task, settings, meter, progress) for subject in subjects]
        progress("comparing")
        return compare(found, task, settings, meter)


def measure(
    subject: Subject, task: Task, settings: ProbeSettings, meter: EnergyMeter, progress: Progress
) -> Measured:
    """One subject by every group; `settings` has a device, not "auto".

    Raises `PluginError` if the model's code fails."""
    with as_plugin_error(f"the model {subject.name!r} can be measured"):
        scores = example_scores(subject.models, task.split("test"), settings.device)
        figures = _figures(subject, task, settings, meter, scores, progress)
    return Measured(subject.describe(), figures, scores)


def compare(
    found: Sequence[Measured], task: Task, settings: ProbeSettings, meter: EnergyMeter
) -> Probe:
    """The record of subjects that were measured on one task."""
    return Probe(
        settings,
        task.describe(),
        [one.subject for one in found],
        [one.figures for one in found],
        compare_all({one.subject["name"]: one.scores for one in found}),
        {
            "code": describe_code(),
            "software": describe_software(),
            "hardware": describe_device(settings.device),
            "energy": {"source": meter.source, "reason": meter.reason},
        },
    )


def _figures(
    subject: Subject,
    task: Task,
    settings: ProbeSettings,
    meter: EnergyMeter,
    scores: Scores,
    progress: Progress,
) -> Figures:
    examples = task.split("test")[: settings.examples]
    contexts = [Context(model, task, settings, meter, examples) for model in subject.models]
    found: Figures = {}
    for group in settings.groups:
        progress(f"{subject.name}: {group}")
        if group == "task":
            found |= _answers(subject, task, scores)
        elif group == "sensitivity":
            found |= sensitivity.measure(subject)
        elif group in _OF_ONE:
            found |= _OF_ONE[group](contexts[0])
        else:
            found |= over_seeds([_BY_SEED[group](context) for context in contexts])
    return found


def _answers(subject: Subject, task: Task, scores: Scores) -> Figures:
    """The group "task"."""
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
        "chance": Figure(majority_accuracy(task.split("train"), task.split("test"))),
        "parameters": Figure(n_parameters(subject.model)),
        **over_seeds(trained),
    }
