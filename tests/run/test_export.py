"""What `clso export` writes is all that `transformers` needs, and what `clso generate` says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from waiting import HANG_S

from clso.config import RunConfig
from clso.data.tokenizers import Gpt2Tokenizer
from clso.errors import ClsoError, ConfigError, DataError, RunFolderError
from clso.models.gpt2 import text_loss
from clso.models.sampling import Sampling
from clso.run import evolve, export
from clso.run.export import export_run, hub_token, push_export
from clso.run.finished import Winner
from clso.space.language import token_blocks

TOKENIZERS = ["bpe:300", "bytes", "gpt2"]
TEXTS = ["def f(x):\n\treturn  x", "one <|endoftext|> two", "é 漢字 \U0001f600", " the crystal"]

# In a process that knows nothing of CLSO: loading transformers takes longer than all that follows.
_USE = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

def use(folder, text, blocks):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    pipe = pipeline("text-generation", model=folder)
    torch.manual_seed(0)
    out = pipe("def ", max_new_tokens=20, return_tensors=True)[0]["generated_token_ids"]
    unasked = pipe("def ", return_tensors=True)[0]["generated_token_ids"]
    with torch.no_grad():
        logits = model(blocks[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), blocks[:, 1:].flatten())
    return {
        "ids": [tokenizer.encode(t) for t in text],
        "texts": [tokenizer.decode(tokenizer.encode(t)) for t in text],
        "largest": max(tokenizer.get_vocab().values()),
        "special": tokenizer.all_special_tokens,
        "model_max_length": tokenizer.model_max_length,
        "vocab_size": model.config.vocab_size,
        "out": out,
        "unasked": len(unasked),
        "loss": loss.item(),
        "clso": "clso" in sys.modules,
    }

text = json.loads(sys.argv[1])
blocks = {folder: torch.tensor(b) for folder, b in json.loads(sys.argv[2]).items()}
print(json.dumps([use(folder, text, b) for folder, b in blocks.items()]))
"""


def missing_gpt2_vocabulary() -> str:
    """Why not; nothing if it is there."""
    try:
        Gpt2Tokenizer().encode("a")
    except DataError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def trained(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run with a tokenizer."""

    @cache
    def folder(tokenizer: str) -> Path:
        path: Path = tmp_path_factory.mktemp("tokenizers") / "run"
        evolve(replace(tiny, tokenizer=tokenizer, gens=1, pop=4), path)
        return path

    return folder


@pytest.fixture(params=TOKENIZERS)
def run(request: pytest.FixtureRequest, trained: Callable[[str], Path]) -> Path:
    if request.param == "gpt2" and (why := missing_gpt2_vocabulary()):
        pytest.skip(why)
    return trained(request.param)


def test_a_fresh_process_generates_with_transformers_alone(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    (program := tmp_path / "use.py").write_text(_USE)
    winners, blocks = [], {}
    for tokenizer in TOKENIZERS[: -1 if missing_gpt2_vocabulary() else None]:
        run, folder = trained(tokenizer), tmp_path / tokenizer / "exported"
        export_run(run, folder)
        winners.append(Winner.open(run))
        n_positions = winners[-1].model.config.n_positions
        blocks[str(folder)] = token_blocks(winners[-1].corpus.tokens("test"), n_positions)[:4]
    done = subprocess.run(
        [
            sys.executable,
            program,
            json.dumps(TEXTS),
            json.dumps({k: b.tolist() for k, b in blocks.items()}),
        ],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    for winner, block, found in zip(winners, blocks.values(), json.loads(done.stdout), strict=True):
        sizes = winner.model.config
        assert not found["clso"]
        assert found["ids"] == [winner.corpus.encode(text) for text in TEXTS]
        assert found["texts"] == TEXTS
        assert found["special"] == []
        assert found["vocab_size"] == sizes.vocab_size > found["largest"]
        assert found["model_max_length"] == sizes.n_positions == found["unasked"]
        prompt = winner.corpus.encode("def ")
        assert found["out"][: len(prompt)] == prompt
        assert len(found["out"]) == len(prompt) + 20
        assert max(found["out"]) < sizes.vocab_size
        assert found["loss"] == pytest.approx(text_loss(winner.model, block), abs=1e-4)


def test_generated_text_is_that_of_its_tokens(run: Path) -> None:
    winner = Winner.open(run)
    # random bytes: almost none is a whole character
    pieces = list(winner.generate("the ", 60, Sampling(1.0), seed=3))
    assert pieces == list(winner.generate("the ", 60, Sampling(1.0), seed=3))
    assert "".join(pieces) != "".join(winner.generate("the ", 60, Sampling(1.0), seed=4))
    assert len(pieces) <= 60


def test_characters_are_whole_in_every_piece(finished_run: Path) -> None:
    from clso.run.finished import _whole_characters

    corpus, text = Winner.open(finished_run).corpus, "é漢字 \U0001f600 the crystal"
    pieces = list(_whole_characters(corpus.encode(text), corpus))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)


def test_the_model_card(finished_run: Path, tmp_path: Path, english_path: Path) -> None:
    from huggingface_hub import ModelCard

    export_run(finished_run, tmp_path / "hf")
    card = ModelCard.load(tmp_path / "hf" / "README.md")
    result = json.loads((finished_run / "result.json").read_text())
    assert card.data.license == "unknown"
    assert {r.dataset_split: r.metric_value for r in card.data.eval_results} == {
        split: result["best"][f"{split}_loss"] for split in ("valid", "test")
    }
    assert f"| test | {result['best']['test_loss']:.4f} |" in card.text
    assert f"Not measured: {result['energy_reason']}" in card.text
    assert all(f"| {gene} |" in card.text for gene in result["best"]["alleles"])
    assert "licence" in card.text
    assert str(english_path.parent) not in card.content, "folders of the author are nobody's affair"


def test_an_interrupted_export_leaves_nothing(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "model_card", interrupted)
    for out in (tmp_path / "hf", tmp_path):  # new; there, and empty
        with pytest.raises(KeyboardInterrupt):
            export_run(finished_run, out)
        assert list(tmp_path.iterdir()) == []
        assert not [p for p in tmp_path.parent.iterdir() if p.name.endswith(".tmp")]


def test_a_push_needs_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="no token is set"):
        hub_token("me/model")
    for wrong in ("a/b/c", "", "me/mo del"):
        with pytest.raises(ConfigError, match="USER/NAME"):
            hub_token(wrong)
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert hub_token("me/model") == "hf_x"


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ClsoError, match="is whole") as caught:
        push_export(tmp_path, "me/model", "hf_x")
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_a_run_without_a_language_model(finished_toy_run: Path) -> None:
    with pytest.raises(RunFolderError, match=r"OneMax, has none: .*predicts text"):
        Winner.open(finished_toy_run)


def test_a_run_that_is_not_finished(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(RunFolderError, match="clso resume"):
        Winner.open(tmp_path / "run")
