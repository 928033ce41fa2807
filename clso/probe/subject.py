"""What is probed: trained models of one family, or the winner of one run, on one task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from clso import plugins
from clso.errors import ConfigError, RunFolderError
from clso.models.modules import n_parameters
from clso.probe.context import config_of
from clso.probe.settings import ProbeSettings
from clso.probe.training import TaskSpec, Training, load_cached, train_all
from clso.run.folder import RunFolder
from clso.space.options import make_options
from clso.tasks.base import Task
from clso.tasks.models import build_model, equal_widths, load_model
from clso.tasks.train import Fit, TrainSettings

__all__ = [
    "Subject",
    "open_subject",
    "open_subjects",
    "open_task",
    "plan_trainings",
    "with_positions",
]

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
    return load_cached(_task_spec(settings))


def _task_spec(settings: ProbeSettings) -> TaskSpec:
    if settings.task is not None:
        kind = plugins.load("tasks", settings.task).subclass_of(Task)
        make_options(kind.Options, settings.task_options, of="this task")
        return TaskSpec(settings.task, tuple(settings.task_options.items()), settings.data_seed)
    for spec in settings.subjects:
        if _is_run(spec):
            known = _recorded_task(RunFolder.open(Path(spec)))
            return TaskSpec(known["task"], tuple(known["options"].items()), known["seed"])
    raise ConfigError("a model is probed on a task", remedy="Name one with --task.")


def open_subjects(
    settings: ProbeSettings, task: Task, progress: Progress, kept: Path
) -> list[Subject]:
    """Read the runs, then train the models, whose weights go into the folder `kept`. Names are
    known, and folders read, before anything is trained.

    Raises:
        PluginError, ConfigError: a model is not known, or is of another task.
        RunFolderError: a run is missing, unfinished or damaged.
        EvaluationError: a training diverged.
    """
    runs = {spec: _read(spec, task, settings) for spec in settings.subjects if _is_run(spec)}
    plans = plan_trainings(settings, task, kept)
    fits = iter(
        train_all([one for plan in plans.values() for one in plan], settings.jobs, progress)
    )
    trained = {
        spec: _trained(spec, plan, list(islice(fits, len(plan))), settings)
        for spec, plan in plans.items()
    }
    return [(runs | trained)[spec] for spec in settings.subjects]


def open_subject(
    spec: str, plan: Sequence[Training], settings: ProbeSettings, progress: Progress
) -> Subject:
    """One of `open_subjects`, with its trainings by `plan_trainings`; a run has none."""
    if not plan:
        return _read(spec, open_task(settings), settings)
    return _trained(spec, plan, train_all(plan, 1, progress), settings)


def plan_trainings(settings: ProbeSettings, task: Task, kept: Path) -> dict[str, list[Training]]:
    """By model: all seeds at the learning rate, and then, for the group "sensitivity", the first
    seed at others. They go into the folder `kept`.

    Raises:
        PluginError, ConfigError: a model is not known, or sizes do not go together.
    """
    named = [spec for spec in settings.subjects if not _is_run(spec)]
    for spec in named:
        plugins.require_known("models", spec)
    sizes = {"n_layers": settings.n_layers, "n_heads": settings.n_heads}
    widths = dict.fromkeys(named, settings.d_model)
    if named and settings.equal_parameters is not None:
        widths = equal_widths(named, task, sizes, settings.equal_parameters, settings.model_options)
    runs = [(seed, settings.lr, False) for seed in range(settings.seeds)]
    if "sensitivity" in settings.groups:
        runs += [(0, factor * settings.lr, True) for factor in (_SOFTER, _HARDER)]
    plans: dict[str, list[Training]] = {}
    for spec in named:
        of = {**sizes, "d_model": widths[spec], **settings.model_options.get(spec, {})}
        build_model(spec, task, of)  # sizes that do not go together are told now
        plans[spec] = [
            Training(
                getattr(plugins.load("models", spec).value, "name", None)
                or spec.rpartition(":")[2],
                spec,
                tuple(of.items()),
                _task_spec(settings),
                TrainSettings(
                    steps=settings.steps,
                    batch=settings.batch,
                    eval_every=settings.eval_every,
                    stop_after=settings.stop_after,
                ),
                seed,
                lr,
                settings.device,
                may_diverge,
                kept,
            )
            for seed, lr, may_diverge in runs
        ]
    return plans


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
    folder.require_written("best/")
    model = load_model(folder.path / "best", device=settings.device)
    # a record names a run, and not a machine's folder
    name = folder.path.resolve().name
    return Subject(name, name, (model.eval(),))


def _trained(
    spec: str, plan: Sequence[Training], fits: Sequence[Fit], settings: ProbeSettings
) -> Subject:
    done = list(zip(plan, fits, strict=True))
    by_seed, others = done[: settings.seeds], done[settings.seeds :]
    at_rates = {
        training.lr: (of.valid.loss, of.valid.accuracy)
        for training, of in sorted([by_seed[0], *others], key=lambda one: one[0].lr)
        if others and of.valid is not None
    }
    models = (load_model(training.folder, device=settings.device).eval() for training, _ in by_seed)
    return Subject(plan[0].name, spec, tuple(models), tuple(of for _, of in by_seed), at_rates)
