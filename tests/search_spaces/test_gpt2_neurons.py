"""Neurons of grown GPT-2s: each fires on its pair alone, in every precision, wherever it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clso.data import load_corpus
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.hf import save_hf
from clso.models.trimmed import trimmed
from clso.search_spaces.gpt2.genes import (
    NEURON_SHARES,
    alleles_of,
    default_genome,
    gene_names,
    grown_genes,
)
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space import Genome
from clso.space.context import SpaceContext

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 128, "n_heads": 2, "n_positions": 64}
DEEP: dict[str, Any] = {"n_layers": 4, "d_model": 96, "n_heads": 4, "n_positions": 64}


def grown_space(path: Path, **options: Any) -> GPT2Space:
    context = SpaceContext(
        load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"), options=options
    )
    return GPT2Space(context)


@pytest.fixture(scope="module", params=[SIZES, DEEP], ids=["2 layers", "4 layers"])
def space(request: pytest.FixtureRequest, english_path: Path) -> GPT2Space:
    return grown_space(english_path, **request.param)


def with_share(share: float) -> Genome:
    named = alleles_of(default_genome(neurons=True)) | {"neurons": NEURON_SHARES.index(share)}
    return tuple(named[name] for name in gene_names(len(default_genome(neurons=True))))


def source_of(space: GPT2Space) -> GrownWeights:
    assert isinstance(space.source, GrownWeights)
    return space.source


def fired(model: Any, blocks: Tensor) -> list[Tensor]:
    """By layer, which free units are on at each position (N, units), as the layers' GELUs get them."""
    found: list[Tensor] = []
    ours = isinstance(model, GPT2)
    layers: Any = model.h if ours else model.transformer.h
    units = [layer.mlp.fc if ours else layer.mlp.c_fc for layer in layers]
    hooks = [
        u.register_forward_hook(lambda _, __, out: found.append(out.flatten(0, 1)[:, 2:] > 0))
        for u in units
    ]
    with torch.no_grad():
        model(blocks)
    for hook in hooks:
        hook.remove()
    return found


def wanted(space: GPT2Space, tokens: Tensor) -> Tensor:
    """Which of all neurons the pairs of tokens (B, T) are to fire (B T, N)."""
    neurons = source_of(space).neurons
    assert neurons is not None
    targets = source_of(space).crystals.remembered[0]
    previous = torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=-1)  # none at position 0
    return (previous.flatten()[:, None] == targets.previous) & (
        tokens.flatten()[:, None] == targets.current
    )


def spread(on: list[Tensor], n: int) -> Tensor:
    """Units of all layers side by side (N, n), the last layers' unused ones cut off."""
    return torch.cat(on, 1)[:, :n]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_no_neuron_misses_or_fires_falsely_in_transformers(
    space: GPT2Space, tmp_path: Path, dtype: torch.dtype
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    genome = with_share(1.0)
    save_hf(space.model(genome), tmp_path)
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval().to(dtype)
    tokens = space.blocks("fitness", 4096)[:, :-1]
    asked = wanted(space, tokens)
    assert asked.any(1).float().mean() > 0.2  # or silence would pass
    assert asked.any(0).sum() > 40
    on = spread(fired(model, tokens), asked.shape[1])
    assert int((on & ~asked).sum()) == 0, "fires falsely"
    assert int((asked & ~on).sum()) == 0, "misses"


def test_none_fires_on_random_text(space: GPT2Space) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(
        space.config.vocab_size, (32, space.config.n_positions), generator=generator
    )
    asked = wanted(space, tokens)
    on = fired(space.model(with_share(1.0)), tokens)
    assert torch.equal(spread(on, asked.shape[1]), asked)


def test_batch_module_trimmed_module_and_export_agree(space: GPT2Space, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    blocks = space.blocks("fitness", 2048)
    genomes = [with_share(share) for share in NEURON_SHARES]
    batched = space.losses(genomes, blocks).tolist()
    models = [space.model(g) for g in genomes]
    exact = [text_loss(m.double(), blocks) for m in models]
    assert batched == pytest.approx(exact, abs=1e-5, rel=0)
    models = [space.model(g) for g in genomes]
    save_hf(models[-1], tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = theirs(blocks[:, :-1]).logits.double()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten()).item()
    assert loss == pytest.approx(exact[-1], abs=1e-5, rel=0)
    assert [text_loss(trimmed(m), blocks) for m in models] == pytest.approx(exact, abs=1e-5, rel=0)


def test_off_is_the_model_without_neurons(space: GPT2Space, english_path: Path) -> None:
    sizes = {name: getattr(space.config, name) for name in SIZES}
    plain = grown_space(english_path, neurons=False, **sizes)
    assert [gene.name for gene in space.genes][:-1] == [gene.name for gene in plain.genes]
    one, other = space.model(with_share(0.0)), plain.model(default_genome())
    for (name, ours), theirs in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    blocks = space.blocks("fitness", 1024)
    assert space.losses([with_share(0.0)], blocks).equal(plain.losses([default_genome()], blocks))


def test_company_does_not_change_a_bit(space: GPT2Space) -> None:
    blocks, genomes = space.blocks("fitness", 1024), [with_share(share) for share in NEURON_SHARES]
    alone = [space.losses([g], blocks).item() for g in genomes]
    assert space.losses(genomes, blocks).tolist() == alone


def test_two_libraries_grow_the_same(english_path: Path, space: GPT2Space) -> None:
    sizes = {name: getattr(space.config, name) for name in SIZES}
    again = grown_space(english_path, **sizes).model(with_share(1.0))
    for name, ours in space.model(with_share(1.0)).state_dict().items():
        assert torch.equal(ours, again.state_dict()[name]), name


def test_the_copy_head_stands_behind_all_neurons() -> None:
    """The sizes of GPT-2 small: eleven layers of neurons, as far as a text has pairs."""
    from clso.search_spaces.gpt2.grown_costs import free_units, n_neurons

    config = GPT2Config(n_layers=12, d_model=768, n_heads=12)
    assert n_neurons(1.0, config) == 11 * free_units(config) == 33_770
    assert n_neurons(0.0, config) == 0


def test_more_neurons_know_more_of_a_trigram_text(tmp_path: Path) -> None:
    """Letters that follow from the two before them, or from nothing: no bigram and no average of codes knows them."""
    generator = torch.Generator().manual_seed(0)
    n = 24
    follows = torch.randint(n, (n, n), generator=generator).tolist()
    drawn = torch.randint(n, (40_000,), generator=generator).tolist()
    known = (torch.rand(40_000, generator=generator) < 0.6).tolist()
    text = [0, 1]
    for letter, by_pair in zip(drawn, known, strict=True):
        text.append(follows[text[-2]][text[-1]] if by_pair else letter)
    (tmp_path / "text.txt").write_text("".join(chr(97 + x) for x in text), encoding="utf-8")
    space = GPT2Space(
        SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{tmp_path / 'text.txt'}", "bytes"),
            options=SIZES,
        )
    )
    losses = space.losses([with_share(share) for share in NEURON_SHARES], space.blocks("test"))
    assert (losses.diff() < -0.05).all()
    assert losses[-1] < losses[0] - 0.5


def test_a_gain_that_neurons_overrule_is_not_shown_as_the_winners() -> None:
    config = GPT2Config(vocab_size=50, n_positions=16, n_layers=2, n_heads=2, d_model=64)
    gene = next(g for g in grown_genes(config, neurons=True) if g.name == "copy.rare_value")
    assert [gene.is_inactive({"neurons": f"{s:g}"}) for s in NEURON_SHARES] == [False, *[True] * 3]
