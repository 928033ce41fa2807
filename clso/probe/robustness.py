"""What is left of the answers on longer sequences, on noisy ones, and under an adversary."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from clso.errors import ClsoError
from clso.probe.context import Context
from clso.probe.figure import Figure, Figures, missing
from clso.probe.subject import with_positions
from clso.tasks.base import Examples, Tokens, pad, row_keys
from clso.tasks.scoring import Score, answers, make_batch, score

__all__ = ["NOISES", "RATES", "adversarial", "by_length", "measure", "noisy"]

FACTORS = (1, 2, 3, 4)
_LEAST_GROWTH = 2.0  # of the mean length, where four times is asked for
RATES = (0.0, 0.01, 0.03, 0.1, 0.3)
_SHOWN_RATE = 0.1
_FLIPS = (1, 2, 4)
_CANDIDATES = 32  # flips that are tried for each one that is made


def measure(context: Context) -> Figures:
    """The group "robustness"."""
    return {**by_length(context), **_under_noise(context), "adversarial": adversarial(context)}


def by_length(context: Context) -> Figures:
    """Accuracy and loss on sequences of up to four times the training's length."""
    names = ("accuracy_2x", "accuracy_4x", "loss_4x", "extrapolation", "degradation_slope")
    points: dict[int, tuple[float, Score]] = {}
    train = set(row_keys(context.task.split("train").tokens))
    n = len(context.examples)
    for factor in FACTORS:
        try:
            longer = context.task if factor == 1 else context.task.longer(factor, n)
            model = with_positions(context.model, longer.n_positions)
            test = longer.split("test")[:n]
        except ClsoError as error:
            return missing(names, " ".join(str(error).split()))
        unseen = np.array([key not in train for key in row_keys(test.tokens)])
        test = test[np.flatnonzero(unseen)]
        points[factor] = (
            float((test.tokens != 0).sum(1).mean()),
            score(model, test, batch=context.settings.batch, device=context.device),
        )
    if points[max(FACTORS)][0] < _LEAST_GROWTH * points[1][0]:
        return missing(names, "the task's sequences do not get longer with its options")
    accuracy = {factor: found.accuracy for factor, (_, found) in points.items()}
    doublings = np.log2(np.array(FACTORS, dtype=np.float64))
    slope = np.polyfit(doublings, [accuracy[factor] for factor in FACTORS], 1)[0]
    detail = {
        "points": [
            {"factor": f, "mean_length": tokens, "accuracy": found.accuracy, "loss": found.loss}
            for f, (tokens, found) in points.items()
        ]
    }
    return {
        "accuracy_2x": Figure(accuracy[2]),
        "accuracy_4x": Figure(accuracy[4]),
        "loss_4x": Figure(points[4][1].loss),
        "extrapolation": Figure(
            accuracy[4] / accuracy[1] if accuracy[1] else None,
            None if accuracy[1] else "no answer is right at the training's length",
        ),
        "degradation_slope": Figure(float(slope), detail=detail),
    }


def _under_noise(context: Context) -> Figures:
    found: Figures = {}
    if not any(_places(context.examples, row) for row in range(len(context.examples))):
        return missing([f"noise_{name}" for name in NOISES], "every token of the task is asked for")
    for name in NOISES:
        points = []
        for rate in RATES:
            changed = noisy(context.examples, name, rate, len(context.task.vocab), seed=0)
            one = score(context.model, changed, batch=context.settings.batch, device=context.device)
            points.append({"rate": rate, "accuracy": one.accuracy, "loss": one.loss})
        at = {point["rate"]: point["accuracy"] for point in points}
        found[f"noise_{name}"] = Figure(at[0.0] - at[_SHOWN_RATE], detail={"points": points})
    return found


def noisy(examples: Examples, name: str, rate: float, n_vocab: int, *, seed: int) -> Examples:
    """Examples with a share `rate` of their tokens changed, where no answer is asked for.

    Targets stay those of the clean sequence, at the tokens that they stood at. At least one token is
    left of every sequence."""
    rng = random.Random(f"{name} {rate} {seed}")
    rows, sources = [], []
    for row in range(len(examples)):
        tokens = [int(t) for t in examples.tokens[row] if t]
        places = _places(examples, row)
        # rounded up as often as the share says, so that short sequences change, too
        n = min(int(rate * len(tokens) + rng.random()), len(places))
        order = NOISES[name](tokens, rng.sample(places, n), n_vocab, rng)
        source = order or ([0] if order == [] else list(range(len(tokens))))
        rows.append([tokens[i] for i in source])
        sources.append(source)
    if examples.targets.ndim == 1:
        return Examples(pad(rows), examples.targets)
    targets = [
        [int(examples.targets[row][i]) for i in source] for row, source in enumerate(sources)
    ]
    return Examples(pad(rows), pad(targets))


def _drop(
    tokens: list[int], places: Sequence[int], n_vocab: int, rng: random.Random
) -> list[int] | None:
    gone = set(places)
    return [i for i in range(len(tokens)) if i not in gone]


def _swap(
    tokens: list[int], places: Sequence[int], n_vocab: int, rng: random.Random
) -> list[int] | None:
    """With the next token; the order is that of the places."""
    for i in places:
        if i + 1 < len(tokens):
            tokens[i], tokens[i + 1] = tokens[i + 1], tokens[i]
    return None


def _replace(
    tokens: list[int], places: Sequence[int], n_vocab: int, rng: random.Random
) -> list[int] | None:
    """By any other token but padding."""
    for i in places:
        tokens[i] = 1 + (tokens[i] - 1 + rng.randrange(1, n_vocab - 1)) % (n_vocab - 1)
    return None


NOISES: dict[str, Callable[[list[int], Sequence[int], int, random.Random], list[int] | None]] = {
    "drop": _drop,
    "swap": _swap,
    "replace": _replace,
}
"""They change `tokens`, or say which of them are left, in order."""


def _places(examples: Examples, row: int) -> list[int]:
    """Tokens of a sequence that may be changed: those at which no answer is asked for."""
    n = int((examples.tokens[row] != 0).sum())
    if examples.targets.ndim == 1:
        return list(range(n))
    return [i for i in range(n) if not examples.targets[row][i]]


@torch.no_grad()
def adversarial(context: Context) -> Figure:
    """Accuracy that is lost after up to four flips of single tokens. Each is the one that raises the
    loss most among `_CANDIDATES` drawn at random; if the task can tell, only flips that keep the
    answer."""
    rights: dict[int, list[float]] = {0: [], **{k: [] for k in _FLIPS}}
    losses: dict[int, list[float]] = {k: [] for k in rights}
    rng = random.Random(0)
    for row in range(len(context.examples)):
        places = _places(context.examples, row)
        if not places:
            return Figure(None, "every token of the task is asked for")
        example = context.examples[row : row + 1]
        n = int((example.tokens != 0).sum())
        tokens = example.tokens[0, :n].copy()
        for flips in range(max(_FLIPS) + 1):
            candidates = [tokens, *_flipped(context, example, tokens, places, rng, bool(flips))]
            loss, right = _losses(context, example, candidates)
            worst = int(np.argmax(loss))
            tokens = candidates[worst]
            if flips in rights:
                rights[flips].append(right[worst])
                losses[flips].append(loss[worst])
    points = [
        {"flips": k, "accuracy": float(np.mean(rights[k])), "loss": float(np.mean(losses[k]))}
        for k in rights
    ]
    kept = context.task.answer(context.examples.tokens[0]) is not None
    return Figure(
        points[0]["accuracy"] - points[-1]["accuracy"],
        detail={"points": points, "candidates": _CANDIDATES, "answers_kept": kept},
    )


def _flipped(
    context: Context,
    example: Examples,
    tokens: Tokens,
    places: Sequence[int],
    rng: random.Random,
    wanted: bool,
) -> list[Tokens]:
    """Up to `_CANDIDATES` sequences that differ from `tokens` in one token."""
    found: list[Tokens] = []
    n_vocab = len(context.task.vocab)
    for _ in range(_CANDIDATES if wanted else 0):
        changed = [int(t) for t in tokens]
        _replace(changed, [rng.choice(places)], n_vocab, rng)
        candidate = np.array(changed, np.uint16)
        answer = context.task.answer(candidate)
        if answer is None or answer == int(example.targets[0]):
            found.append(candidate)
    return found


def _losses(
    context: Context, example: Examples, candidates: Sequence[Tokens]
) -> tuple[list[float], list[float]]:
    """Mean loss, and share of right answers, of each candidate with the example's targets."""
    n = len(candidates)
    width = len(candidates[0])
    targets = example.targets if example.targets.ndim == 1 else example.targets[:, :width]
    part = Examples(np.stack(candidates), np.repeat(targets, n, axis=0))
    batch = make_batch(part, np.arange(n), context.device)
    logits, asked = answers(context.model, batch)
    loss = F.cross_entropy(logits.float(), asked, reduction="none").view(n, -1).mean(1)
    right = (logits.argmax(1) == asked).float().view(n, -1).mean(1)
    return loss.tolist(), right.tolist()
