"""The `nsm` space: its conformance, what its parts do, and a whole run."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.config import RunConfig
from clso.data import load_corpus
from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import text_loss
from clso.models.nsm import SimpleNSM
from clso.models.store import load_model, save_model
from clso.report.draw import draw_report
from clso.run import evolve, resume
from clso.run.export import export_run
from clso.run.finished import evaluate_run
from clso.search.generations import Interrupted
from clso.search_spaces.nsm.genes import READS
from clso.search_spaces.nsm.grown import GrownNSM
from clso.search_spaces.nsm.space import NSMSpace
from clso.space import Genome
from clso.space.context import SpaceContext
from clso.tasks.base import load_task
from clso.tasks.scoring import score
from clso.testing import SpaceConformance

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 64}


def make_space(path: Path, library: str = "grown", **sizes: int) -> NSMSpace:
    return NSMSpace(
        SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
            fitness_tokens=(256, 512),
            options={"library": library, "library_size": 14, **(SIZES | sizes)},
        )
    )


@pytest.fixture(scope="module")
def space(english_path: Path) -> NSMSpace:
    return make_space(english_path)


def changed(space: NSMSpace, **alleles: str) -> Genome:
    """The default genome with other alleles, by gene; layer 0's genes begin with `first_`."""
    genome = list(space.seeds()[0])
    names = [gene.name for gene in space.genes]
    for name, label in alleles.items():
        at = names.index(name.replace("first_", "0.").replace("second_", "1."))
        genome[at] = space.genes[at].choices.index(label)
    return tuple(genome)


class TestGrown(SpaceConformance):
    max_examples = 3
    other_process = (
        False  # the random library's test below goes there: torch takes seconds to import
    )

    def make_space(self) -> NSMSpace:
        return make_space(self.path, n_layers=1)

    @pytest.fixture(autouse=True)
    def text(self, english_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A short text: a read-out is then fitted in no time."""
        if "path" not in type(self).__dict__:
            type(self).path = tmp_path_factory.mktemp("text") / "short.txt"
            self.path.write_text(
                english_path.read_text(encoding="utf-8")[:30_000], encoding="utf-8"
            )

    path: Path


class TestRandom(TestGrown):
    other_process = True

    def make_space(self) -> NSMSpace:
        return make_space(self.path, "random", n_layers=1)


def test_a_winner_is_on_disk_what_was_measured(space: NSMSpace, tmp_path: Path) -> None:
    blocks = space.blocks("valid", 512)
    rng = random.Random(0)
    genomes = [
        *space.seeds(),
        *(space.sample(rng) for _ in range(4)),
        changed(space, gate="lstm", second_gain="0.6"),
    ]
    for genome, loss in zip(genomes, space.losses(genomes, blocks).tolist(), strict=True):
        save_model(space.model(genome), tmp_path / "best")
        loaded = load_model(tmp_path / "best")
        assert isinstance(loaded, SimpleNSM)
        assert text_loss(loaded, blocks) == pytest.approx(loss, abs=1e-4)


def test_costs_are_those_of_the_module(space: NSMSpace, english_path: Path) -> None:
    random_space, rng = make_space(english_path, "random"), random.Random(0)
    for _ in range(5):
        genome = random_space.sample(rng)
        model, n = random_space.model(genome), random_space.config.n_positions
        n_params = sum(p.numel() for p in model.parameters())
        assert random_space.costs(genome) == {
            "flops": model.forward_flops(n) / n,
            "n_params": n_params,
        }
    one, two = (space.costs(changed(space, second_gain=gain)) for gain in ("0", "0.6"))
    none = space.costs(changed(space, first_gain="0"))
    vocab, d = space.corpus.vocab_size, space.config.d_model
    assert none == {"flops": 2 * vocab * d, "n_params": 2 * vocab * d + 2 * d}  # codes only
    for name in space.cost_names:
        assert two[name] - one[name] == one[name] - none[name] > 0


def test_without_read_outs_it_is_the_bigram_model(space: NSMSpace) -> None:
    assert isinstance(space.source, GrownNSM)
    blocks = space.blocks("valid", 1024)
    codes = space.source._codes(0)
    logits = codes.a[blocks[:, :-1]] @ codes.b.T + codes.log_p
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten()).item()
    assert space.losses([changed(space, first_gain="0")], blocks).item() == pytest.approx(
        loss, abs=2e-3
    )


def test_a_winners_read_outs_are_fitted_together(space: NSMSpace) -> None:
    blocks = space.blocks("valid")
    for genome, less, n_live in (
        (space.seeds()[1], 0.005, 2),
        (changed(space, first_gain="0"), 0.0, 0),
    ):
        final = space.final_model(genome)
        assert isinstance(space.source, GrownNSM)
        grown = space.source.on_all_text(genome).model(genome)
        after = final.state_dict()
        different = {
            name for name, p in grown.state_dict().items() if not torch.equal(p, after[name])
        }
        assert different == {f"blocks.{i}.mixer.out.weight" for i in range(n_live)}
        assert text_loss(final, blocks) <= text_loss(grown, blocks) - less


def test_random_crystals_stay_near_knowing_nothing(english_path: Path) -> None:
    space = make_space(english_path, "random")
    rng = random.Random(0)
    losses = space.losses([space.sample(rng) for _ in range(8)], space.blocks("valid", 512))
    assert float(losses.min()) > math.log(space.corpus.vocab_size) - 0.5


@pytest.mark.parametrize("gate", ["gru", "lstm"])
def test_states_carry_what_the_window_has_lost(tmp_path: Path, gate: str) -> None:
    """Paragraphs in one of two dialects: which one it is shows at its start only, so that windows
    of 16 tokens miss it."""
    rng = random.Random(0)
    paragraphs = []
    for _ in range(500):
        north = rng.random() < 0.5
        opening = " ".join([("north" if north else "south")] * 6)
        filler = " ".join(rng.choice(["one", "two", "three"]) for _ in range(10))
        paragraphs.append(
            f"{opening} {filler} " + " ".join("go up." if north else "go down." for _ in range(12))
        )
    (tmp_path / "dialects.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    space = make_space(tmp_path / "dialects.txt", n_layers=1)
    blocks = space.blocks("valid")
    off, states = (
        changed(space, gate=gate, chunk="8", first_leak="64", first_read="states", first_gain=gain)
        for gain in ("0", "1")
    )
    without, with_states = space.losses([off, states], blocks).tolist()
    assert with_states < without - 0.01


def test_every_read_pattern_looks_where_it_says(space: NSMSpace) -> None:
    """Weights on tokens by distance, from a trace of near attention: a lag is a peak, a decaying
    average falls."""
    for at, heads in enumerate(READS):
        label = ", ".join(head.label for head in heads)
        genome = changed(space, heads="2", first_read=label, states="4", chunk="16")
        trace = space.model(genome).trace(space.blocks("valid", 256)[:, :-1])
        # by head, the share that states get
        reading = trace["reading"][0].sum(dim=-1).mean(dim=(0, 2))
        for i, share in enumerate(reading.tolist()):
            wanted = heads[i % len(heads)].states
            assert share == pytest.approx(wanted, abs=0.2), (at, i)


def test_other_libraries_are_refused(english_path: Path) -> None:
    with pytest.raises(ConfigError):
        make_space(english_path, "warm").genes  # noqa: B018


def test_a_whole_run(tmp_path: Path, english_path: Path) -> None:
    config = RunConfig(
        space="nsm",
        gens=3,
        pop=4,
        data=f"text:{english_path}",
        tokenizer="bpe:300",
        surrogate="none",
        fitness_tokens=(256, 512),
        valid_tokens=512,
        energy="null",
        device="cpu",
        options={"n_layers": 1, "d_model": 32, "n_heads": 2, "n_positions": 64},
    )
    out = tmp_path / "run"
    result = evolve(config, out)
    assert result["best"]["test_loss"] < math.log(300)
    assert result["states"]["routing_entropy"]
    assert sum(result["states"]["utilisation"][0]) == pytest.approx(1, abs=1e-3)
    assert evaluate_run(out)["loss"] == pytest.approx(result["best"]["test_loss"], abs=1e-6)
    assert not list(out.rglob("*.p*kl*"))
    with pytest.raises(RunFolderError, match="exact GPT-2s only"):
        export_run(out, tmp_path / "hf")
    assert out / "report" / "states.png" in draw_report(out, [], None)


def test_a_run_on_a_task_beats_chance_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = RunConfig(
        space="nsm",
        task="listops",
        gens=2,
        pop=2,
        surrogate="none",
        finalists=1,
        energy="null",
        device="cpu",
        options={
            "library_size": 14,
            "n_layers": 1,
            "d_model": 16,
            "n_heads": 2,
            "max_length": 29,
            "max_depth": 3,
            "n_train": 2000,
            "n_valid": 200,
            "n_test": 600,
        },
    )
    whole = evolve(config, tmp_path / "whole")
    stops = iter([False, True])
    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "parts", stop=lambda: next(stops, True))
    resumed = resume(tmp_path / "parts")
    assert resumed["best"] == whole["best"]
    assert whole["task"]["task"] == "listops"
    assert whole["task"]["options"]["max_length"] == 29
    # ten classes; always the commonest one is right in 0.17
    assert whole["best"]["test_accuracy"] > 0.2
    assert len(whole["states"]["routing_entropy"]) == 1


def test_only_spaces_that_take_tasks_are_given_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="searched on a text"):
        evolve(RunConfig(space="nk", task="listops"), tmp_path / "run")
    with pytest.raises(ConfigError, match="unknown option of this task"):
        evolve(RunConfig(space="nsm", task="listops", options={"depth": 3}), tmp_path / "run")


def test_tokens_that_are_asked_for_are_read_out(tmp_path: Path) -> None:
    """What was said three tokens ago lies in the window of attention: above chance without any
    training."""
    sizes = {
        "n_train": 1000,
        "n_valid": 100,
        "n_test": 300,
        "n_symbols": 12,
        "min_length": 3,
        "max_length": 3,
    }
    space = NSMSpace.from_context(
        SpaceContext(load_corpus=pytest.fail, task="copy", options=SIZES, task_options=sizes)
    )
    rng = random.Random(0)
    best = space.conclude(
        min((space.sample(rng) for _ in range(4)), key=lambda g: _error(space, g)), tmp_path
    )["best"]
    assert best["n_test_examples"] == 900
    assert best["chance"] < 0.15
    assert best["test_accuracy"] > 2 * best["chance"]


def test_a_winner_says_more_than_candidates_since_its_last_layer_is_fitted(tmp_path: Path) -> None:
    sizes = {"n_train": 3000, "n_valid": 50, "n_test": 500, "max_length": 29, "max_depth": 3}
    space: Any = NSMSpace.from_context(
        SpaceContext(
            load_corpus=pytest.fail,
            task="listops",
            options={"n_layers": 1, "d_model": 16, "n_heads": 2, "library_size": 8},
            task_options=sizes,
        )
    )
    test, rng = load_task("listops", sizes).split("test"), random.Random(0)
    genomes = [space.sample(rng) for _ in range(3)]
    candidates = [score(space.model(genome), test).accuracy for genome in genomes]
    winners = [space.conclude(genome, tmp_path)["best"]["test_accuracy"] for genome in genomes]
    assert sum(winners) / 3 > sum(candidates) / 3 + 0.015  # 0.036 more when this was written


def _error(space: Any, genome: Genome) -> float:
    return float(space.objective().evaluate([genome], 0)[0].value)
