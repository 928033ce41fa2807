"""The `gpt2-pointer` space: what its genes do, and a whole run."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.config import RunConfig
from clso.data import load_corpus
from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import text_loss
from clso.models.pointer import PointerGPT2
from clso.models.store import load_model
from clso.plugins import load
from clso.run import evolve
from clso.run.export import export_run
from clso.run.finished import evaluate_run
from clso.search_spaces.gpt2_pointer.genes import (
    GAIN_VALUES,
    GENE_NAMES,
    alleles_of,
    default_genome,
)
from clso.search_spaces.gpt2_pointer.space import GPT2PointerSpace
from clso.space.context import SpaceContext

SIZES: dict[str, Any] = {"n_layers": 1, "d_model": 32, "n_heads": 2, "n_positions": 32}


def make_space(path: Path, **sizes: int) -> GPT2PointerSpace:
    return GPT2PointerSpace(
        SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
            fitness_tokens=(256, 1024),
            options=SIZES | sizes,
        )
    )


@pytest.fixture(scope="module")
def space(english_path: Path) -> GPT2PointerSpace:
    return make_space(english_path)


def with_allele(genome: tuple[int, ...], name: str, value: float) -> tuple[int, ...]:
    alleles = alleles_of(genome) | {name: GAIN_VALUES[name].index(value)}
    return tuple(alleles[gene] for gene in GENE_NAMES)


def test_the_population_is_the_exported_modules(space: GPT2PointerSpace) -> None:
    blocks = space.blocks("valid", 256)
    rng = random.Random(0)
    genomes = [default_genome(), *(space.sample(rng) for _ in range(5))]
    genomes += [(c, k, *default_genome()[2:]) for c in (3, 4) for k in (1, 4)]
    modules = [text_loss(space.model(g), blocks) for g in genomes]
    assert space.losses(genomes, blocks).tolist() == pytest.approx(modules, abs=2e-4)


def test_company_and_order_do_not_change_a_bit(space: GPT2PointerSpace) -> None:
    blocks = space.blocks("fitness", 1024)
    rng = random.Random(1)
    genomes = [space.sample(rng) for _ in range(6)]
    alone = [space.losses([g], blocks).item() for g in genomes]
    assert space.losses(genomes, blocks).tolist() == alone
    assert space.losses(genomes[::-1], blocks).tolist() == alone[::-1]


def test_pointer_and_context_both_lower_the_loss(tmp_path: Path) -> None:
    """On a text whose paragraphs keep naming things that no other paragraph names."""
    rng = random.Random(0)
    paragraphs = []
    for _ in range(600):
        name = "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3))
        verbs = [rng.choice(["sees", "takes", "loses", "finds"]) for _ in range(8)]
        paragraphs.append(
            " ".join(f"The {name} {verb} the {rng.choice(['sea', 'moon'])}." for verb in verbs)
        )
    (tmp_path / "names.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    space = make_space(tmp_path / "names.txt", n_positions=64)
    blocks = space.blocks("valid")
    population = space.source.population(
        [default_genome(), with_allele(default_genome(), "context.gain", 0.0)]
    )
    mixed, _ = population.losses(blocks).tolist()
    with_context, without_context = population.lm.losses(blocks).tolist()
    assert mixed < with_context - 0.1
    assert with_context < without_context - 0.02


def test_the_context_heads_add_what_was_fitted(space: GPT2PointerSpace) -> None:
    """Along the code, hidden states are A - gain E + gain f, with f what the maps make of the A
    that heads read."""
    tokens = space.blocks("valid", 64)[:, :-1]
    source, gain, code = space.source, 0.5, 3
    for context in (0, 1):
        part, a = source.context(code, context), source.codes(code).a
        embedded = a - gain * part.maps.expected
        read = torch.cat([embedded, part.spare], 1) @ part.reader(torch.tensor([gain]))[0]
        weight = source.count[:, None].sqrt()
        assert (weight * (read - a)).norm() < 0.2 * (weight * (embedded - a)).norm()
        f = sum(
            p.weights() @ read[tokens] @ down @ up
            for p, down, up in zip(part.patterns, part.maps.down, part.maps.up, strict=True)
        )
        hidden = (
            source.population([(code, context, *default_genome()[2:])])
            .lm.hidden(tokens)
            .view(*tokens.shape, -1)
        )
        logical = hidden @ source.rotation
        added = logical[..., source.code_dims(code)] - embedded[tokens]
        # LayerNorm's division is nearly constant
        assert ((added - gain * f).norm() / (gain * f).norm()).item() < 0.1


def test_the_winner_is_grown_on_all_training_text(space: GPT2PointerSpace) -> None:
    final, searched = space.final_model(default_genome()), space.model(default_genome())
    assert isinstance(final, PointerGPT2)
    assert isinstance(searched, PointerGPT2)
    assert (final.rarity <= searched.rarity).all()
    assert (final.rarity < searched.rarity).any()


def test_genes_and_default_genome_belong_together(space: GPT2PointerSpace) -> None:
    assert space.validate(default_genome()) == default_genome()
    descriptors = space.descriptors()
    assert len(descriptors) == len(space.genes)
    for gene, features in zip(space.genes, descriptors, strict=True):
        assert features is None or len(features) == len(gene)
    assert space.describe(default_genome())["pointer.match"] == "5"


def test_one_head_leaves_contexts_of_one_pattern(english_path: Path) -> None:
    space = make_space(english_path, n_heads=1)
    assert len(space.genes[1]) == 1
    blocks = space.blocks("fitness", 256)
    assert torch.isfinite(space.losses([default_genome()], blocks)).all()


def test_what_cannot_be_grown_is_refused(english_path: Path) -> None:
    with pytest.raises(ConfigError, match="dimensions"):
        make_space(english_path, d_model=8).prepare()


def test_a_whole_run_keeps_the_pointer(tiny: RunConfig, tmp_path: Path) -> None:
    config = replace(tiny, space="gpt2-pointer", gens=3, options=SIZES)
    result = evolve(config, tmp_path / "run")
    assert load("search_spaces", "gpt2-pointer").value is GPT2PointerSpace
    winner = load_model(tmp_path / "run" / "best")
    assert isinstance(winner, PointerGPT2)
    measured = evaluate_run(tmp_path / "run", device="cpu")
    assert measured["loss"] == pytest.approx(result["best"]["test_loss"], abs=1e-6)
    assert measured["loss"] < 0.75 * result["log_vocabulary"]
    with pytest.raises(RunFolderError, match="GPT-2s only"):
        export_run(tmp_path / "run", tmp_path / "export")
    assert not (tmp_path / "export").exists()
