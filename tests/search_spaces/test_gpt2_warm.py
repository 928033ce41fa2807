"""The warm library of `gpt2`: the checkpoint at full rank, truncated matrices below, and a whole
run from a checkpoint."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clso.baseline import run_baseline
from clso.cli import main
from clso.config import RunConfig
from clso.crystals import Svd, Zero
from clso.data import load_corpus
from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.hf import load_hf, save_hf
from clso.models.pointer import SCALARS, PointerGPT2
from clso.models.store import save_model
from clso.run import evolve, resume
from clso.search_spaces.gpt2.space import GPT2Space
from clso.search_spaces.gpt2_pointer.space import GPT2PointerSpace
from clso.space.context import SpaceContext

SIZES: dict[str, Any] = {"n_layers": 2, "d_model": 16, "n_heads": 2, "n_positions": 32}


@torch.no_grad()
def make_model(vocab_size: int = 300, **sizes: Any) -> GPT2:
    """Random in every tensor, and with weights so large that a cut shows in the loss."""
    generator = torch.Generator().manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=vocab_size, **(SIZES | sizes))).init_weights(generator)
    for name, p in model.named_parameters():
        p.mul_(15) if name.startswith("h.") and p.dim() == 2 else p.add_(
            0.1 * torch.randn(p.shape, generator=generator)
        )
    return model.eval()


def make_space(path: Path, checkpoint: Path, kind: type[Any] = GPT2Space, **sizes: int) -> Any:
    return kind(
        SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{path}", "bpe:300"),
            fitness_tokens=(256,),
            options={"library": "warm", "checkpoint": str(checkpoint), **(SIZES | sizes)},
        )
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_hf(make_model(), folder)
    return folder


@pytest.fixture(scope="module")
def space(english_path: Path, checkpoint: Path) -> GPT2Space:
    space = make_space(english_path, checkpoint)
    space.prepare()
    assert isinstance(space, GPT2Space)
    return space


def test_genes_are_the_matrices_of_each_layer(space: GPT2Space) -> None:
    parts = ["attn.q", "attn.k", "attn.v", "attn.o", "mlp.fc", "mlp.proj"]
    assert [g.name for g in space.genes] == [f"h.{i}.{part}" for i in range(2) for part in parts]
    assert {g.choices for g in space.genes} == {("off", "rank-4", "rank-8", "full")}
    for features in space.descriptors():
        assert features is not None
        assert features.shape == (4, 2)
        assert features[:, 0].tolist() == [0, 4, 8, 16]


def test_the_seed_is_the_checkpoint(space: GPT2Space) -> None:
    (seed,) = space.seeds()
    assert set(space.describe(seed).values()) == {"full"}
    blocks, model = space.blocks("valid"), make_model()
    assert space.losses([seed], blocks).item() == pytest.approx(text_loss(model, blocks), abs=1e-5)
    for built in (space.model(seed), space.final_model(seed)):
        for name, value in model.state_dict().items():
            assert torch.equal(built.state_dict()[name], value), name


def test_a_low_rank_is_the_truncated_matrix(space: GPT2Space) -> None:
    model = make_model()
    genome = space.validate([1, 2, 0, 3, 1, 2] + [3] * 5 + [0])
    state, built = model.state_dict(), space.model(genome).state_dict()

    def truncated(matrix: torch.Tensor, rank: int) -> torch.Tensor:
        u, s, v = torch.linalg.svd(matrix.double())
        out: torch.Tensor = ((u[:, :rank] * s[:rank]) @ v[:rank]).float()
        return out

    qkv = zip(state["h.0.attn.qkv.weight"].chunk(3), (4, 8, 0), strict=True)
    expected = {
        **state,
        "h.0.attn.qkv.weight": torch.cat([truncated(m, r) for m, r in qkv]),
        "h.0.mlp.fc.weight": truncated(state["h.0.mlp.fc.weight"], 4),
        "h.0.mlp.proj.weight": truncated(state["h.0.mlp.proj.weight"], 8),
        "h.1.mlp.proj.weight": torch.zeros(16, 64),
    }
    for name, value in expected.items():
        torch.testing.assert_close(built[name], value, rtol=1e-5, atol=1e-5)


def test_decoded_crystals_are_the_matrices(space: GPT2Space) -> None:
    genome = space.validate([0, 1, 2, 3] * 3)
    crystals, built = space.decode(genome), space.model(genome).state_dict()
    assert isinstance(crystals["h.0.attn.q"], Zero)
    assert isinstance(crystals["h.0.attn.o"], Svd)
    assert crystals["h.0.attn.k"].rank_bound == 4
    qkv = torch.cat([crystals[f"h.0.attn.{m}"].to_dense() for m in "qkv"])
    torch.testing.assert_close(built["h.0.attn.qkv.weight"], qkv, rtol=1e-5, atol=1e-5)
    for name in ("h.0.attn.o", "h.0.mlp.fc", "h.1.mlp.proj"):
        torch.testing.assert_close(
            built[f"{name}.weight"], crystals[name].to_dense(), rtol=1e-5, atol=1e-5
        )


def test_a_batch_equals_its_modules(space: GPT2Space) -> None:
    rng = random.Random(0)
    genomes = [space.sample(rng) for _ in range(5)]
    blocks = space.blocks("valid", 512)
    losses = space.losses(genomes, blocks).tolist()
    assert len({round(loss, 4) for loss in losses}) == 5
    assert losses == pytest.approx([text_loss(space.model(g), blocks) for g in genomes], abs=1e-4)


def test_a_tied_head_stays_the_embedding(english_path: Path, tmp_path: Path) -> None:
    model = make_model(tied_head=True)
    save_hf(model, tmp_path)
    space = make_space(english_path, tmp_path)
    blocks = space.blocks("valid", 512)
    assert space.losses(space.seeds(), blocks).item() == pytest.approx(
        text_loss(model, blocks), abs=1e-5
    )


def test_ranks_at_or_above_the_full_one_are_not_offered(english_path: Path, tmp_path: Path) -> None:
    save_hf(make_model(n_layers=1, d_model=4), tmp_path)
    space = make_space(english_path, tmp_path, n_layers=1, d_model=4)
    assert {g.choices for g in space.genes} == {("off", "full")}
    assert torch.isfinite(
        space.losses([space.seeds()[0], (0,) * 6], space.blocks("valid", 64))
    ).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_layers": 1}, "the run's n_layers, 2; got 1. Use --option n_layers=1."),
        ({"d_model": 8}, "the run's d_model, 16; got 8. Use --option d_model=8."),
        ({"n_heads": 4}, "the run's n_heads, 2; got 4"),
        ({"n_positions": 64}, "the run's n_positions, 32; got 64"),
        ({"vocab_size": 299}, "the run's vocab_size, 300; got 299. Use the text and tokenizer"),
    ],
)
def test_a_checkpoint_of_other_sizes(
    english_path: Path, tmp_path: Path, sizes: dict[str, int], message: str
) -> None:
    save_hf(make_model(**sizes), tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_space(english_path, tmp_path).prepare()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_checkpoints(english_path: Path, checkpoint: Path, tmp_path: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(RunFolderError, match=match) as caught:
            make_space(english_path, tmp_path).prepare()
        assert "\n" not in str(caught.value)

    refused("holds a GPT-2")
    weights = load_file(checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused("holds a GPT-2")
    (tmp_path / "model.safetensors").write_bytes(
        (checkpoint / "model.safetensors").read_bytes()[:5000]
    )
    refused("holds a GPT-2")
    save_file(
        {**weights, "transformer.h.0.mlp.c_fc.weight": torch.zeros(16, 65)},
        tmp_path / "model.safetensors",
    )
    refused("size mismatch")
    save_file(
        {**weights, "transformer.ln_f.bias": torch.full((16,), torch.nan)},
        tmp_path / "model.safetensors",
    )
    refused("are finite; got 'ln_f.bias'")


def test_a_pointer_model_is_no_checkpoint(english_path: Path, tmp_path: Path) -> None:
    scalars = dict.fromkeys(SCALARS, 0.5)
    save_model(PointerGPT2(make_model(), torch.zeros(300), torch.zeros(16, 4), scalars), tmp_path)
    with pytest.raises(ConfigError, match="is a GPT-2; got 'PointerGPT2'"):
        make_space(english_path, tmp_path).prepare()


def test_the_pointer_space_has_no_warm_library(english_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="unknown option of this search space; got 'library'"):
        make_space(english_path, checkpoint, GPT2PointerSpace).prepare()


@pytest.fixture(scope="module")
def trained(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A model trained by AdamW on the tiny text, and its loss on the fitness text."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_baseline("adamw", {"steps": 60, "lr": (3e-3,), "kernels": "eager"}, tiny, folder)
    space = make_space(Path(tiny.data.removeprefix("text:")), folder / "best", n_layers=1)
    return folder / "best", text_loss(load_hf(folder / "best"), space.blocks("valid"))


def test_a_whole_run_from_a_checkpoint(
    tiny: RunConfig, trained: tuple[Path, float], tmp_path: Path
) -> None:
    folder, loss = trained
    assert loss < 5.0  # nats; log(300) is 5.70
    config = tiny.with_options(options={"library": "warm", "checkpoint": str(folder)})
    result = evolve(config, tmp_path / "run")
    assert result["library"] == "warm"
    assert result["best"]["valid_loss"] < loss + 0.02  # the checkpoint is among the candidates
    assert resume(tmp_path / "run") == result
    again = evolve(config, tmp_path / "again")
    assert again["best"]["genome"] == result["best"]["genome"]
    assert set(result["best"]["alleles"].values()) <= {"off", "rank-4", "rank-8", "full"}


def test_the_command_line(
    tiny: RunConfig,
    trained: tuple[Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tiny.to_toml())

    def clso(*options: str) -> int:
        monkeypatch.setattr(
            sys, "argv", ["clso", "evolve", "--config", str(recipe), "--library", "warm", *options]
        )
        with pytest.raises(SystemExit) as exit_:
            main()
        return int(exit_.value.code or 0)

    out = ["--gens", "2", "--out", str(tmp_path / "run"), "--json"]
    assert clso("--checkpoint", str(tmp_path), *out) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path} holds a GPT-2" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert clso("--checkpoint", str(trained[0]), *out) == 0
    assert json.loads(capsys.readouterr().out)["library"] == "warm"
    assert RunConfig.from_toml(tmp_path / "run" / "config.toml").options["checkpoint"] == str(
        trained[0]
    )
