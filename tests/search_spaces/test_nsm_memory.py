"""The `nsm-memory` space: its conformance, its mixtures beside their parts, a whole run on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.data import load_corpus
from clso.errors import RunFolderError
from clso.models.gpt2 import text_loss
from clso.models.memory import MemoryModel, distribution_loss
from clso.models.nsm import SimpleNSM
from clso.models.sampling import Sampling, sample
from clso.models.store import load_model, save_model
from clso.plugins import load
from clso.run import evolve
from clso.run.export import export_run
from clso.run.finished import evaluate_run
from clso.search_spaces.gpt2_memory.genes import MEMORY_GENES
from clso.search_spaces.nsm.space import NSMSpace
from clso.search_spaces.nsm_memory import NSMMemorySpace
from clso.space.context import SpaceContext
from clso.testing import SpaceConformance

SIZES: dict[str, Any] = {"n_layers": 1, "d_model": 32, "n_heads": 2, "n_positions": 32}


@pytest.fixture(scope="module")
def short_path(english_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that is counted, and read-outs fitted on, in no time."""
    path = tmp_path_factory.mktemp("text") / "short.txt"
    path.write_text(english_path.read_text(encoding="utf-8")[:30_000], encoding="utf-8")
    return path


def make_context(path: Path) -> SpaceContext:
    return SpaceContext(
        load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
        fitness_tokens=(256, 1024),
        options=SIZES,
    )


@pytest.fixture(scope="module")
def space(short_path: Path) -> NSMMemorySpace:
    return NSMMemorySpace(make_context(short_path))


class TestConformance(SpaceConformance):
    max_examples = 3
    other_process = False  # the random library of `nsm` goes there: torch takes seconds to import

    @pytest.fixture(autouse=True)
    def _path(self, short_path: Path) -> None:
        type(self).path = short_path  # type: ignore[attr-defined]

    def make_space(self) -> NSMMemorySpace:
        return NSMMemorySpace(make_context(self.path))  # type: ignore[attr-defined]


def test_a_mixture_is_better_than_its_parts(space: NSMMemorySpace, short_path: Path) -> None:
    blocks, (genome, *_) = space.blocks("valid"), space.seeds()
    at = space.n_grown + list(MEMORY_GENES).index("memory.grown")
    alone = (*genome[:at], 0, *genome[at + 1 :])
    machine = NSMSpace(make_context(short_path))
    assert machine.seeds()[0] == genome[: space.n_grown]
    mixed, memory = space.losses([genome, alone], blocks).tolist()
    assert mixed < memory - 5e-4
    assert mixed < machine.losses([genome[: space.n_grown]], blocks).item() - 0.1


def test_a_model_has_its_machine_and_is_read_back(space: NSMMemorySpace, tmp_path: Path) -> None:
    genome, blocks = space.seeds()[0], space.blocks("valid", 512)
    model = space.model(genome)
    assert isinstance(model.lm, SimpleNSM)
    # its weights are fitted on more text than those of the search
    assert space.losses([genome], blocks).item() == pytest.approx(
        text_loss(model, blocks), abs=0.03
    )
    save_model(model, tmp_path)
    for trim in (False, True):
        again = load_model(tmp_path, trim=trim)
        assert isinstance(again, MemoryModel)
        assert text_loss(again, blocks) == pytest.approx(text_loss(model, blocks), abs=1e-5)
    assert distribution_loss(model, blocks[:2]) == pytest.approx(
        text_loss(model, blocks[:2]), abs=1e-5
    )
    drawn = [list(sample(m, [5, 7], 4, Sampling(), seed=3)) for m in (model, again)]
    assert drawn[0] == drawn[1]
    save_model(model.lm, tmp_path)
    assert isinstance(load_model(tmp_path), SimpleNSM)


def test_bytes_are_those_of_the_model(space: NSMMemorySpace) -> None:
    genome = space.seeds()[0]
    model, costs = space.model(genome), space.costs(genome)
    grown = space.grown.costs(genome[: space.n_grown])
    machine = sum(p.numel() * p.element_size() for p in model.lm.parameters())
    assert costs["n_bytes"] - grown["n_bytes"] == model.n_bytes - machine
    hidden = [n for n, _ in model.lm.named_parameters() if ".ln_2." in n or ".mlp." in n]
    n_hidden = sum(model.lm.get_parameter(n).numel() for n in hidden)  # which hold nothing
    assert grown["n_bytes"] == machine - 4 * n_hidden


def test_a_whole_run(tiny: RunConfig, tmp_path: Path, short_path: Path) -> None:
    data = f"text:{short_path}"
    config = replace(tiny, space="nsm-memory", data=data, gens=1, options=SIZES)
    result = evolve(config, tmp_path / "run")
    assert isinstance(load_model(tmp_path / "run" / "best"), MemoryModel)
    evaluated = evaluate_run(tmp_path / "run")
    assert evaluated["loss"] == pytest.approx(result["best"]["test_loss"], abs=1e-5)
    with pytest.raises(RunFolderError, match="exact GPT-2s only"):
        export_run(tmp_path / "run", tmp_path / "exported")


def test_it_is_found_by_name() -> None:
    assert load("search_spaces", "nsm-memory").value is NSMMemorySpace
