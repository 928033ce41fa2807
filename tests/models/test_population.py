"""The batched forward pass against each candidate alone, and against the ordinary module."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from clso.data import load_corpus
from clso.evaluation.evaluator import LocalEvaluator
from clso.models import population
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.population import PopulationGPT2
from clso.models.tables import BankedTables
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space import Genome
from clso.space.context import SpaceContext
from clso.space.language import LanguageModelObjective, token_blocks

SMALL = {"n_layers": 1, "d_model": 16, "n_heads": 2, "n_positions": 32}
GROWN = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 32}
DEFAULT = {"n_layers": 2, "d_model": 128, "n_heads": 2, "n_positions": 128}


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def make_space(
    path: Any, model: dict[str, int], kind: type[GPT2Space] = GPT2Space, library: str = "random"
) -> GPT2Space:
    context = SpaceContext(
        load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
        fitness_tokens=(256, 1024),
        options={"library": library, "library_size": 14, **model},
    )
    space = kind(context)
    space.prepare()
    return space


def sample(space: GPT2Space, n: int, seed: int = 0) -> list[Genome]:
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(n)]


@pytest.mark.parametrize(
    ("library", "model", "n_tokens"),
    [
        ("random", SMALL, 1024),
        ("random", DEFAULT, 512),
        ("random", SMALL, 65),
        ("grown", GROWN, 1024),
    ],
)
def test_company_and_order_do_not_change_a_bit(
    english_path: Any, library: str, model: dict[str, int], n_tokens: int, threads: int
) -> None:
    space = make_space(english_path, model, library=library)
    blocks = space.blocks("fitness", n_tokens)
    genomes = sample(space, 8)
    # shares both tables with another candidate
    genomes[5] = (
        genomes[2][0],
        *genomes[5][1:-1],
        genomes[2][-1],
    )
    alone = [space.losses([g], blocks).item() for g in genomes]
    assert space.losses(genomes, blocks).tolist() == alone
    assert space.losses(genomes[:3], blocks).tolist() == alone[:3]
    order = [6, 1, 7, 3, 0, 5, 2, 4]
    assert space.losses([genomes[i] for i in order], blocks).tolist() == [alone[i] for i in order]
    assert space.losses([genomes[4]] * 3, blocks).tolist() == [alone[4]] * 3


def test_chunks_of_candidates_do_not_change_a_bit(
    english_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make_space(english_path, SMALL)
    blocks, genomes = space.blocks("fitness"), sample(space, 9)
    whole = space.losses(genomes, blocks).tolist()
    assert len(blocks) > 4 * population._CPU_BLOCKS  # several chunks of blocks
    one = population._CPU_BYTES // population.candidates_per_pass(space.config, torch.device("cpu"))
    for candidates in (1, 2, 4):
        monkeypatch.setattr(population, "_CPU_BYTES", candidates * (one + 1))
        assert population.candidates_per_pass(space.config, torch.device("cpu")) == candidates
        assert space.losses(genomes, blocks).tolist() == whole


@pytest.mark.parametrize(
    ("library", "model", "n_tokens"),
    [("random", SMALL, 2048), ("random", DEFAULT, 512), ("grown", GROWN, 2048)],
)
def test_the_batch_agrees_with_the_module(
    english_path: Any, library: str, model: dict[str, int], n_tokens: int
) -> None:
    space = make_space(english_path, model, library=library)
    blocks, genomes = space.blocks("fitness", n_tokens), sample(space, 6, seed=1)
    batched = space.losses(genomes, blocks)
    modules = [text_loss(space.model(g), blocks) for g in genomes]
    assert batched.tolist() == pytest.approx(modules, abs=1e-5)
    assert batched.std() > 1e-3  # the candidates differ, or agreement would say nothing


def test_every_parameter_of_gpt2_reaches_the_batched_pass() -> None:
    """With gains and biases set, too, which random crystals leave neutral."""
    config = GPT2Config(vocab_size=50, n_positions=8, d_model=16, n_layers=2, n_heads=4)
    generator = torch.Generator().manual_seed(0)
    models = [GPT2(config) for _ in range(3)]
    for model in models:
        for p in model.parameters():
            p.data = 0.3 * torch.randn(p.shape, generator=generator) + (
                1.0 if p.dim() == 1 else 0.0
            )
    states = [m.state_dict() for m in models]
    stacks = {n: torch.stack([s[n] for s in states]) for n in states[0]}
    wte, head = (BankedTables(stacks.pop(f"{n}.weight"), torch.arange(3)) for n in ("wte", "head"))
    batch = PopulationGPT2(config, wte, head, stacks)
    blocks = torch.randint(50, (5, 9), generator=generator)
    assert batch.losses(blocks).tolist() == pytest.approx(
        [text_loss(m, blocks) for m in models], abs=1e-5
    )
    for i, model in enumerate(models):
        for name, value in batch.single(i).state_dict().items():
            assert torch.equal(value, model.state_dict()[name])


def test_a_model_does_not_see_the_token_that_it_predicts() -> None:
    config = GPT2Config(vocab_size=40, n_positions=16, d_model=16, n_layers=2)
    model = GPT2(config).init_weights(torch.Generator().manual_seed(1))
    tokens = torch.randint(40, (1, 16))
    changed = tokens.clone()
    changed[0, 9:] = (changed[0, 9:] + 1) % 40
    with torch.no_grad():
        a, b = model(tokens), model(changed)
    assert torch.equal(a[0, :9], b[0, :9])
    assert not torch.equal(a[0, 9:], b[0, 9:])


class Broken(GPT2Space):
    """Allele 1 of the first gene raises, allele 1 of the second is no number."""

    def losses(self, genomes: Sequence[Genome], blocks: torch.Tensor) -> torch.Tensor:
        if any(g[0] == 1 for g in genomes):
            raise RuntimeError("this crystal is broken")
        out = super().losses(genomes, blocks)
        for i, g in enumerate(genomes):
            if g[1] == 1:
                out[i] = float("nan")
        return out


def test_a_broken_candidate_fails_alone(english_path: Any) -> None:
    space = make_space(english_path, SMALL, Broken)
    good = [(0, 2, *g[2:]) for g in sample(space, 4)]
    objective = LanguageModelObjective(space)
    alone = [objective.evaluate([g], 0)[0] for g in good]
    assert all(e.ok for e in alone)
    genomes = [
        good[0],
        (1, *good[0][1:]),
        good[1],
        (0, 1, *good[1][2:]),
        (1, 1, *good[2][2:]),
        good[2],
        good[3],
    ]
    found = objective.evaluate(genomes, 0)
    assert [e.genome for e in found] == genomes
    assert [e.status for e in found] == ["ok", "failed", "ok", "non_finite", "failed", "ok", "ok"]
    assert [e for e in found if e.ok] == alone
    for e in found:
        assert e.n_tokens == 256
        if not e.ok:
            assert e.values == ()
        if e.status == "failed":
            assert e.error is not None
            assert "Traceback" in e.error
            assert "this crystal is broken" in e.error


class Counted(GPT2Space):
    """Keeps the size of each batch, and raises `error` for those above `largest`."""

    def __init__(self, context: SpaceContext) -> None:
        super().__init__(context)
        self.sizes: list[int] = []
        self.held: list[weakref.ref[torch.Tensor]] = []
        self.largest = 100
        self.error: type[BaseException] = RuntimeError

    def losses(self, genomes: Sequence[Genome], blocks: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(genomes))
        if len(genomes) > self.largest:
            held = torch.zeros(1)
            self.held.append(weakref.ref(held))
            raise self.error("too much")
        # what a failed batch held is free when the next one begins
        assert all(reference() is None for reference in self.held)
        return super().losses(genomes, blocks)


@pytest.mark.parametrize(
    ("error", "largest", "sizes"),
    [
        (RuntimeError, 100, [6]),
        (RuntimeError, 3, [6, 1, 1, 1, 1, 1, 1]),  # whole once, then alone
        (SystemExit, 3, [6, 1, 1, 1, 1, 1, 1]),
        (torch.cuda.OutOfMemoryError, 3, [6, 3, 3]),
        (torch.cuda.OutOfMemoryError, 2, [6, 3, 1, 2, 3, 1, 2]),
    ],
)
def test_a_batch_that_fails_when_it_is_started_is_measured_all_the_same(
    english_path: Any, error: type[BaseException], largest: int, sizes: list[int]
) -> None:
    space = make_space(english_path, SMALL, Counted)
    assert isinstance(space, Counted)
    genomes = sample(space, 6)
    objective = LanguageModelObjective(space)
    expected = [objective.evaluate([g], 0)[0].value for g in genomes]
    space.largest, space.error = largest, error
    space.sizes.clear()
    found = LocalEvaluator(objective).evaluate(genomes, 0)
    assert [e.value for e in found] == pytest.approx(expected, rel=1e-5)
    assert space.sizes == sizes


def test_rungs_are_counted_in_the_tokens_that_are_scored(english_path: Any) -> None:
    space = make_space(english_path, SMALL)
    assert LanguageModelObjective(space).fidelities == (256, 1024)
    n_fitness = len(space.corpus.tokens("fitness"))
    assert space.blocks("fitness").shape == ((n_fitness - 1) // 32, 33)


@pytest.mark.parametrize("n_blocks", [None, 1, 2, 3, 7, 100])
def test_blocks_score_each_target_once_and_spread_over_the_text(n_blocks: int | None) -> None:
    blocks = token_blocks(np.arange(101, dtype=np.uint16), 10, n_blocks)
    assert blocks.shape == (10 if n_blocks is None else min(n_blocks, 10), 11)
    assert blocks.dtype == torch.int64
    assert all(torch.equal(b, torch.arange(int(b[0]), int(b[0]) + 11)) for b in blocks)
    targets = blocks[:, 1:].flatten().tolist()
    assert len(set(targets)) == len(targets)
    assert blocks[0, 0] == 0
    if n_blocks == 2:
        assert blocks[:, 0].tolist() == [0, 50]
