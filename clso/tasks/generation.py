"""Answers in words: greedy decoding by a language model, and what the texts are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from clso.tasks.base import Tokens
from clso.tasks.metrics import exact_match, rouge, token_f1
from clso.tasks.scrolls import Question

__all__ = ["TextTask", "generate", "score_texts"]


@runtime_checkable
class TextTask(Protocol):
    """A task whose answers are texts, such as SCROLLS."""

    END: int
    """The token that ends an answer."""

    @property
    def n_answer_tokens(self) -> int:
        """No answer is longer."""
        ...

    def questions(self, split: str) -> Sequence[Question]: ...

    def answer_text(self, tokens: Tokens) -> str: ...


@torch.no_grad()
def generate(
    model: nn.Module, prompt: Tokens, *, end: int, n_tokens: int, device: str = "cpu"
) -> Tokens:
    """The likeliest next token, again and again, until `end` (left out) or `n_tokens` of them;
    padding is never picked.

    Every token costs a pass over all before it: the interface of sequence models has no cache.
    """
    model.eval()
    tokens = torch.from_numpy(prompt.astype(np.int64)).to(device)[None]
    for _ in range(n_tokens):
        logits = model(tokens, torch.ones_like(tokens, dtype=torch.bool))[:, -1]
        picked = 1 + logits[:, 1:].argmax(1, keepdim=True)
        if picked.item() == end:
            break
        tokens = torch.cat([tokens, picked], 1)
    out: Tokens = tokens[0, len(prompt) :].cpu().numpy().astype(np.uint16)
    return out


def score_texts(
    model: nn.Module, task: TextTask, *, n_questions: int, split: str = "test", device: str = "cpu"
) -> dict[str, float]:
    """F1, exact match and ROUGE of generated answers to the first questions of a split.

    Raises `MissingDependencyError` without rouge-score.
    """
    questions = task.questions(split)[:n_questions]
    texts = [
        task.answer_text(
            generate(model, q.prompt, end=task.END, n_tokens=task.n_answer_tokens, device=device)
        )
        for q in questions
    ]
    references = [q.references for q in questions]
    return {
        "f1": token_f1(texts, references),
        "exact_match": exact_match(texts, references),
        **rouge(texts, references),
        "n_questions": len(questions),
    }
