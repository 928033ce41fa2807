"""Sequence tasks: token sequences with exact answers, in splits that share no sequence.

A task classifies whole sequences (`n_classes` > 0), or is a language model's (`n_classes` = 0):
then it asks for the token that follows at some positions, which may be all of them. Tasks are found
through the entry-point group `clso.tasks`. Only numpy is needed here; `clso.tasks.train` turns
examples into tensors."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from clso import plugins
from clso.errors import ConfigError, DataError
from clso.space.options import NoOptions, make_options

__all__ = [
    "PADDING",
    "SPLITS",
    "Examples",
    "ShuffledLabels",
    "Task",
    "load_task",
    "pad",
    "row_keys",
]

PADDING = 0
SPLITS = ("train", "valid", "test")
_FITNESS_SHARE = 0.1

Tokens = npt.NDArray[np.uint16]
Targets = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Examples:
    """Sequences of different lengths, padded at their ends with 0.

    Attributes:
        tokens: (n, T).
        targets: (n,) classes, or (n, T): the token that comes after each position where it is asked
        for, 0 elsewhere.
    """

    tokens: Tokens
    targets: Targets

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | Targets) -> Examples:
        return Examples(self.tokens[rows], self.targets[rows])

    @property
    def n_tokens(self) -> int:
        """Tokens that are no padding."""
        return int(np.count_nonzero(self.tokens))


class Task(ABC):
    """Base class of every task. Subclasses implement `vocab`, `n_positions` and `_load`.

    >>> task = load_task("listops", {"n_train": 4, "n_valid": 2, "n_test": 2}, seed=0)
    >>> task.split("train").tokens.shape[0], task.n_classes
    (4, 10)
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type] = NoOptions
    """What a user may set: a frozen dataclass whose fields are str, int, float or bool and have
    defaults."""
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    """What is reported; by the first (accuracy, or perplexity) a trainer chooses the best weights
    on valid."""
    n_classes: ClassVar[int] = 0
    """Classes of a sequence; 0: a language model answers, with tokens."""
    lengths: ClassVar[tuple[str, ...]] = ()
    """Options that grow with the length of sequences."""

    def __init__(self, options: Any = None, seed: int = 0) -> None:
        self.options = self.Options() if options is None else options
        self.seed = seed

    @property
    @abstractmethod
    def vocab(self) -> tuple[str, ...]:
        """What each token id stands for; id 0 is padding."""

    @property
    @abstractmethod
    def n_positions(self) -> int:
        """No sequence is longer."""

    @property
    def separator(self) -> int:
        """The token that ends a sentence, for models that remember by sentences; 0: there is
        none."""
        return 0

    @abstractmethod
    def _load(self) -> dict[str, Examples]:
        """Train, valid and test, the same for equal options and seed. Raises `ConfigError` or
        `DataError`."""

    def split(self, name: str) -> Examples:
        """The examples of "train", "valid" or "test"; or of "statistics" and "fitness", which train
        is cut into.

        Raises `ConfigError` for another name, and what loading raises.
        """
        if name in ("statistics", "fitness"):
            train = self._splits["train"]
            cut = len(train) - max(1, int(_FITNESS_SHARE * len(train)))
            return train[:cut] if name == "statistics" else train[cut:]
        if name not in SPLITS:
            raise ConfigError(
                f"a split is one of {', '.join(SPLITS)}, statistics or fitness", got=name
            )
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, Examples]:
        splits = self._load()
        _check(self, splits)
        return splits

    def text(self, tokens: Sequence[int] | Tokens) -> str:
        """A sequence in words, without its padding."""
        return " ".join(self.vocab[t] for t in tokens if t != PADDING)

    def longer(self, factor: int, n: int) -> Task:
        """The task whose sequences are `factor` times as long, with the same vocabulary and classes;
        `n` test examples if they are drawn.

        Raises `ConfigError` if there is none."""
        if not self.lengths:
            raise ConfigError("a task can have longer sequences", got=self.name)
        changed = {name: factor * getattr(self.options, name) for name in self.lengths}
        if hasattr(self.options, "n_test"):
            changed |= {"n_train": 1, "n_valid": 1, "n_test": n}
        longer = type(self)(replace(self.options, **changed), self.seed)
        if longer.vocab != self.vocab:
            raise ConfigError("longer sequences have the same vocabulary", got=self.name)
        return longer

    def token_features(self, tokens: Tokens) -> dict[str, npt.NDArray[np.float64]]:
        """What is known of each token of a sequence (T,), without padding; the first feature's
        greatest value says how complex the sequence is."""
        return {"position": np.arange(len(tokens), dtype=np.float64)}

    def alike(self, tokens: Tokens, rng: random.Random) -> Tokens | None:
        """The same sequence with other names, token by token; None if the task knows none."""
        return None

    def answer(self, tokens: Tokens) -> int | None:
        """The exact answer to any sequence of tokens, -1 if it is none that has one; None if the
        task cannot tell."""
        return None

    def describe(self) -> dict[str, Any]:
        """Name, options, seed, sizes and a hash of all examples, as JSON types."""
        digest = hashlib.sha256()
        for name in SPLITS:
            examples = self.split(name)
            for key in row_keys(examples.tokens):
                digest.update(key)
            digest.update(examples.targets.astype(np.int64).tobytes())
        return {
            "task": self.name,
            "options": asdict(self.options),
            "seed": self.seed,
            "examples": {name: len(self.split(name)) for name in SPLITS},
            "hash": digest.hexdigest(),
        }


class ShuffledLabels(Task):
    """The control: a classification task whose training labels are permuted.

    Nothing but their frequencies can be learnt, so accuracy on test falls to chance; what stays
    above it is a leak."""

    def __init__(self, task: Task) -> None:
        """Raises `ConfigError` for a task without classes."""
        if not task.n_classes:
            raise ConfigError(
                "labels can be shuffled only if sequences have classes", got=task.name
            )
        super().__init__(task.options, task.seed)
        self.task = task
        self.name = f"{task.name} (labels shuffled)"  # type: ignore[misc]
        self.n_classes, self.metrics = task.n_classes, task.metrics  # type: ignore[misc]

    @property
    def vocab(self) -> tuple[str, ...]:
        return self.task.vocab

    @property
    def n_positions(self) -> int:
        return self.task.n_positions

    def _load(self) -> dict[str, Examples]:
        train = self.task.split("train")
        targets = np.random.default_rng(self.seed).permutation(train.targets)
        return {
            **{name: self.task.split(name) for name in SPLITS},
            "train": Examples(train.tokens, targets),
        }


def load_task(name: str, options: Mapping[str, Any] | None = None, seed: int = 0) -> Task:
    """The task `name` of the entry-point group `clso.tasks`, or FILE.py:CLASS, with `options` set.

    Raises `PluginError` for an unknown or broken task and `ConfigError` for bad options.
    """
    plugin = plugins.load("tasks", name)
    kind: type[Task] = plugin.subclass_of(Task)
    with plugin.as_plugin_error("be built"):
        return kind(make_options(kind.Options, options or {}, of="this task"), seed)


def pad(rows: Sequence[Sequence[int]]) -> Tokens:
    """Rows of token ids as one array (n, longest), 0 after the end of each."""
    out = np.zeros((len(rows), max(map(len, rows), default=0)), np.uint16)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def row_keys(tokens: Tokens) -> list[bytes]:
    """A digest of each sequence, whatever it is padded to."""
    wide = tokens.astype("<u2")
    return [hashlib.blake2b(row.tobytes().rstrip(b"\0"), digest_size=16).digest() for row in wide]


def _check(task: Task, splits: dict[str, Examples]) -> None:
    """A plugin's mistakes show here, not as a wrong accuracy."""
    seen: set[bytes] = set()
    for name in SPLITS:
        if name not in splits or not len(splits[name]):
            raise DataError(
                f"task {task.name} has examples in every split", problem=f"there are none in {name}"
            )
        tokens, targets = splits[name].tokens, splits[name].targets
        n, width = tokens.shape
        if targets.shape != ((n,) if task.n_classes else (n, width)):
            raise DataError(
                "targets are one class or one row a sequence", got=(tokens.shape, targets.shape)
            )
        if width > task.n_positions:
            raise DataError(f"sequences have at most {task.n_positions} tokens", got=width)
        if int(tokens.max()) >= len(task.vocab):
            raise DataError(
                f"tokens lie below the vocabulary's size, {len(task.vocab)}", got=int(tokens.max())
            )
        if targets.min() < 0 or targets.max() >= (task.n_classes or len(task.vocab)):
            raise DataError(
                "targets are classes or tokens",
                problem=f"targets lie in {targets.min()}..{targets.max()}",
            )
        holes = (tokens[:, :-1] == PADDING) & (tokens[:, 1:] != PADDING)
        if holes.any() or not tokens[:, :1].all():
            raise DataError(
                "sequences are padded at their ends only, and none is empty",
                problem=f"{name} of task {task.name} is padded elsewhere",
            )
        keys = set(row_keys(tokens))
        if keys & seen:
            raise DataError(
                "splits share no sequence",
                problem=f"{len(keys & seen)} sequences of {name} are in an earlier split",
            )
        seen |= keys
