"""The `gpt2-memory` space: shared computations are those of whole models; what genes do; a whole run."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from one_mixture import mixed, stages, weights_of
from torch import Tensor

from clso.config import RunConfig
from clso.data import load_corpus
from clso.disk.tensors import load_checked
from clso.errors import ConfigError
from clso.grown.counted_memory import CountedMemory, as_text
from clso.grown.experts import observe
from clso.grown.mixture import mix
from clso.grown.recipes import Stage
from clso.grown.usual import skip_contexts
from clso.models.gpt2 import text_loss
from clso.models.memory import MemoryModel
from clso.models.store import load_model, save_model
from clso.plugins import load
from clso.run import evolve
from clso.run.export import export_run
from clso.run.finished import Winner, evaluate_run
from clso.search_spaces.gpt2_memory import GPT2MemorySpace
from clso.search_spaces.gpt2_memory.genes import (
    MEMORY_GENES,
    default_genome,
    pruning_of,
    recipe_of,
)
from clso.search_spaces.gpt2_memory.mixed import _HAND_SET_STEPS, _STEPS
from clso.search_spaces.gpt2_memory.weights import Blocks, line_losses, lines
from clso.space import Genome
from clso.space.context import SpaceContext
from clso.space.language import token_blocks
from clso.testing import SpaceConformance

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 32}


def make_space(path: Path) -> GPT2MemorySpace:
    return GPT2MemorySpace(
        SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
            fitness_tokens=(256, 1024),
            options=SIZES,
        )
    )


def make_space_like(space: GPT2MemorySpace) -> GPT2MemorySpace:
    """Another one that has measured nothing yet."""
    return GPT2MemorySpace(space.context)


@pytest.fixture(scope="module")
def space(english_path: Path) -> GPT2MemorySpace:
    return make_space(english_path)


class TestConformance(SpaceConformance):
    max_examples = 4

    @pytest.fixture(autouse=True)
    def _path(self, english_path: Path) -> None:
        type(self).path = english_path  # type: ignore[attr-defined]

    def make_space(self) -> GPT2MemorySpace:
        return make_space(self.path)  # type: ignore[attr-defined]


def with_allele(space: GPT2MemorySpace, name: str, value: object) -> Genome:
    genome, at = space.seeds()[0], space.n_grown + list(MEMORY_GENES).index(name)
    return (*genome[:at], MEMORY_GENES[name].index(value), *genome[at + 1 :])


@pytest.mark.parametrize("seed", range(6))
def test_touched_contexts_say_what_whole_tables_say(space: GPT2MemorySpace, seed: int) -> None:
    alleles = space.sample(random.Random(seed))[space.n_grown :]
    recipe, pruning = recipe_of(alleles, space.statistics.order), pruning_of(alleles)
    blocks = space.blocks("fitness", 512)
    v = space.corpus.vocab_size
    text, contexts = as_text(space.corpus.tokens("statistics"), v), skip_contexts(recipe)
    memory = CountedMemory(text, v, recipe.order, pruning, contexts, space._classes)
    whole = observe(memory, recipe, blocks)
    seen = Blocks(space.statistics, blocks).observed([recipe], [pruning], recipe)
    torch.testing.assert_close(seen.base, whole.base)
    assert torch.allclose(seen.experts, whole.experts, atol=1e-6, rtol=1e-5)
    assert torch.equal(seen.slots, whole.slots)


def fitted_one_by_one(space: GPT2MemorySpace, wanted: list[Genome]) -> list[list[Tensor]]:
    """Weights of settings of the memory's genes as `_weights` fits them, by the plain way."""
    first = default_genome()
    grown = space._fit.grown[space.grown.seeds()[0]]
    hand_set: dict[str, Tensor] = {}
    out = []
    for alleles in [first, *wanted]:
        recipe = recipe_of(alleles, space.statistics.order)
        base, found = stages(recipe, space._fit.blocks.terms([recipe], [pruning_of(alleles)])[0])
        found = [
            (grown if stage.kind == "grown" else p, bucket)
            for stage, (p, bucket) in zip(recipe.stages, found, strict=True)
        ]
        alike = recipe.rule == "full" and alleles != first
        start = [
            hand_set[stage.name] if alike and stage.name in hand_set else base.new_full((n,), 0.1)
            for stage, n in zip(recipe.stages, recipe.sizes, strict=True)
        ]
        steps = _HAND_SET_STEPS if alleles == first else _STEPS
        weights = weights_of(base, found, recipe.sizes, steps, start)
        hand_set = hand_set or dict(zip((s.name for s in recipe.stages), weights, strict=True))
        out.append(weights)
    return out[1:]


@pytest.fixture(scope="module")
def settings(space: GPT2MemorySpace) -> list[Genome]:
    """The hand-set genome, and others of all rules, with and without each expert."""
    rng = random.Random(3)
    return [default_genome(), *(space.sample(rng)[space.n_grown :] for _ in range(7))]


def test_all_at_once_is_one_by_one(
    space: GPT2MemorySpace, settings: list[Genome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU computes settings together, which a CPU can, too."""
    monkeypatch.setattr(Blocks, "at_once", lambda *_: len(settings))
    own = make_space_like(space)
    together = own._weights(settings)
    blocks = own._looked_at(space.blocks("fitness", 1024))
    found = blocks.lines(own, settings)
    expected = fitted_one_by_one(own, settings)
    p = torch.rand(len(blocks.blocks.blocks) * 32, dtype=torch.float64)
    for i, alleles in enumerate(settings):
        recipe = recipe_of(alleles, own.statistics.order)
        weights = own._own_weights(recipe, together[i])
        for w, e in zip(weights, expected[i], strict=True):
            torch.testing.assert_close(w, e, atol=1e-12, rtol=0)
        base, plain = stages(recipe, blocks.blocks.terms([recipe], [pruning_of(alleles)])[0])
        plain = [
            (p if stage.kind == "grown" else q, bucket)
            for stage, (q, bucket) in zip(recipe.stages, plain, strict=True)
        ]
        a, b = found[alleles]
        torch.testing.assert_close(a + b * p, mixed(base, plain, weights), atol=1e-12, rtol=0)


def test_company_does_not_change_a_bit_of_a_setting(
    space: GPT2MemorySpace, settings: list[Genome], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = space.blocks("fitness", 1024)
    alone = space._looked_at(blocks).lines(space, settings)  # a CPU goes one by one
    monkeypatch.setattr(Blocks, "at_once", lambda *_: 5)
    together = make_space_like(space)
    found = together._looked_at(blocks).lines(together, settings[::-1])
    for alleles in settings:
        assert torch.equal(space._weights([alleles]), together._weights([alleles]))
        for one, other in zip(alone[alleles], found[alleles], strict=True):
            assert torch.equal(one, other)


def test_a_candidate_is_a_line_in_its_grown_part(space: GPT2MemorySpace) -> None:
    alleles, blocks = space.seeds()[0][space.n_grown :], space.blocks("fitness", 512)
    seen = space._observed(Blocks(space.statistics, blocks), [alleles])
    weights = space._weights([alleles])
    a, b = lines(seen, weights)
    grown = torch.rand(3, a.shape[1], dtype=torch.float64)
    expected = []
    for p in grown:
        seen.fill_in(p)
        loss = -mix(seen.base, seen.experts, seen.slots, weights).log().mean()
        expected.append(loss.item())
    assert line_losses(a, b, grown).tolist() == pytest.approx(expected, abs=1e-9)


def test_the_search_measures_nearly_what_the_model_loses(space: GPT2MemorySpace) -> None:
    """The weights differ: the search fits them on less text and with the hand-set grown part."""
    blocks, genome = space.blocks("valid"), space.seeds()[0]
    assert space.losses([genome], blocks).item() == pytest.approx(
        text_loss(space.model(genome), blocks), abs=0.03
    )


def test_company_and_order_do_not_change_a_bit(space: GPT2MemorySpace, english_path: Path) -> None:
    rng = random.Random(1)
    genomes = [space.sample(rng) for _ in range(6)]
    alone = [
        make_space(english_path).losses([g], space.blocks("fitness", 1024)).item()
        for g in genomes[:2]
    ]
    together = space.losses(genomes, space.blocks("fitness", 1024)).tolist()
    assert together[:2] == alone
    assert space.losses(genomes[::-1], space.blocks("fitness", 1024)).tolist() == together[::-1]


def test_each_expert_earns_something(space: GPT2MemorySpace) -> None:
    blocks = space.blocks("valid")
    off = [("memory.order", 2), ("memory.grown", False), ("past.matches", 0)]
    genomes = [space.seeds()[0], *(with_allele(space, name, value) for name, value in off)]
    best, *worse = space.losses(genomes, blocks).tolist()
    assert all(loss > best - 0.005 for loss in worse)


def test_bytes_are_those_of_the_model(space: GPT2MemorySpace) -> None:
    for value in ((1, 1, 1), (1, 2, 2)):
        genome = with_allele(space, "memory.cut", value)
        grown = space.grown.costs(genome[: space.n_grown])["n_bytes"]
        model = space.model(genome)
        lm = sum(p.numel() * p.element_size() for p in model.lm.parameters())
        assert space.costs(genome)["n_bytes"] - grown == model.n_bytes - lm


def test_no_gpt2_is_grown_or_written_that_says_nothing(
    space: GPT2MemorySpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = with_allele(space, "memory.grown", False)
    monkeypatch.setattr(space.grown, "model", pytest.fail)
    save_model(space.model(silent), tmp_path)
    monkeypatch.undo()
    read = load_model(tmp_path)
    assert isinstance(read, MemoryModel)
    assert read.lm.config.d_model == 2
    assert read.config.n_positions == space.config.n_positions
    blocks = space.blocks("valid", 512)
    measured = space.losses([silent], blocks).item()
    assert text_loss(read, blocks) == pytest.approx(measured, abs=0.03)
    speaking = space.model(space.seeds()[0])
    assert read.n_bytes < speaking.n_bytes


def test_counts_are_read_from_the_cache_and_counted_anew_if_damaged(
    english_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLSO_CACHE", str(tmp_path))
    first = make_space(english_path).statistics.counts
    (path,) = (tmp_path / "statistics").glob("*ngrams*.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    again = make_space(english_path).statistics.counts
    assert load_checked(path), "written anew, and whole"
    third = make_space(english_path).statistics.counts
    for a, b, c in zip(first.levels, again.levels, third.levels, strict=True):
        assert torch.equal(a.keys, b.keys)
        assert torch.equal(a.count, c.count)
        assert torch.equal(a.continuation, c.continuation)


def test_a_whole_run(tiny: RunConfig, tmp_path: Path) -> None:
    sizes = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 32}
    config = replace(tiny, space="gpt2-memory", gens=2, options=sizes)
    result = evolve(config, tmp_path / "run")
    model = load_model(tmp_path / "run" / "best")
    assert isinstance(model, MemoryModel)
    evaluated = evaluate_run(tmp_path / "run")
    assert evaluated["loss"] == pytest.approx(result["best"]["test_loss"], abs=1e-5)
    export_run(tmp_path / "run", tmp_path / "exported")
    assert isinstance(load_model(tmp_path / "exported"), MemoryModel)
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "a model with a higher loss" in card
    assert f"| test | {result['best']['test_loss']:.4f} |" in card
    _same_loss_through_generate(tmp_path / "exported", Winner.open(tmp_path / "run"))


def _same_loss_through_generate(folder: Path, winner: Winner) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from clso.hf import ClsoMemory

    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    memory = ClsoMemory.from_pretrained(folder)
    blocks = token_blocks(winner.corpus.tokens("test"), winner.model.config.n_positions)[:1]
    total = 0.0
    for block in blocks:
        for t in range(1, len(block)):
            past = block[None, :t]
            out = theirs.generate(
                past,
                attention_mask=torch.ones_like(past),
                logits_processor=[memory],
                max_new_tokens=1,
                do_sample=False,
                temperature=None,
                output_scores=True,
                return_dict_in_generate=True,
                pad_token_id=0,
            )
            total -= float(out.scores[0][0, block[t]])
    loss = total / blocks[:, 1:].numel()
    assert loss == pytest.approx(text_loss(winner.model, blocks), abs=1e-4)


def test_it_is_found_by_name() -> None:
    assert load("search_spaces", "gpt2-memory").value is GPT2MemorySpace


def test_blocks_that_weights_are_fitted_on_are_looked_at_once(
    space: GPT2MemorySpace, settings: list[Genome]
) -> None:
    blocks = space._fit.blocks.blocks[1:4]
    genomes = [(*space.seeds()[0][: space.n_grown], *alleles) for alleles in settings]
    apart = make_space_like(space)
    apart._known[id(blocks)] = type(space._fit)(Blocks(apart.statistics, blocks))
    assert space._looked_at(blocks).places is not None
    torch.testing.assert_close(
        space.losses(genomes, blocks), apart.losses(genomes, blocks), rtol=0, atol=1e-12
    )


@pytest.fixture(scope="module")
def bilinear(space: GPT2MemorySpace) -> GPT2MemorySpace:
    return GPT2MemorySpace(replace(space.context, options={**SIZES, "bilinear_tokens": 1024}))


def test_a_log_bilinear_expert_is_one_more_stage(
    space: GPT2MemorySpace, bilinear: GPT2MemorySpace
) -> None:
    genome, blocks = bilinear.seeds()[0], bilinear.blocks("fitness", 256)
    model = bilinear.model(genome)
    assert "bilinear" in [stage.name for stage in model.recipe.stages]
    more = bilinear.costs(genome)["n_bytes"] - space.costs(genome)["n_bytes"]
    assert bilinear.bilinear is not None
    weights = dict(zip(model.recipe.stages, model.recipe.sizes, strict=True))[Stage("bilinear")]
    assert more == bilinear.bilinear.n_bytes + 8 * weights
    assert float(bilinear.losses([genome], blocks)[0]) == pytest.approx(
        text_loss(model, blocks),
        abs=0.05,  # which has weights of more text
    )
    block = blocks[:1]
    log_p = model(block[:, :-1])
    assert float((log_p.exp().sum(-1) - 1).abs().max()) < 1e-6
    found = -log_p[0].gather(1, block[0, 1:, None])[:, 0]
    torch.testing.assert_close(found.float(), model.token_losses(block)[0], rtol=0, atol=1e-4)


def test_a_log_bilinear_expert_is_read_back(bilinear: GPT2MemorySpace, tmp_path: Path) -> None:
    model, blocks = bilinear.model(bilinear.seeds()[0]), bilinear.blocks("test", 256)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(again.token_losses(blocks), model.token_losses(blocks))


def test_tokens_for_a_log_bilinear_expert_are_counted(space: GPT2MemorySpace) -> None:
    with pytest.raises(ConfigError, match="bilinear_tokens"):
        GPT2MemorySpace(replace(space.context, options={"bilinear_tokens": -1}))
