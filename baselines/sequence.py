"""`sequence`: any sequence model, trained by AdamW on a task with exact answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from clso import plugins
from clso.baseline import Baseline, BaselineJob
from clso.errors import ConfigError, EvaluationError
from clso.models.modules import n_parameters
from clso.space.options import parse_options
from clso.tasks.base import ShuffledLabels, Task, load_task
from clso.tasks.generation import TextTask, score_texts
from clso.tasks.models import build_model, load_model, model_options, save_model
from clso.tasks.scoring import Score, majority_accuracy, score
from clso.tasks.train import TrainSettings, fit

__all__ = ["Sequence"]


@dataclass(frozen=True)
class _Settings(TrainSettings):
    """What is trained on what. Raises `ConfigError`."""

    model: str = field(
        default="lstm", metadata={"help": "A name from `clso list models`, or FILE.py:CLASS."}
    )
    task: str = field(
        default="listops", metadata={"help": "A name from `clso list tasks`, or FILE.py:CLASS."}
    )
    task_options: tuple[str, ...] = field(
        default=(), metadata={"help": "KEY=VALUE,... of the task."}
    )
    model_options: tuple[str, ...] = field(
        default=(), metadata={"help": "KEY=VALUE,... of the model, such as d_model."}
    )
    data_seed: int = field(
        default=0, metadata={"help": "Seed of the task's examples; --seed is that of training."}
    )
    shuffle_labels: bool = field(
        default=False, metadata={"help": "The control: training labels are permuted."}
    )
    questions: int = field(
        default=0,
        metadata={
            "help": "Questions of test that are answered in text (F1, ROUGE), if a task has them."
        },
    )
    lr: tuple[float, ...] = field(
        default=(1e-3,),
        metadata={"help": "Learning rates; all are trained, the best on valid wins."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.questions < 0:
            raise ConfigError("questions is at least 0", got=self.questions)
        if not self.lr or not all(0 < rate < math.inf for rate in self.lr):
            raise ConfigError("lr holds positive rates", got=list(self.lr))


class Sequence(Baseline):
    """The winning rate's weights are saved, and measured from disk: valid once more, test once.

    A run's "search" holds training with its scorings of valid. `--data` and `--tokenizer` are not
    used."""

    Settings: ClassVar[type] = _Settings
    help = "A sequence model (LSTM, Transformer, ...) trained by AdamW on a task (ListOps, copying, ...)."
    settings: _Settings

    @cached_property
    def task(self) -> Task:
        s = self.settings
        kind = plugins.load("tasks", s.task).subclass_of(Task)
        task = load_task(
            s.task, parse_options(kind.Options, s.task_options, of="this task"), s.data_seed
        )
        return ShuffledLabels(task) if s.shuffle_labels else task

    def load(self, job: BaselineJob) -> dict[str, Any]:
        """What the task is. The model is built once, so that its settings fail before anything is
        written."""
        self._build(job)
        if self.settings.questions and not isinstance(self.task, TextTask):
            raise ConfigError(
                "questions are answered in text by a task such as scrolls", got=self.settings.task
            )
        return self.task.describe()

    def run(self, job: BaselineJob) -> dict[str, Any]:
        s, folder = self.settings, job.folder / "best"
        best: tuple[float, float] | None = None
        fits = []
        for lr in s.lr:
            model = self._build(job).to(job.device)
            with (
                job.ledger.phase("search"),
                plugins.as_plugin_error(f"the model {s.model!r} can be trained"),
            ):
                done = fit(
                    model,
                    self.task,
                    s,
                    lr,
                    seed=job.config.seed,
                    device=job.device,
                    progress=job.progress,
                )
            fits.append({"lr": lr, **done.to_json()})
            value = -math.inf if done.valid is None else done.valid.value(self.task.metrics[0])
            if math.isfinite(value) and (best is None or value > best[0]):
                best = (value, lr)
                save_model(s.model, model, folder)
        if best is None:
            raise EvaluationError(
                "one learning rate gives a finite loss", got=list(s.lr), remedy="Use lower rates."
            )
        model = load_model(folder, device=job.device)
        found = {}
        for phase, split in (("validate", "valid"), ("test", "test")):
            with job.ledger.phase(phase):
                found[split] = score(
                    model, self.task.split(split), batch=2 * s.batch, device=job.device
                )
        texts = {}
        if s.questions and isinstance(self.task, TextTask):
            with job.ledger.phase("test"):
                texts = score_texts(model, self.task, n_questions=s.questions, device=job.device)
        chance = majority_accuracy(self.task.split("train"), self.task.split("test"))
        return {
            "best": {**_flat(found), "chance": chance, "lr": best[1], "model": s.model},
            **({"texts": texts} if texts else {}),
            "parameters": n_parameters(model),
            "task": self.task.name,
            "metrics": list(self.task.metrics),
            "by_lr": fits,
            "counts": {"train_tokens": sum(f["n_tokens"] for f in fits)},
        }

    def _build(self, job: BaselineJob) -> Any:
        s = self.settings
        return build_model(
            s.model, self.task, model_options(s.model, s.model_options), seed=job.config.seed
        )


def _flat(found: dict[str, Score]) -> dict[str, float]:
    return {
        f"{split}_{name}": getattr(score_, name)
        for split, score_ in found.items()
        for name in ("loss", "accuracy", "exact", "mrr", "perplexity")
    }
