"""Costs of GPT-2 genomes against counts of the weights that a model is made of."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clso.crystals import Zero
from clso.data import load_corpus
from clso.errors import ConfigError
from clso.grown.layout import Layout, rotation
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.store import save_model
from clso.search_spaces.gpt2.genes import GAIN_VALUES, GENE_NAMES, MLPS, alleles_of, default_genome
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space import Genome
from clso.space.context import SpaceContext

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 48, "n_heads": 2, "n_positions": 32}


def make_space(text: Path, **options: Any) -> GPT2Space:
    def corpus() -> Any:
        return load_corpus(f"text:{text}", "bpe:300")

    return GPT2Space(
        SpaceContext(load_corpus=corpus, fitness_tokens=(256,), options=SIZES | options)
    )


@pytest.fixture(scope="module")
def grown(english_path: Path) -> GPT2Space:
    return make_space(english_path, mlp=True)


@pytest.fixture(scope="module")
def random_space(english_path: Path) -> GPT2Space:
    return make_space(english_path, library="random", library_size=20)


def check(costs: dict[str, float], n_params: int, flops: int) -> None:
    assert costs == {"flops": flops, "n_params": n_params, "n_bytes": 4 * n_params}


def switched(
    *, context: bool, copy: bool, mlp: int, salience: bool = True, neurons: int = 0
) -> Genome:
    alleles = alleles_of(default_genome(mlp=True)) | {"mlp": mlp, "neurons": neurons}
    on = {"context.gain": context, "copy.gain": copy, "copy.salience": salience}
    alleles |= {name: GAIN_VALUES[name].index(0.0) for name in on if not on[name]}
    return tuple(alleles[name] for name in GENE_NAMES)


class Pruned:
    """An exported grown model in its logical coordinates, where what does nothing is set to
    zero."""

    def __init__(self, model: GPT2, layout: Layout) -> None:
        self.model, self.layout = model, layout
        d = model.config.d_model
        self.head_dim, self.q = d // model.config.n_heads, rotation(d, torch.device("cpu")).double()
        self.state = {name: value.double().clone() for name, value in model.state_dict().items()}
        for name, w in self.state.items():
            if name.endswith(
                ("qkv.weight", "fc.weight", "wte.weight", "wpe.weight", "head.weight")
            ):
                self.state[name] = self._clean(w @ self.q, 1)
            elif name.endswith(("o.weight", "proj.weight")):
                self.state[name] = self._clean(self.q.T @ w, 0)

    @staticmethod
    def _clean(w: Tensor, rotated: int) -> Tensor:
        """Without what rotating back and forth leaves where there was nothing."""
        return torch.where(w.abs() > 1e-6 * w.abs().amax(rotated, keepdim=True), w, 0)

    def drop_head(self, layer: int, head: int) -> None:
        rows = slice(head * self.head_dim, (head + 1) * self.head_dim)
        self.state[f"h.{layer}.attn.o.weight"][:, rows] = 0
        for third in self.state[f"h.{layer}.attn.qkv.weight"].chunk(3):
            third[rows] = 0
        for third in self.state[f"h.{layer}.attn.qkv.bias"].chunk(3):
            third[rows] = 0

    def drop_unread_keys(self) -> None:
        """Keys that all queries multiply with zero, as in a decaying average, which uses one circle
        of position codes."""
        for layer in (0, 1):
            q, k, _ = self.state[f"h.{layer}.attn.qkv.weight"].chunk(3)
            k[~q.any(dim=1) & (self.state[f"h.{layer}.attn.qkv.bias"].chunk(3)[0] == 0)] = 0

    def drop_swelling(self, *, mark: bool) -> None:
        for layer in (0, 1):
            for name in ("fc.weight", "fc.bias"):
                self.state[f"h.{layer}.mlp.{name}"][:2] = 0
            self.state[f"h.{layer}.mlp.proj.weight"][:, :2] = 0
        if mark:
            self.state["wpe.weight"][0, [self.layout.start, self.layout.ballast]] = 0

    def drop_rarity(self) -> None:
        wte, layout = self.state["wte.weight"], self.layout
        norm = wte.norm(dim=1).mean()
        wte[:, layout.rarity] = wte[:, layout.ballast] = 0
        wte[:, layout.ballast] = (norm**2 - wte.square().sum(1)).sqrt()

    def loss(self, blocks: Tensor) -> float:
        state = dict(self.state)
        for name, w in state.items():
            if name.endswith(
                ("qkv.weight", "fc.weight", "wte.weight", "wpe.weight", "head.weight")
            ):
                state[name] = w @ self.q.T
            elif name.endswith(("o.weight", "proj.weight")):
                state[name] = self.q @ w
        model = GPT2(self.model.config).double()
        model.load_state_dict(state)
        return text_loss(model.eval(), blocks)

    def count(self) -> tuple[int, int]:
        """Parameters, and FLOPs per token."""
        config, state = self.model.config, self.state
        n = {name: int(torch.count_nonzero(w)) for name, w in state.items()}
        v = config.vocab_size
        for table in ("wte.weight", "head.weight"):  # a column is stored whole
            n[table] = v * int(state[table].any(dim=0).sum())
        n["wpe.weight"] = config.n_positions * int(state["wpe.weight"][1:].any(dim=0).sum())
        n["wpe.weight"] += int(
            torch.count_nonzero(state["wpe.weight"][0, [self.layout.start, self.layout.ballast]])
        )
        for i in range(config.n_layers):  # a norm before nothing
            for norm, reader in (("ln_1", "attn.qkv.weight"), ("ln_2", "mlp.fc.weight")):
                if n[f"h.{i}.{reader}"] == 0:
                    n[f"h.{i}.{norm}.weight"] = 0
        weights = sum(
            c
            for name, c in n.items()
            if name.startswith("h.") and name.endswith("weight") and "ln" not in name
        )
        widths = 0
        for i in range(config.n_layers):
            q, _, values = state[f"h.{i}.attn.qkv.weight"].chunk(3)
            bias = state[f"h.{i}.attn.qkv.bias"].chunk(3)[0]
            widths += int((q.any(dim=1) | (bias != 0)).sum()) + int(values.any(dim=1).sum())
        return sum(n.values()), 2 * (weights + n["head.weight"] + config.n_positions * widths)


@pytest.mark.parametrize(
    ("mlp", "neurons"), [(0, 0), (1, 0), (2, 0), (len(MLPS) - 1, 0), (0, 1), (1, 3)]
)
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("context", [True, False])
def test_a_grown_genome_costs_what_its_model_needs(
    grown: GPT2Space, context: bool, copy: bool, mlp: int, neurons: int
) -> None:
    genome = switched(context=context, copy=copy, mlp=mlp, neurons=neurons)
    model, blocks = grown.model(genome), grown.blocks("fitness", 256)
    pruned = Pruned(model, grown.source.costs.layout)  # type: ignore[attr-defined]
    if not context:
        pruned.drop_head(0, 1)
    if not copy:
        if not neurons:
            pruned.drop_head(0, 0)
        pruned.drop_head(1, 0)
        pruned.drop_rarity()
        if mlp == 0:
            pruned.drop_swelling(mark=not neurons)
    pruned.drop_unread_keys()
    n_params, flops = pruned.count()
    check(grown.costs(genome), n_params, flops)
    # What was dropped was needed by nobody.
    assert pruned.loss(blocks) == pytest.approx(text_loss(model, blocks), abs=5e-4)


def test_without_salience_the_copy_head_reads_no_rarity(grown: GPT2Space) -> None:
    genome = switched(context=True, copy=True, mlp=0, salience=False)
    model, blocks = grown.model(genome), grown.blocks("fitness", 256)
    pruned = Pruned(model, grown.source.costs.layout)  # type: ignore[attr-defined]
    pruned.drop_rarity()
    pruned.drop_unread_keys()
    check(grown.costs(genome), *pruned.count())
    assert pruned.loss(blocks) == pytest.approx(text_loss(model, blocks), abs=5e-4)


def test_switching_parts_off_saves(grown: GPT2Space) -> None:
    whole = grown.costs(switched(context=True, copy=True, mlp=1))
    for parts in (
        {"context": False, "copy": True, "mlp": 1},
        {"context": True, "copy": False, "mlp": 1},
    ):
        assert all(grown.costs(switched(**parts))[name] < whole[name] for name in grown.cost_names)  # type: ignore[arg-type]
    dense = GPT2Config(vocab_size=300, **SIZES)
    assert whole["flops"] < dense.forward_flops(1)
    # Without the MLP's genes: the same model.
    plain = make_space(Path(), library="grown", neurons=False)
    plain.__dict__["config"] = grown.config
    same = switched(context=True, copy=True, mlp=0)
    assert plain.costs(default_genome()) == grown.costs(same)


def test_a_random_genome_costs_its_crystals(random_space: GPT2Space) -> None:
    """A sum by hand over the slots of genomes, some of them with slots that share a crystal or are
    off."""
    rng, config = random.Random(0), random_space.config
    names = [gene.name for gene in random_space.genes]
    off = next(
        i
        for i in range(20)
        if isinstance(random_space.decode((i,) * len(names))["h.0.attn.v"], Zero)
    )
    genomes = [random_space.sample(rng) for _ in range(20)]
    genomes.append(
        tuple(
            off if n in ("h.0.attn.v", "h.1.mlp.fc") else a
            for n, a in zip(names, genomes[0], strict=True)
        )
    )
    for genome in genomes:
        crystals = random_space.decode(genome)
        flops, kept = 0, {}
        for name, crystal in crystals.items():
            layer, _, matrix = name.rpartition(".")
            partners = {"attn": "vo", "mlp": ("fc", "proj")}.get(layer.rpartition(".")[2], ())
            if any(isinstance(crystals[f"{layer}.{p}"], Zero) for p in partners):
                continue
            kept[id(crystal)] = crystal
            flops += crystal.flops(1) if name not in ("wte", "wpe") else 0
            flops += 4 * config.n_positions * config.d_model if matrix == "o" else 0
        n_params = sum(min(c.n_params, c.d_out * c.d_in) for c in kept.values())
        n_bytes = sum(min(c.n_bytes, 4 * c.d_out * c.d_in) for c in kept.values())
        assert random_space.costs(genome) == {
            "flops": flops,
            "n_params": n_params,
            "n_bytes": n_bytes,
        }


@pytest.fixture(scope="module")
def warm(english_path: Path, tmp_path_factory: pytest.TempPathFactory) -> GPT2Space:
    folder = tmp_path_factory.mktemp("checkpoint")
    model = GPT2(GPT2Config(vocab_size=300, **SIZES)).init_weights(torch.Generator().manual_seed(0))
    save_model(model, folder)
    return make_space(english_path, library="warm", checkpoint=str(folder))


def test_the_checkpoint_itself_costs_a_dense_gpt2(warm: GPT2Space) -> None:
    genome = warm.seeds()[0]
    check(
        warm.costs(genome),
        sum(p.numel() for p in warm.model(genome).parameters()),
        warm.config.forward_flops(1),
    )


def test_cut_matrices_cost_their_factors(warm: GPT2Space) -> None:
    d, t, full = SIZES["d_model"], SIZES["n_positions"], warm.seeds()[0]
    before = warm.costs(full)
    names = [gene.name for gene in warm.genes]

    def cut(**ranks: str) -> dict[str, float]:
        picked = {name.replace("_", "."): rank for name, rank in ranks.items()}
        alleles = [
            gene.choices.index(picked[gene.name]) if gene.name in picked else a
            for gene, a in zip(warm.genes, full, strict=True)
        ]
        return warm.costs(tuple(alleles))

    assert "h.1.mlp.fc" in names
    saved = d * d - 8 * 2 * d
    check(
        cut(h_0_attn_q="rank-8"), int(before["n_params"]) - saved, int(before["flops"]) - 2 * saved
    )
    # more than dense: stored dense
    check(cut(h_0_attn_q="rank-32"), int(before["n_params"]), int(before["flops"]))
    # Without values there is no attention, but the constant that its biases add.
    gone = cut(h_1_attn_v="off")
    check(
        gone,
        int(before["n_params"]) - 4 * d * d - 5 * d,
        int(before["flops"]) - 8 * d * d - 4 * t * d,
    )
    gone = cut(h_1_mlp_fc="off")
    check(gone, int(before["n_params"]) - 8 * d * d - 6 * d, int(before["flops"]) - 16 * d * d)


def test_a_library_of_equal_costs_is_refused(english_path: Path, tmp_path: Path) -> None:
    from clso.config import RunConfig
    from clso.run import evolve

    config = RunConfig(
        data=f"text:{english_path}",
        tokenizer="bpe:300",
        objective=("loss", "flops"),
        energy="null",
        device="cpu",
        options={
            "library": "random",
            "library_size": 1,
            "n_layers": 1,
            "d_model": 16,
            "n_heads": 2,
            "n_positions": 32,
        },
    )
    with pytest.raises(
        ConfigError,
        match=r"flops is .* for all: an objective differs between genomes of space gpt2",
    ):
        evolve(config, tmp_path / "run")
