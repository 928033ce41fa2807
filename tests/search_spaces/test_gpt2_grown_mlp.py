"""MLP crystals of the grown `gpt2` space."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.data import load_corpus
from clso.grown.context import fit_map
from clso.models.gpt2 import text_loss
from clso.search_spaces.gpt2.genes import (
    GAIN_VALUES,
    MLP_GAIN_VALUES,
    MLPS,
    alleles_of,
    default_genome,
    gene_names,
)
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space.context import SpaceContext

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 2, "n_positions": 32}


@pytest.fixture(scope="module")
def space(english_path: Path) -> GPT2Space:
    context = SpaceContext(
        load_corpus=lambda: load_corpus(f"text:{english_path}", "bpe:300"),
        options={"library": "grown", "mlp": True, "neurons": False, **SIZES},
    )
    return GPT2Space(context)


def with_mlp(genome: tuple[int, ...], mlp: int, gain: float = 1.0) -> tuple[int, ...]:
    return changed(genome, {"mlp": mlp, "mlp.gain": MLP_GAIN_VALUES.index(gain)})


def changed(genome: tuple[int, ...], alleles: dict[str, int]) -> tuple[int, ...]:
    named = alleles_of(genome) | alleles
    return tuple(named[name] for name in gene_names(len(genome)))


def varied(space: GPT2Space) -> list[tuple[int, ...]]:
    """Every MLP allele, off included, under random other genes."""
    rng = random.Random(0)
    return [with_mlp(space.sample(rng), i % len(MLPS), MLP_GAIN_VALUES[i % 3]) for i in range(8)]


def test_the_population_is_the_exported_modules(space: GPT2Space) -> None:
    blocks, genomes = space.blocks("fitness", 1024), varied(space)
    modules = [text_loss(space.model(g), blocks) for g in genomes]
    assert space.losses(genomes, blocks).tolist() == pytest.approx(modules, abs=1e-5)


def test_company_does_not_change_a_bit(space: GPT2Space) -> None:
    blocks, genomes = space.blocks("fitness", 1024), varied(space)
    alone = [space.losses([g], blocks).item() for g in genomes]
    assert space.losses(genomes, blocks).tolist() == alone
    assert space.losses(genomes[::-1], blocks).tolist() == alone[::-1]


def test_units_are_only_computed_for_those_who_have_them(space: GPT2Space) -> None:
    source = space.source
    assert source.population([default_genome(mlp=True)] * 2).units is None  # type: ignore[attr-defined]
    units = source.population(
        [default_genome(mlp=True), with_mlp(default_genome(mlp=True), 1), default_genome(mlp=True)]
    ).units  # type: ignore[attr-defined]
    assert units.members.tolist() == [1]
    assert units.fc.shape == (1, MLPS[1][1], 32)


@pytest.mark.parametrize("mlp", range(1, len(MLPS)))
def test_the_units_add_what_was_fitted(space: GPT2Space, mlp: int) -> None:
    """With the context head off, the code that the units read is the token's own, so that all is
    known exactly."""
    source = space.source
    assert isinstance(source, GrownWeights)
    off = changed(
        default_genome(mlp=True), {"context.gain": GAIN_VALUES["context.gain"].index(0.0)}
    )
    tokens = space.blocks("valid", 128)[:, :-1]
    crystals = source.crystals
    hidden = source.population([off, with_mlp(off, mlp)]).hidden(tokens) @ source.rotation
    hidden = hidden.view(2, *tokens.shape, -1)[:, :, 1:]
    # Codes of a small text are large, and ln_f divides by a norm that they change: position codes
    # tell by how much.
    position = hidden[..., crystals.layout.position_dims].norm(dim=-1, keepdim=True)
    without, with_units = 10 * 2**0.5 * hidden[..., crystals.layout.code_dims] / position
    added = with_units - without
    features, output = crystals.units(off[0], off[1], mlp)
    assert torch.allclose(without, crystals.a[off[0], tokens[:, 1:]], rtol=0.01, atol=0.01)
    expected = features(without) @ output
    assert ((added - expected).norm() / expected.norm()).item() < 0.05


def test_the_price_of_the_mean_is_ordinary_least_squares_at_one() -> None:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(5, (40, 9), generator=generator)
    f_table, r_table = (
        torch.randn(5, 3, generator=generator),
        torch.randn(5, 2, generator=generator),
    )
    f_all = torch.randn(8, 40, 3, generator=generator)

    def regression(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (f_all + f_table[tokens[:-1]])[None], r_table[tokens[1:]]

    fitted = fit_map(blocks, regression, 5, ridge=0.0, between=1.0)
    (f,), r = (rows.flatten(-3, -2) for rows in regression(blocks.T))
    x = blocks[:, :-1].T.flatten()
    r = r - torch.stack([r[x == token].mean(0) for token in range(5)])[x]
    sigma = r.T @ r / (len(x) - 5)
    sigma += sigma.diagonal().mean() * torch.eye(2)
    wanted = torch.linalg.lstsq(f, r).solution @ torch.linalg.inv(sigma)
    assert torch.allclose(fitted.matrix[0], wanted, atol=1e-4)


def test_genes_and_default_genome_belong_together(space: GPT2Space) -> None:
    described = space.source.decode(space.validate(default_genome(mlp=True)))
    assert described["mlp"] == "off"
    assert [g.name for g in space.genes][-2:] == ["mlp", "mlp.gain"]
    for gene, features in zip(space.genes, space.descriptors(), strict=True):
        assert features is None or len(features) == len(gene)
