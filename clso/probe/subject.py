"""What is probed: trained models of one family, or the winner of one run, on one task."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from clso import plugins
from clso.errors import ConfigError, EvaluationError, RunFolderError
from clso.models.modules import n_parameters
from clso.probe.context import config_of
from clso.probe.settings import ProbeSettings
from clso.run.folder import RunFolder
from clso.space.options import make_options
from clso.tasks.base import Task, load_task
from clso.tasks.models import build_model, equal_widths, load_model
from clso.tasks.train import Fit, TrainSettings, fit

__all__ = ["Subject", "open_subjects", "open_task", "with_positions"]

Progress = Callable[[str], None]
_SOFTER, _HARDER = 1 / 3, 3.0
"""Of a learning rate, where its sensitivity is measured."""


@dataclass(frozen=True)
class Subject:
    """Trained models that differ in their seed alone.

    Attributes:
        name: what tables call it.
        spec: a model as it was named, a run by its folder's name.
        models: by seed, in evaluation mode, on the device.
        fits: their trainings; none of a run.
        at_rates: valid's loss and accuracy by learning rate, of seed 0; empty if no other rate was
            tried.
    """

    name: str
    spec: str
    models: tuple[nn.Module, ...]
    fits: tuple[Fit, ...] = ()
    at_rates: dict[float, tuple[float, float]] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """Seed 0's."""
        return self.models[0]

    def describe(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "name": self.name,
            "subject": self.spec,
            "family": type(self.model).__name__,
            "parameters": n_parameters(self.model),
            "config": asdict(config_of(self.model)),
            "seeds": len(self.models),
            "trainings": [done.to_json() for done in self.fits],
        }


def open_task(settings: ProbeSettings) -> Task:
    """The settings' task, or the one that the first run recorded.

    Raises:
        ConfigError, PluginError: it is not known, or its options are not.
        RunFolderError: there is no such run.
    """
    if settings.task is not None:
        kind = plugins.load("tasks", settings.task).subclass_of(Task)
        make_options(kind.Options, settings.task_options, of="this task")
        return load_task(settings.task, settings.task_options, settings.data_seed)
    for spec in settings.subjects:
        if _is_run(spec):
            known = _recorded_task(RunFolder.open(Path(spec)))
            return load_task(known["task"], known["options"], known["seed"])
    raise ConfigError("a model is probed on a task", remedy="Name one with --task.")


def open_subjects(settings: ProbeSettings, task: Task, progress: Progress) -> list[Subject]:
    """Read the runs, then train the models. Names are known, and folders read, before anything is
    trained.

    Raises:
        PluginError, ConfigError: a model is not known, or is of another task.
        RunFolderError: a run is missing, unfinished or damaged.
        EvaluationError: a training diverged.
    """
    named = [spec for spec in settings.subjects if not _is_run(spec)]
    for spec in named:
        plugins.require_known("models", spec)
    runs = {spec: _read(spec, task, settings) for spec in settings.subjects if _is_run(spec)}
    sizes = {"n_layers": settings.n_layers, "n_heads": settings.n_heads}
    widths = dict.fromkeys(named, settings.d_model)
    if named and settings.equal_parameters is not None:
        widths = equal_widths(named, task, sizes, settings.equal_parameters)
    for spec in named:  # sizes that do not go together, too
        build_model(spec, task, {**sizes, "d_model": widths[spec]})
    return [
        runs[spec]
        if spec in runs
        else _train(spec, task, {**sizes, "d_model": widths[spec]}, settings, progress)
        for spec in settings.subjects
    ]


def with_positions(model: nn.Module, n_positions: int) -> nn.Module:
    """A copy of the model that takes sequences of `n_positions` tokens.

    Raises `ConfigError` if its weights are bound to the positions that it has.
    """
    config = config_of(model)
    if n_positions <= config.n_positions:
        return model
    device = next(model.parameters()).device
    longer: nn.Module = type(model)(replace(config, n_positions=n_positions))
    try:
        longer.load_state_dict(copy.deepcopy(model.state_dict()))
    except RuntimeError as error:
        raise ConfigError(
            f"a model takes {n_positions:,} positions",
            problem=f"its weights are bound to {config.n_positions:,}",
        ) from error
    return longer.to(device).train(model.training)


def _is_run(spec: str) -> bool:
    """Paths are runs, but for plugin files."""
    return ".py:" not in spec and ("/" in spec or Path(spec).is_dir())


def _recorded_task(folder: RunFolder) -> dict[str, Any]:
    """Name, options and seed of the task that a finished run was on."""
    result = folder.read_result()
    known = result.get("task")
    if not isinstance(known, dict):
        known = folder.read_manifest().get("corpus")
    if not (isinstance(known, dict) and {"task", "options", "seed"} <= known.keys()):
        raise RunFolderError(
            "a run that is probed has a sequence model of a task",
            got=str(folder.path),
            remedy="Run `clso baseline sequence`, or `clso evolve --task`.",
        )
    return known


def _read(spec: str, task: Task, settings: ProbeSettings) -> Subject:
    folder = RunFolder.open(Path(spec))
    known, own = _recorded_task(folder), task.describe()
    for key in ("task", "options", "seed"):
        if known[key] != own[key]:
            raise ConfigError(
                f"a run is probed on the task that it is of: {key} is the run's",
                problem=f"{spec} has {known[key]}",
                got=own[key],
                remedy="Leave --task out, or set --option and --data-seed.",
            )
    model = load_model(folder.path / "best", device=settings.device)
    # a record names a run, and not a machine's folder
    name = folder.path.resolve().name
    return Subject(name, name, (model.eval(),))


def _train(
    spec: str, task: Task, sizes: dict[str, Any], settings: ProbeSettings, progress: Progress
) -> Subject:
    name = getattr(plugins.load("models", spec).value, "name", None) or spec.rpartition(":")[2]
    training = TrainSettings(
        steps=settings.steps,
        batch=settings.batch,
        eval_every=settings.eval_every,
        stop_after=settings.stop_after,
    )

    def once(seed: int, lr: float) -> tuple[nn.Module, Fit]:
        model = build_model(spec, task, sizes, seed=seed).to(settings.device)
        done = fit(
            model,
            task,
            training,
            lr,
            seed=seed,
            device=settings.device,
            progress=lambda text: progress(f"{name}, seed {seed}, lr {lr:.2g}: {text}"),
        )
        return model.eval(), done

    trained = [once(seed, settings.lr) for seed in range(settings.seeds)]
    if any(done.valid is None for _, done in trained):
        raise EvaluationError(
            f"the training of {name} has a finite loss", got=settings.lr, remedy="Lower --lr."
        )
    fits = tuple(done for _, done in trained)
    at_rates: dict[float, tuple[float, float]] = {}
    if "sensitivity" in settings.groups:
        for factor in (_SOFTER, 1.0, _HARDER):
            done = fits[0] if factor == 1.0 else once(0, factor * settings.lr)[1]
            if done.valid is not None:
                at_rates[factor * settings.lr] = done.valid.loss, done.valid.accuracy
    return Subject(name, spec, tuple(model for model, _ in trained), fits, at_rates)
