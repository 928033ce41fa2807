"""The `vsla` space: candidates cost and lose what the model on disk does, and a run ends with models that can be read."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.config import RunConfig
from clso.data import load_corpus
from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import GPT2, text_loss
from clso.models.store import load_model, save_model
from clso.models.vsla import VSLA
from clso.run.export import export_run
from clso.run.finished import evaluate_run
from clso.run.run import evolve
from clso.search_spaces.gpt2.genes import CONTEXTS, GAIN_VALUES
from clso.search_spaces.vsla.options import KINDS, kinds_of
from clso.search_spaces.vsla.space import VSLASpace
from clso.space import Genome, SearchSpace
from clso.space.context import SpaceContext
from clso.testing import SpaceConformance


def space_of(path: Path, library: str = "grown", **options: Any) -> VSLASpace:
    context = SpaceContext(
        load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
        fitness_tokens=(512, 2048),
        options={
            "library": library,
            "library_size": 14,
            "n_layers": 2,
            "d_model": 32,
            "n_heads": 2,
            "n_positions": 256,
            **options,
        },
    )
    space = VSLASpace.from_context(context)
    assert isinstance(space, VSLASpace)
    return space


@pytest.fixture(scope="module")
def space(english_path: Path) -> VSLASpace:
    found = space_of(english_path)
    found.prepare()
    return found


@pytest.fixture(scope="module")
def blind(english_path: Path) -> VSLASpace:
    """No head of which may see everything, so that all heads have the same choices."""
    found = space_of(english_path, patterns="local,sparse,pyramid,adaptive")
    found.prepare()
    return found


def with_heads(space: VSLASpace, *labels: str) -> Genome:
    """The hand-set weights, all three heads of which are in use: previous token, context, copy."""
    own, genes = space.seeds()[0][: space.source.n_own], space.genes[space.source.n_own :]
    picks = (g.choices.index(label) for g, label in zip(genes, labels, strict=True))
    return (*own, *picks)


class TestGrown(SpaceConformance):
    max_examples = 5
    other_process = False
    library = "grown"

    @pytest.fixture(autouse=True)
    def _text(self, english_path: Path) -> None:
        self.path = english_path

    def make_space(self) -> SearchSpace:
        return space_of(self.path, self.library)


class TestRandom(TestGrown):
    library = "random"


@pytest.mark.parametrize("library", ["grown", "random"])
def test_a_candidate_loses_what_its_model_does(english_path: Path, library: str) -> None:
    space = space_of(english_path, library)
    rng = random.Random(0)
    genomes = [*space.seeds(), *(space.sample(rng) for _ in range(6))]
    text = space.text("valid", 2000)
    alone = [text_loss(space.model(genome), text) for genome in genomes]
    assert space.losses(genomes, text).tolist() == pytest.approx(
        alone, rel=5e-4
    )  # near-equal blocks are chosen either way


def test_texts_are_whole_documents(space: VSLASpace) -> None:
    text = space.text("valid")
    lengths = space.corpus.document_lengths("valid")
    assert text.n_targets == sum(lengths) - len(lengths)  # each token but a document's first, once
    assert max(text.offsets.diff()) <= 256
    assert sum(space.corpus.document_lengths("fitness")) == len(space.corpus.tokens("fitness"))
    assert len(set(text.offsets.diff().tolist())) > 3
    assert space.text("fitness", 600).n_targets <= 600


def test_seeds_have_all_that_their_heads_need(space: VSLASpace, blind: VSLASpace) -> None:
    (seed,) = space.seeds()
    assert space.model(seed).config.patterns == ("local:2+local:38", "full+full")
    assert blind.model(blind.seeds()[0]).config.patterns == (
        "local:128+local:128",
        "local:128+full",
    )


def test_a_head_is_offered_no_window_that_its_weights_do_not_reach(space: VSLASpace) -> None:
    previous, context, copy = (g.choices for g in space.genes if g.name.endswith(".pattern"))
    others = copy[8:]
    assert previous == ("local:auto", *others)
    assert context[:8] == ("local:auto", *(f"local:{w}" for w in (128, 64, 32, 16, 8, 4, 2)))
    assert copy[:8] == ("full", *(f"local:{w}" for w in (128, 64, 32, 16, 8, 4, 2)))
    assert {p.partition(":")[0].split()[0] for p in others} == {"sparse", "pyramid", "adaptive"}


def test_the_windows_that_weights_reach_lose_nothing(space: VSLASpace, english_path: Path) -> None:
    everything = space_of(english_path, patterns="full")
    everything.prepare()
    names = [gene.name for gene in space.genes]

    def with_context(allele: int) -> Genome:
        genome = list(space.seeds()[0])
        genome[names.index("context")] = allele
        genome[names.index("context.gain")] = len(GAIN_VALUES["context.gain"]) - 1
        return tuple(genome)

    genomes = [with_context(allele) for allele in range(len(CONTEXTS))]
    text = space.text("valid", 2000)
    full = everything.losses(genomes, text).tolist()
    assert space.losses(genomes, text).tolist() == pytest.approx(full, abs=1e-6)
    # a decaying average of 8 or 12 tokens falls over two thirds of the 256
    kept = [space.costs(genome)["kv_bytes"] / (2 * 4 * 16) - 2 - 256 for genome in genomes]
    assert kept == [18, 38, 62, 255, 256]
    # 8 tokens are too few for a decaying average
    narrow = [(*genome[:-2], 4, 0) for genome in genomes]  # local:8
    lost = [a - b for a, b in zip(space.losses(narrow, text).tolist(), full, strict=True)]
    assert min(map(abs, lost[1:])) > 1e-4


def test_costs_follow_the_patterns(space: VSLASpace, blind: VSLASpace, english_path: Path) -> None:
    everything = space_of(english_path, patterns="full")
    full = everything.costs(with_heads(everything, *["full"] * 3))
    local, sparse, pyramid = (
        blind.costs(with_heads(blind, *[label] * 3))
        for label in ("local:8", "sparse:16:2", "pyramid:8")
    )
    assert full["kv_bytes"] == 2 * 4 * 16 * 256 * 3
    assert local["kv_bytes"] == 2 * 4 * 16 * 8 * 3
    assert sparse["kv_bytes"] == full["kv_bytes"]
    assert local["kv_bytes"] < pyramid["kv_bytes"] < full["kv_bytes"]
    assert max(local["flops"], sparse["flops"], pyramid["flops"]) < full["flops"]
    assert local["n_params"] == full["n_params"]
    assert space.costs(space.seeds()[0])["kv_bytes"] == 2 * 4 * 16 * (2 + 38 + 256)


@pytest.mark.parametrize(
    ("gain", "off"), [("context.gain", ["h.0.1"]), ("copy.gain", ["h.0.0", "h.1.0"])]
)
def test_patterns_of_a_head_that_is_off_make_no_difference(
    blind: VSLASpace, gain: str, off: list[str]
) -> None:
    names = [gene.name for gene in blind.genes]
    local, wide = ([*with_heads(blind, *[label] * 3)] for label in ("local:8", "local:128"))
    local[names.index(gain)] = wide[names.index(gain)] = 0
    for name in names:
        if name.startswith("h.") and name.rpartition(".")[0] not in off:
            local[names.index(name)] = wide[names.index(name)]
    one, other = tuple(local), tuple(wide)
    assert one != other
    assert blind.key(one) == blind.key(other)
    assert blind.costs(one) == blind.costs(other)
    patterns = blind.decode(one)["patterns"]
    assert patterns == blind.decode(other)["patterns"]
    assert "+".join(patterns).count("full") == len(off) + 1


def test_only_heads_that_can_add_something_have_genes(space: VSLASpace, english_path: Path) -> None:
    def heads(space: VSLASpace) -> list[str]:
        return [g.name[2:-8] for g in space.genes if g.name.endswith(".pattern")]

    assert heads(space) == ["0.0", "0.1", "1.0"]
    wide = space_of(english_path, n_layers=3, n_heads=4)
    assert heads(wide) == heads(space)
    assert len(heads(space_of(english_path, "random", n_layers=3, n_heads=4))) == 12


def test_a_perplexity_stores_its_unigrams(space: VSLASpace) -> None:
    entropy, perplexity = (
        with_heads(space, *[f"adaptive {signal} 0.5"] * 3) for signal in ("entropy", "perplexity")
    )
    stored = space.costs(perplexity)["n_params"] - space.costs(entropy)["n_params"]
    assert stored == space.config.vocab_size
    model = space.model(perplexity)
    assert model.unigram_log_p is not None
    assert model.unigram_log_p.exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_a_model_comes_back_from_disk(space: VSLASpace, tmp_path: Path) -> None:
    genome = with_heads(space, "local:auto", "sparse:16:2", "adaptive perplexity 0.5")
    model = space.model(genome)
    save_model(model, tmp_path)
    found = load_model(tmp_path)
    assert isinstance(found, VSLA)
    assert found.config == model.config
    assert all(
        torch.equal(a, b)
        for a, b in zip(found.state_dict().values(), model.state_dict().values(), strict=True)
    )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vsla", "patterns": ["ful"]}))
    with pytest.raises(RunFolderError, match="holds a VSLA"):
        load_model(tmp_path)


def test_patterns_that_a_run_may_pick() -> None:
    assert kinds_of("pyramid, full") == ("full", "pyramid")
    with pytest.raises(ConfigError, match=r"'ful'\. Did you mean 'full'"):
        kinds_of("ful")


def test_other_libraries_are_refused(english_path: Path) -> None:
    with pytest.raises(ConfigError, match="warm"):
        space_of(english_path, "warm")


@pytest.fixture(scope="module")
def settings(tiny: RunConfig) -> RunConfig:
    sizes = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 256}
    return replace(tiny, space="vsla", options=sizes, fitness_tokens=(512,), gens=3)


def test_a_front_evaluates_from_disk_and_is_no_gpt2(settings: RunConfig, tmp_path: Path) -> None:
    local = {**settings.options, "patterns": "local"}
    config = replace(settings, objective=("loss", "flops", "kv_bytes"), options=local)
    result = evolve(config, tmp_path / "run")
    assert result["objectives"] == ["fitness_loss", "flops", "kv_bytes"]
    assert len({member["values"]["kv_bytes"] for member in result["front"]}) > 1
    found = evaluate_run(tmp_path / "run", device="cpu")
    assert found["loss"] == pytest.approx(result["best"]["test_loss"], abs=1e-6)
    assert found["n_tokens"] == result["best"]["n_test_tokens"]
    with pytest.raises(RunFolderError, match="see every token"):
        export_run(tmp_path / "run", tmp_path / "hf")


def test_a_winner_that_sees_everything_is_a_gpt2(settings: RunConfig, tmp_path: Path) -> None:
    evolve(replace(settings, options={**settings.options, "patterns": "full"}), tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "hf")
    exported, winner = load_model(tmp_path / "hf"), load_model(tmp_path / "run" / "best")
    assert isinstance(exported, GPT2)
    tokens = torch.arange(60).view(2, 30)
    torch.testing.assert_close(exported(tokens), winner(tokens), atol=1e-5, rtol=1e-5)


def test_every_kind_is_reachable(space: VSLASpace) -> None:
    assert space.source.kinds == KINDS
    rng = random.Random(1)
    labels = {
        p.label.split(":")[0]
        for _ in range(20)
        for layer in space.source.patterns(space.sample(rng))
        for p in layer
    }
    assert labels == set(KINDS)
