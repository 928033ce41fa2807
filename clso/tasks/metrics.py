"""What answers are worth: accuracy, perplexity, mean reciprocal rank; and for texts exact match,
F1, BLEU and ROUGE.

BLEU and ROUGE are `sacrebleu`'s and `rouge-score`'s (optional extra `metrics`).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.errors import DataError, MissingDependencyError

__all__ = [
    "accuracy",
    "bleu",
    "exact_match",
    "mean_reciprocal_rank",
    "perplexity",
    "rouge",
    "token_f1",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ROUGE = ("rouge1", "rouge2", "rougeL")


def accuracy(predicted: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Share of equal entries of two arrays of one shape. Raises `DataError` if they have none in
    common."""
    p, t = np.asarray(predicted), np.asarray(targets)
    if p.shape != t.shape or not p.size:
        raise DataError("predictions and targets have one shape, not empty", got=(p.shape, t.shape))
    return float((p == t).mean())


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats; infinite if that is out of range."""
    return math.exp(loss) if loss < 700 else math.inf


def mean_reciprocal_rank(scores: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean of 1 / rank of the target: scores (n, C), targets (n,).

    Equal scores share the mean of their ranks: a model that does not decide gets no credit for the
    order of classes."""
    s, t = np.asarray(scores, np.float64), np.asarray(targets)
    if s.ndim != 2 or t.shape != s.shape[:1] or not t.size:
        raise DataError("scores are (n, C) and targets (n,), not empty", got=(s.shape, t.shape))
    own = s[np.arange(len(t)), t][:, None]
    return float((1 / (1 + (s > own).sum(1) + ((s == own).sum(1) - 1) / 2)).mean())


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Share of predictions that equal one of their references, both normalised as for
    `token_f1`."""
    _check(predictions, references)
    hits = [
        any(_words(p) == _words(r) for r in answers)
        for p, answers in zip(predictions, references, strict=True)
    ]
    return sum(hits) / len(hits)


def token_f1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean F1 of words, each prediction against its best reference (Rajpurkar et al. 2016; used so
    by SCROLLS).

    Texts are normalised: lower case, without punctuation and articles.
    """
    _check(predictions, references)
    best = [
        max(_f1(_words(p), _words(r)) for r in answers)
        for p, answers in zip(predictions, references, strict=True)
    ]
    return sum(best) / len(best)


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU, 0 to 100 (Papineni et al. 2002), with sacrebleu's defaults: 13a tokens,
    exponential smoothing.

    Raises `MissingDependencyError` without sacrebleu.
    """
    _check(predictions, references)
    most = max(map(len, references))
    streams = [
        [answers[i] if i < len(answers) else None for answers in references] for i in range(most)
    ]
    return float(_import("sacrebleu").corpus_bleu(list(predictions), streams).score)


def rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean F-measures, 0 to 1, of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) against each best
    reference, without stemming.

    `geometric_mean` is that of the three means, SCROLLS' figure. Raises `MissingDependencyError`
    without rouge-score."""
    _check(predictions, references)
    scorer: Any = _import("rouge_score.rouge_scorer").RougeScorer(list(_ROUGE), use_stemmer=False)
    scored = [
        scorer.score_multi(list(answers), p)
        for p, answers in zip(predictions, references, strict=True)
    ]
    means = {name: sum(row[name].fmeasure for row in scored) / len(scored) for name in _ROUGE}
    return {**means, "geometric_mean": math.prod(means.values()) ** (1 / len(_ROUGE))}


def _check(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not predictions or len(predictions) != len(references) or not all(references):
        raise DataError(
            "each prediction has at least one reference", got=(len(predictions), len(references))
        )


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _f1(predicted: list[str], reference: list[str]) -> float:
    if not predicted or not reference:
        return float(predicted == reference)
    common = (Counter(predicted) & Counter(reference)).total()
    return 2 * common / (len(predicted) + len(reference))


def _import(name: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise MissingDependencyError(
            f"this metric needs {package}", remedy="Run: pip install 'clso[metrics]'"
        ) from error
