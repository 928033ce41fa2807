"""`ngram` and `random-search` as a user runs them: folders, shapes, counts, determinism."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clso.baseline import run_baseline
from clso.baselines.kneser_ney import KneserNey
from clso.config import RunConfig
from clso.data import load_corpus
from clso.errors import ConfigError, PluginError
from clso.models.gpt2 import text_loss
from clso.models.hf import load_hf
from clso.run.folder import RunFolder
from clso.space.language import token_blocks

ALWAYS = {
    "baseline",
    "best",
    "checksums",
    "cpu_time_s",
    "energy_j",
    "energy_reason",
    "seed",
    "time_s",
}


@pytest.fixture(scope="module")
def ngram(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ngram") / "run"
    return folder, run_baseline("ngram", {}, tiny, folder)


@pytest.fixture(scope="module")
def random_search(
    tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("random") / "run"
    return folder, run_baseline("random-search", {"evaluations": 21}, tiny, folder)


def test_the_shape_of_ngram(tiny: RunConfig, ngram: tuple[Path, dict[str, Any]]) -> None:
    folder, result = ngram
    assert json.loads((folder / "result.json").read_text()) == result
    assert set(result) == ALWAYS | {"unigram", "kn2", "kn3"}
    for name in ("unigram", "kn2", "kn3"):
        assert set(result[name]) == {"valid_loss", "test_loss"}
        assert 0 < result[name]["test_loss"] < math.log(300)
    assert (
        result["kn3"]["valid_loss"] < result["kn2"]["valid_loss"] < result["unigram"]["valid_loss"]
    )
    assert result["best"] == {"model": "kn3", **result["kn3"]}
    manifest = RunFolder.open(folder).read_json("manifest.json")
    assert manifest["plugins"]["baseline"]["name"] == "ngram"
    assert manifest["code"]["version"]
    assert manifest["corpus"]["hash"] == load_corpus(tiny.data, tiny.tokenizer).content_hash
    assert set(result["time_s"]) == {"data", "search", "validate", "test", "total"}
    assert result["time_s"]["total"] == pytest.approx(
        result["time_s"]["search"] + result["time_s"]["validate"]
    )
    assert result["energy_j"] is None
    assert "switched off" in result["energy_reason"]


def test_the_unigram_is_the_cross_entropy_of_counts(
    tiny: RunConfig, ngram: tuple[Path, dict[str, Any]]
) -> None:
    """Measured again with nothing of the baseline's code but its blocks: up to smoothing."""
    corpus = load_corpus(tiny.data, tiny.tokenizer)
    counts = np.bincount(corpus.tokens("train"), minlength=corpus.vocab_size).astype(float)
    targets = token_blocks(corpus.tokens("test"), int(tiny.options["n_positions"]))[:, 1:].numpy()
    loss = -np.log((counts[targets] + 0.5) / (counts.sum() + 0.5 * corpus.vocab_size)).mean()
    assert ngram[1]["unigram"]["test_loss"] == pytest.approx(loss, abs=0.02)


def test_ngrams_are_scored_on_the_models_targets(
    tiny: RunConfig, ngram: tuple[Path, dict[str, Any]]
) -> None:
    """Block by block, as `token_blocks` cuts for every model; what is left after the last whole
    block is no target."""
    corpus = load_corpus(tiny.data, tiny.tokenizer)
    model = KneserNey(3).fit(corpus.tokens("train"), corpus.vocab_size)
    for split in ("valid", "test"):
        tokens = corpus.tokens(split)
        blocks = token_blocks(tokens, int(tiny.options["n_positions"])).numpy()
        assert blocks[:, 1:].size < len(tokens) - 1  # there is a rest
        loss = float(np.mean([model.loss(block) for block in blocks]))
        assert ngram[1]["kn3"][f"{split}_loss"] == pytest.approx(loss, rel=1e-9)


def test_random_search_measures_as_many_genomes_as_asked(
    tiny: RunConfig, random_search: tuple[Path, dict[str, Any]]
) -> None:
    folder, result = random_search
    assert json.loads((folder / "result.json").read_text()) == result
    assert set(result) == ALWAYS | {
        "counts",
        "failures",
        "library",
        "measure",
        "space",
        "tokens_forward",
    }
    assert result["counts"]["evaluated"] == 21
    halved = min(21, tiny.finalists * 4)
    assert (
        result["tokens_forward"]
        == 21 * 256 + halved * 1024 + (tiny.finalists + 1) * tiny.valid_tokens
    )


def test_its_losses_are_those_of_the_model_on_disk(
    tiny: RunConfig, random_search: tuple[Path, dict[str, Any]]
) -> None:
    folder, result = random_search
    corpus, model = load_corpus(tiny.data, tiny.tokenizer), load_hf(folder / "best")
    for split in ("valid", "test"):
        blocks = token_blocks(corpus.tokens(split), int(tiny.options["n_positions"]))
        assert result["best"][f"{split}_loss"] == text_loss(model, blocks)


def test_the_seed_decides(
    tiny: RunConfig, random_search: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    again = run_baseline("random-search", {"evaluations": 21}, tiny, tmp_path / "again")
    other = run_baseline(
        "random-search", {"evaluations": 21}, replace(tiny, seed=1), tmp_path / "other"
    )
    assert again["best"] == random_search[1]["best"]
    assert other["best"]["genome"] != again["best"]["genome"]


def test_a_space_with_fewer_genomes_is_measured_whole(tiny: RunConfig, tmp_path: Path) -> None:
    result = run_baseline(
        "random-search",
        {"evaluations": 50},
        tiny.with_options(options={"library_size": 1}),
        tmp_path / "run",
    )
    assert result["counts"]["evaluated"] == 1


def test_bad_settings_leave_no_folder(tiny: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        run_baseline("random-search", {"evaluations": 0}, tiny, tmp_path / "run")
    with pytest.raises(PluginError, match="Did you mean 'ngram'"):
        run_baseline("ngrm", {}, tiny, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
