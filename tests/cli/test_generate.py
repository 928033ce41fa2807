"""`clso generate` and `clso export --push` on the command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

Clso = Any


def test_text_by_seed(clso: Clso, finished_run: Path) -> None:
    def generated(*args: str) -> str:
        found = clso("generate", finished_run, "The crystal", "--tokens", "12", *args)
        assert (found.code, found.err) == (0, "")
        out: str = found.out
        assert out.startswith("The crystal")
        return out.removesuffix("\n")

    first, second = generated("--seed", "4"), generated("--seed", "5")
    assert first == generated("--seed", "4") != second
    assert generated("--seed", "4", "-n", "2") == f"{first}\n\n{second}"
    assert generated("--temperature", "0") == generated("--top-k", "1", "--seed", "9")
    # beyond the 32 positions of the model, and still the same beginning
    assert generated("--seed", "4", "--tokens", "60").startswith(first)


def test_a_prompt_from_stdin(
    clso: Clso, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Every river\n"))
    found = clso("generate", finished_run, "-", "--tokens", "0")
    assert (found.code, found.out) == (0, "Every river\n\n")


def test_what_cannot_be_generated(clso: Clso, finished_run: Path, finished_toy_run: Path) -> None:
    for args, message in (
        ((finished_toy_run, "a"), "predicts text"),
        (("nowhere", "a"), "nowhere"),
        ((finished_run, ""), "at least one token"),
        ((finished_run, "a", "--temperature", "-1"), "temperature"),
        ((finished_run, "a", "--top-p", "0"), "top_p"),
        ((finished_run, "a", "--top-k", "-2"), "top_k"),
        ((finished_run, "a", "--seed", str(1 << 63)), "is not in the range"),
    ):
        found = clso("generate", *args)
        assert (found.code, found.out) == (2, "")
        assert message in found.error


def test_a_push_without_a_token_writes_nothing(
    clso: Clso, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    found = clso("export", finished_run, "hf", "--push", "me/model")
    assert found.code == 2
    assert "no token is set" in found.error
    assert not (tmp_path / "hf").exists()
