"""Genomes by the genes' names: names and genes are in one order."""

from __future__ import annotations

import pytest

from clso.models.gpt2 import GPT2Config
from clso.search_spaces.gpt2 import genes as gpt2
from clso.search_spaces.gpt2_pointer import genes as pointer
from clso.search_spaces.nsm import genes as nsm

CONFIG = GPT2Config(vocab_size=300, n_positions=32, d_model=32, n_layers=3, n_heads=2)


@pytest.mark.parametrize("mlp", [False, True])
def test_of_gpt2(mlp: bool) -> None:
    genes = gpt2.grown_genes(CONFIG, mlp)
    genome = tuple(range(len(genes)))  # each allele is its own position
    alleles = gpt2.alleles_of(genome)
    assert [alleles[gene.name] for gene in genes] == list(genome)
    assert alleles["mlp"] == (genome[-2] if mlp else 0)


def test_of_gpt2_with_values() -> None:
    values = {name: options[-1] for name, options in gpt2.GAIN_VALUES.items()}
    genome = gpt2.genome_of({"codes": 1, "context": 2, **values})
    alleles = gpt2.alleles_of(genome)
    assert (alleles["codes"], alleles["context"]) == (1, 2)
    assert all(alleles[name] == len(gpt2.GAIN_VALUES[name]) - 1 for name in values)


def test_a_value_that_a_gain_does_not_have_is_refused() -> None:
    values = {name: options[0] for name, options in gpt2.GAIN_VALUES.items()}
    with pytest.raises(ValueError, match="not in tuple"):
        gpt2.genome_of({"codes": 0, "context": 0, **values, "copy.gain": 0.123})


def test_of_the_pointer() -> None:
    genes = pointer.pointer_genes(CONFIG)
    genome = tuple(range(len(genes)))
    alleles = pointer.alleles_of(genome)
    assert [alleles[gene.name] for gene in genes] == list(genome)


def test_of_nsm() -> None:
    genes = nsm.grown_genes(CONFIG, 20)
    genome = tuple(range(len(genes)))
    alleles = nsm.shared_alleles(genome)
    for layer, own in enumerate(nsm.layer_alleles(genome)):
        alleles |= {f"{layer}.{name}": allele for name, allele in own.items()}
    assert [alleles[gene.name] for gene in genes] == list(genome)


def test_default_nsm_genomes_are_valid_and_differ_in_later_layers_alone() -> None:
    off, routed = nsm.default_genome(CONFIG)
    genes = nsm.grown_genes(CONFIG, 20)
    for genome in (off, routed):
        assert all(0 <= a < len(gene) for a, gene in zip(genome, genes, strict=True))
    assert nsm.shared_alleles(off) == nsm.shared_alleles(routed)
    assert nsm.layer_alleles(off)[0] == nsm.layer_alleles(routed)[0]
    assert [gain for _, gain in nsm.layers_of(off)] == [0.8, 0.0, 0.0]
    assert [gain for _, gain in nsm.layers_of(routed)] == [0.8, 0.6, 0.6]
