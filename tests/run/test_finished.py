"""`clso evaluate` and `clso export`: the winner as it stands on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damage import without_checksums

from clso.config import RunConfig
from clso.data import load_corpus
from clso.errors import DataError, RunFolderError
from clso.models.gpt2 import text_loss
from clso.models.hf import load_hf
from clso.run import evolve
from clso.run.export import export_run
from clso.run.finished import evaluate_run
from clso.space.language import token_blocks


def test_evaluating_gives_exactly_what_the_run_stated(finished_run: Path) -> None:
    best = json.loads((finished_run / "result.json").read_text())["best"]
    test = evaluate_run(finished_run)
    loss = best["test_loss"]
    assert test == {
        "loss": loss,
        "n_tokens": best["n_test_tokens"],
        "split": "test",
        "recorded_loss": loss,
    }
    assert evaluate_run(finished_run, split="valid")["loss"] == best["valid_loss"]
    for split in ("train", "fitness", "statistics"):
        assert evaluate_run(finished_run, split=split)["n_tokens"] > 1000


def test_another_text_is_cut_with_the_runs_own_tokenizer(
    tiny: RunConfig, finished_run: Path, other_english_path: Path
) -> None:
    found = evaluate_run(finished_run, data=f"text:{other_english_path}", split="train")
    corpus = load_corpus(tiny.data, tiny.tokenizer)
    text = other_english_path.read_text()[:20_000]
    assert corpus.decode(corpus.encode(text)) == text
    assert found["loss"] != evaluate_run(finished_run, split="train")["loss"]
    # 90 % of 60 kB in the tokens of the run's own tokenizer
    n_tokens = 0.9 * len(corpus.encode(other_english_path.read_text()))
    assert found["n_tokens"] == pytest.approx(n_tokens, rel=0.05)
    with pytest.raises(DataError, match="no such file"):
        evaluate_run(finished_run, data="text:/nowhere")


def test_a_text_that_changed_since_is_not_measured_unnoticed(
    finished_run: Path, tmp_path: Path
) -> None:
    run, text = tmp_path / "run", tmp_path / "changed.txt"
    shutil.copytree(finished_run, run)
    without_checksums(run)
    config = (run / "config.toml").read_text()
    original = Path(
        json.loads((run / "manifest.json").read_text())["corpus"]["data"].removeprefix("text:")
    )
    text.write_text(original.read_text().replace("crystal", "pebble"))
    (run / "config.toml").write_text(config.replace(str(original), str(text)))
    # With --data as well: the tokenizer is trained on the run's own text, and would number its
    # tokens otherwise.
    for data in (None, f"text:{original}"):
        with pytest.raises(RunFolderError, match="changed since"):
            evaluate_run(run, data=data)
    with pytest.raises(RunFolderError, match="changed since"):
        export_run(run, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_the_export_is_the_model_for_transformers_too(
    finished_run: Path, tmp_path: Path, tiny: RunConfig
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    export_run(finished_run, tmp_path / "hf")
    corpus = load_corpus(tiny.data, tiny.tokenizer)
    blocks = token_blocks(corpus.tokens("train"), int(tiny.options["n_positions"]))[:313]
    assert blocks[:, 1:].numel() >= 10_000
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        logits = theirs(blocks[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).double(), blocks[:, 1:].flatten()
    ).item()
    assert loss == pytest.approx(text_loss(load_hf(finished_run / "best"), blocks), abs=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in (
        "Every crystal follows the narrow river.\n\nThe early letter",
        "one <|endoftext|> two",
    ):
        assert tokenizer.encode(text) == corpus.encode(text)


def test_a_run_is_measured_from_any_folder(
    tiny: RunConfig, english_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(english_path.parent)
    evolve(replace(tiny, data=f"text:{english_path.name}", gens=1), tmp_path / "run")
    here = evaluate_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert evaluate_run(Path("run")) == here


def test_what_cannot_be_exported(
    finished_run: Path, finished_toy_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    for out in (tmp_path, tmp_path / "taken"):
        with pytest.raises(RunFolderError, match="new folder"):
            export_run(finished_run, out)
    with pytest.raises(RunFolderError, match="has a winner"):
        export_run(finished_toy_run, tmp_path / "hf")
    with pytest.raises(RunFolderError, match="has a winner"):
        evaluate_run(finished_toy_run)
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", ["best/model.safetensors", "best/config.json", "manifest.json"])
def test_damaged_files_of_a_run(finished_run: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / name).write_bytes((run / name).read_bytes()[:40])
    with pytest.raises(RunFolderError):
        evaluate_run(run)
