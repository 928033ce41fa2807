"""The contract of baselines: what CLSO is compared with, on the same text, model sizes, device and
meter.

A baseline is a class with a frozen `Settings` dataclass, whose fields become the options of `clso
baseline NAME`, and a `run` that fills a result of the same shape as an evolved run's."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from clso import plugins
from clso.config import RunConfig
from clso.device import resolve_device
from clso.energy import open_meter
from clso.energy.ledger import Ledger
from clso.errors import ConfigError
from clso.models.gpt2 import GPT2Config
from clso.run.folder import RunFolder
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.build import all_options, model_sizes
from clso.space.language import token_blocks

if TYPE_CHECKING:
    from torch import Tensor

    from clso.data import Corpus

__all__ = ["Baseline", "BaselineJob", "TimedTraining", "TrainingPlan", "run_baseline"]


@dataclass(frozen=True)
class BaselineJob:
    """What a baseline works on.

    `ledger` charges phases: use "search" for training or fitting and "validate" for scoring on
    valid, so that totals mean the same as for an evolved run; "test" is reported apart.
    `load_corpus` gives the text of `--data`, one object however often it is called."""

    config: RunConfig
    load_corpus: Callable[[], Corpus]
    device: str
    folder: Path
    ledger: Ledger
    progress: Callable[[str], None]

    @cached_property
    def corpus(self) -> Corpus:
        """The text of `--data`, read when it is first asked for."""
        return self.load_corpus()

    @cached_property
    def model_config(self) -> GPT2Config:
        """A GPT-2 of the sizes that the config's search space has."""
        return GPT2Config(vocab_size=self.corpus.vocab_size, **model_sizes(self.config))

    def blocks(self, split: str) -> Tensor:
        """All token blocks (n, n_positions + 1) of a split, on the device."""
        return token_blocks(self.corpus.tokens(split), self.model_config.n_positions).to(
            self.device
        )


@dataclass(frozen=True)
class TrainingPlan:
    """One way to train: `schedule` (constant or cosine) laid out over `steps`, of which the first
    `stop_at` are done.

    `variant` holds (name, value) of the baseline's own settings that differ from what it was made
    with."""

    lr: float
    schedule: str
    steps: int
    stop_at: int
    variant: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        length = (
            f"{self.stop_at}" if self.stop_at == self.steps else f"{self.stop_at} of {self.steps}"
        )
        return ", ".join(
            [
                f"{self.lr:g} {self.schedule}",
                f"{length} steps",
                *(f"{k} {v}" for k, v in self.variant),
            ]
        )


class TimedTraining(Protocol):
    """A trainer that `clso prove` runs again and again inside one window.

    Only `prepare` may compile, and a `run` or `curve` by a plan whose variant was not prepared last
    or last but one."""

    def check(self, plan: TrainingPlan) -> None:
        """Raises `ConfigError` for a plan that cannot be trained by, before anything is trained."""

    def prepare(self, plan: TrainingPlan | None = None) -> None:
        """Whatever is done once for a plan's variant and not measured: buffers, compilation,
        warm-up."""

    def run(self, seed: int, plan: TrainingPlan) -> float:
        """Train anew from tokens in host memory; return the loss on (a sample of) valid. Ends with
        the device idle."""

    def curve(self, seed: int, plan: TrainingPlan, every: int) -> list[tuple[int, float]]:
        """Train anew, scoring as `run` does every so many steps and at the end: (steps, loss). A
        loss may be NaN."""

    def save(self, folder: Path) -> None:
        """Write the last run's model, as `clso.models.hf.load_hf` reads it."""

    def describe(self) -> dict[str, Any]:
        """How it trains, as JSON types: precision, kernels, ..."""


class Baseline(ABC):
    """Subclass, declare `Settings`, implement `run`."""

    Settings: ClassVar[type]
    help: ClassVar[str] = ""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    def run(self, job: BaselineJob) -> dict[str, Any]:
        """Results to merge into result.json: at least `best` with `valid_loss` and `test_loss`
        (nats per token)."""

    def load(self, job: BaselineJob) -> dict[str, Any] | None:
        """Read what the baseline learns from (phase "data"). What it is, for the manifest; its
        "hash" tells whether two runs can be compared. By default the text of `--data`; None: it
        reads none."""
        return job.corpus.spec

    def timed(self, job: BaselineJob, max_steps: int) -> TimedTraining:
        """A trainer for plans of at most `max_steps`. Optional: raises `ConfigError` if there is
        none."""
        raise ConfigError(
            "clso prove needs a baseline that can be timed by repetition", got=type(self).__name__
        )


def run_baseline(
    name: str,
    settings: dict[str, Any],
    config: RunConfig,
    out: Path,
    *,
    progress: Callable[[str], None] = lambda _: None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """Run the baseline `name` in the new folder `out`; return what its result.json holds.

    Raises `ClsoError` subclasses for an unknown baseline, bad settings or data, or an existing
    folder."""
    plugin = plugins.load("baselines", name)
    kind: type[Baseline] = plugin.subclass_of(Baseline)
    device = resolve_device(config.device)
    baseline = kind(kind.Settings(**settings))
    all_options(config)  # a bad one is refused before anything is read
    RunFolder.require_new(out)
    from clso.data import load_corpus

    @cache
    def corpus() -> Corpus:
        return load_corpus(config.data, config.tokenizer, cache_dir)

    with open_meter(config.energy, device) as meter:
        ledger = Ledger(meter)
        if config.idle_s and meter.reason is None:
            progress("measuring idle power")
            meter.measure_idle(config.idle_s)
        job = BaselineJob(config, corpus, device, out, ledger, progress)
        progress("reading the data")
        with ledger.phase("data"):
            spec = baseline.load(job)
        folder = RunFolder.create(out, config)
        try:
            folder.write_json(
                "manifest.json",
                {
                    "code": describe_code(),
                    "software": describe_software(),
                    "hardware": describe_device(device),
                    "plugins": {"baseline": plugin.describe()},
                    "settings": json.loads(json.dumps(asdict(baseline.settings))),
                    "corpus": spec,
                    "seed": config.seed,
                },
            )
            result = {
                "baseline": name,
                **baseline.run(job),
                **ledger.summary(),
                "seed": config.seed,
            }
            return folder.write_result(result)
        except BaseException:
            if not (out / "best").exists():
                folder.discard()
            raise
        finally:
            folder.close()
