from __future__ import annotations

import math
import sys

import pytest

from clso.errors import DataError, MissingDependencyError
from clso.tasks import metrics


def test_accuracy() -> None:
    assert metrics.accuracy([1, 2, 3, 4], [1, 2, 0, 0]) == 0.5
    for pair in (([1], [1, 2]), ([], [])):
        with pytest.raises(DataError, match="one shape, not empty"):
            metrics.accuracy(*pair)


def test_perplexity() -> None:
    assert metrics.perplexity(math.log(7)) == pytest.approx(7)
    assert metrics.perplexity(1e6) == math.inf


def test_mean_reciprocal_rank() -> None:
    scores = [[0.1, 0.9, 0.5], [0.2, 0.3, 0.9], [0.7, 0.1, 0.2]]
    assert metrics.mean_reciprocal_rank(scores, [1, 1, 1]) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    # the mean of ranks 1, 2 and 3 is 2
    assert metrics.mean_reciprocal_rank([[1.0, 1.0, 1.0]], [0]) == 1 / 2
    with pytest.raises(DataError, match=r"\(n, C\)"):
        metrics.mean_reciprocal_rank([1.0, 2.0], [0])


@pytest.mark.parametrize(
    ("prediction", "references", "f1", "exact"),
    [
        ("The cat.", ["a cat"], 1.0, 1.0),  # case, articles and punctuation do not count
        ("the black cat", ["black dog"], 0.5, 0.0),
        ("cat cat cat", ["cat"], 0.5, 0.0),  # a word counts as often as it is in both
        ("black cat sat", ["dog", "white cat sat down"], 4 / 7, 0.0),
        ("nothing", ["dog"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),  # nothing is left of either
        ("the", ["dog"], 0.0, 0.0),
    ],
)
def test_f1_and_exact_match(
    prediction: str, references: list[str], f1: float, exact: float
) -> None:
    assert metrics.token_f1([prediction], [references]) == pytest.approx(f1)
    assert metrics.exact_match([prediction], [references]) == exact


def test_means_are_over_predictions() -> None:
    assert metrics.token_f1(["cat", "dog"], [["cat"], ["bird"]]) == 0.5
    cases: list[tuple[list[str], list[list[str]]]] = [([], []), (["a"], []), (["a"], [[]])]
    for predictions, references in cases:
        with pytest.raises(DataError, match="at least one reference"):
            metrics.token_f1(predictions, references)


def test_bleu_by_hand() -> None:
    pytest.importorskip("sacrebleu")
    assert metrics.bleu(["the cat sat on the mat"], [["the cat sat on the mat"]]) == pytest.approx(
        100
    )
    # n-grams found: 5 of 5, 3 of 4, 2 of 3, 1 of 2; 5 words for 6: brevity exp(1 - 6/5)
    expected = 100 * math.exp(-0.2) * (1 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert metrics.bleu(["the cat sat on mat"], [["the cat sat on the mat"]]) == pytest.approx(
        expected
    )
    # any reference counts, and they may differ in number
    two = metrics.bleu(["a b c d", "e f g h"], [["x", "a b c d"], ["e f g h"]])
    assert two == pytest.approx(100)


def test_rouge_by_hand() -> None:
    pytest.importorskip("rouge_score")
    found = metrics.rouge(["the cat sat on mat"], [["a dog", "the cat lay on the mat"]])
    # unigrams: the, cat, on, mat of 5 and 6; bigrams: the-cat of 4 and 5; the longest common
    # subsequence has 4 words
    assert found["rouge1"] == pytest.approx(8 / 11)
    assert found["rouge2"] == pytest.approx(2 / 9)
    assert found["rougeL"] == pytest.approx(8 / 11)
    assert found["geometric_mean"] == pytest.approx((8 / 11 * 2 / 9 * 8 / 11) ** (1 / 3))
    assert metrics.rouge(["x"], [["y"]])["geometric_mean"] == 0


@pytest.mark.parametrize(
    ("call", "package"), [(metrics.bleu, "sacrebleu"), (metrics.rouge, "rouge-score")]
)
def test_without_the_optional_packages(
    monkeypatch: pytest.MonkeyPatch, call: object, package: str
) -> None:
    for name in ("sacrebleu", "rouge_score", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingDependencyError, match=rf"needs {package}.*pip install 'clso\[metrics\]'"
    ):
        call(["a"], [["a"]])  # type: ignore[operator]
