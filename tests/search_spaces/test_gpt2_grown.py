"""Grown models on real text that every machine has: they must know what counting knows, and
more."""

from __future__ import annotations

import email
from pathlib import Path

import pytest

from clso.baselines.kneser_ney import KneserNey
from clso.data import load_corpus
from clso.models.gpt2 import text_loss
from clso.search_spaces.gpt2.genes import (
    GAIN_VALUES,
    NEURON_SHARES,
    alleles_of,
    default_genome,
)
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space.context import SpaceContext


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> GPT2Space:
    folder = tmp_path_factory.mktemp("email")
    for source in sorted(Path(email.__file__).parent.rglob("*.py")):
        (folder / f"{source.parent.name}-{source.stem}.txt").write_text(
            source.read_text(encoding="utf-8")
        )
    corpus = load_corpus(f"text:{folder}", "bpe:512", folder / "cache")
    model = {"n_layers": 2, "n_heads": 2, "d_model": 128, "n_positions": 128}
    return GPT2Space(SpaceContext(load_corpus=lambda: corpus, options=model))


def _counted(space: GPT2Space, order: int) -> float:
    """Loss of an n-gram model on the blocks that the models are scored on."""
    tokens, n = space.corpus.tokens("test"), space.config.n_positions
    model = KneserNey(order).fit(space.corpus.tokens("train"), space.config.vocab_size)
    return model.loss(tokens[: (len(tokens) - 1) // n * n + 1], block=n)


def test_a_grown_model_beats_counting(space: GPT2Space) -> None:
    grown = text_loss(space.final_model(default_genome(neurons=True)), space.blocks("test"))
    assert grown < _counted(space, 1) - 1.0, "no wide margin over the unigram"
    assert grown <= _counted(space, 2), "worse than the Kneser-Ney bigram that it was grown from"


@pytest.mark.parametrize("off", ["context.gain", "copy.gain", "neurons"])
def test_each_part_earns_its_place(space: GPT2Space, off: str) -> None:
    values = {**GAIN_VALUES, "neurons": NEURON_SHARES}[off]
    alleles = alleles_of(default_genome(neurons=True)) | {off: values.index(0.0)}
    genome = tuple(alleles[gene.name] for gene in space.genes)
    with_head, without = space.losses(
        [default_genome(neurons=True), genome], space.blocks("valid")
    ).tolist()
    assert with_head < without


def test_the_exported_weights_are_the_searched_ones(space: GPT2Space) -> None:
    blocks = space.blocks("valid", 2048)
    batched = space.losses([default_genome(neurons=True)], blocks).item()
    assert text_loss(space.model(default_genome(neurons=True)), blocks) == pytest.approx(
        batched, abs=1e-4
    )
