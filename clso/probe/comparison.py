"""Every two subjects, compared on the same test examples, corrected for the number of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from clso.prove.statistics import compare_pairs, holm
from clso.tasks.base import Examples
from clso.tasks.scoring import answers, make_batch

__all__ = ["Scores", "compare_all", "example_scores"]

Scores = dict[str, npt.NDArray[np.float64]]
_BATCH = 64


@torch.no_grad()
def example_scores(models: Sequence[nn.Module], examples: Examples, device: str) -> Scores:
    """`loss` and `accuracy` of each answer, (seeds, answers): one answer an example, or one for each
    token that is asked for."""
    order = np.argsort((examples.tokens != 0).sum(1), kind="stable")
    losses: list[list[torch.Tensor]] = [[] for _ in models]
    right: list[list[torch.Tensor]] = [[] for _ in models]
    for start in range(0, len(order), _BATCH):
        batch = make_batch(examples, order[start : start + _BATCH], device)
        for i, model in enumerate(models):
            logits, targets = answers(model.eval(), batch)
            losses[i].append(F.cross_entropy(logits.float(), targets, reduction="none"))
            right[i].append(logits.argmax(1) == targets)
    return {
        name: torch.stack([torch.cat(one) for one in parts]).double().cpu().numpy()
        for name, parts in (("loss", losses), ("accuracy", right))
    }


def compare_all(scores: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Each two subjects by loss and by accuracy: first minus second, paired by answer, means over
    seeds.

    `p` is Wilcoxon's, `p_holm` corrected for all comparisons here. The examples are what chance is
    taken over: another training may differ, which the spread over seeds says."""
    found: list[dict[str, Any]] = []
    for (name, own), (other_name, other) in combinations(scores.items(), 2):
        for metric in ("loss", "accuracy"):
            pair = compare_pairs(own[metric].mean(axis=0).tolist(), other[metric].mean(0).tolist())
            found.append({"model": name, "against": other_name, "metric": metric, **pair})
    corrected = holm([one["p"] for one in found])
    return [{**one, "p_holm": p} for one, p in zip(found, corrected, strict=True)]
