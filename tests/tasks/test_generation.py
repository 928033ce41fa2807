from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_texts import qasper  # type: ignore[import-not-found]
from torch import Tensor, nn

from clso.baseline import run_baseline
from clso.config import RunConfig
from clso.errors import ConfigError
from clso.tasks.base import load_task
from clso.tasks.generation import TextTask, generate, score_texts

FAMILY = f"{Path(__file__).parent / 'recurrent.py'}:Recurrent"


class Says(nn.Module):
    """A language model that continues every separator with one text, and ends."""

    def __init__(self, text: bytes, separator: int, end: int) -> None:
        super().__init__()
        self.words = [1 + b for b in text] + [end]
        self.separator = separator

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        assert mask.all()
        said = tokens.shape[1] - 1 - tokens[0].tolist().index(self.separator)
        logits = torch.zeros(1, tokens.shape[1], 259)
        logits[0, :, 0] = 9.0  # padding, which is never picked
        logits[0, -1, self.words[said]] = 5.0
        return logits


def test_greedy_decoding() -> None:
    model = Says(b"Yes", 257, 258)
    prompt = np.array([66, 257], np.uint16)
    assert generate(model, prompt, end=258, n_tokens=10).tolist() == [1 + b for b in b"Yes"]
    assert generate(model, prompt, end=258, n_tokens=2).tolist() == [1 + b for b in b"Ye"]


def test_generated_answers_are_scored(tmp_path: Path) -> None:
    pytest.importorskip("rouge_score")
    qasper(tmp_path / "qasper")
    task = load_task("scrolls", {"folder": str(tmp_path / "qasper")})
    assert isinstance(task, TextTask)
    assert not isinstance(load_task("copy"), TextTask)
    found = score_texts(Says(b"It is not", 257, 258), task, n_questions=5)
    # "It is so" or "Yes", and "No": two words of three are right in the first answer, none in the
    # second
    assert found["f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["rouge1"] == pytest.approx((2 / 3 + 0) / 2)
    assert (found["exact_match"], found["n_questions"]) == (0, 2)
    assert score_texts(Says(b"yes.", 257, 258), task, n_questions=1)["exact_match"] == 1


def test_a_run_answers_questions(tmp_path: Path) -> None:
    pytest.importorskip("rouge_score")
    qasper(tmp_path / "qasper")
    options = (f"folder={tmp_path / 'qasper'}", "max_input=20", "max_output=4")
    settings = {
        "model": FAMILY,
        "task": "scrolls",
        "task_options": options,
        "steps": 2,
        "questions": 2,
    }
    config = RunConfig(energy="null", device="cpu")
    result = run_baseline("sequence", settings, config, tmp_path / "run")
    assert result["texts"]["n_questions"] == 2
    assert 0 <= result["texts"]["f1"] <= 1
    with pytest.raises(ConfigError, match="by a task such as scrolls"):
        run_baseline(
            "sequence",
            {**settings, "task": "copy", "task_options": ()},
            replace(config),
            tmp_path / "no",
        )
