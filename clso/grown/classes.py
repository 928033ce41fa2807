"""Classes of tokens: clusters of their codes, so that contexts which were never seen are like some that were.

As classes of n-grams do (Brown et al. 1992), but from the vectors of a model that is there anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["MAX_CLASSES", "token_classes"]

MAX_CLASSES = 128
_STEPS = 8
_AT_ONCE = {"cpu": 1 << 13, "cuda": 1 << 17}  # tokens


@torch.no_grad()
def token_classes(codes: Tensor, count: Tensor, n_classes: int = MAX_CLASSES) -> Tensor:
    """Classes (V,) uint8 of tokens by spherical k-means (Dhillon and Modha 2001).

    Parameters
    ----------
    codes : (V, d) float, each token's vector.
    count : (V,) occurrences; a token weighs their square root, and the most frequent ones are the first centres.
    n_classes : at most 256; a smaller vocabulary has a class a token.
    """
    n_classes = min(n_classes, len(codes))
    x, weight = F.normalize(codes.float(), dim=1), count.float().sqrt() + 0.1
    centres = x[torch.argsort(count, descending=True, stable=True)[:n_classes]]
    nearest = torch.empty(len(x), dtype=torch.long, device=x.device)
    at_once = _AT_ONCE.get(x.device.type, _AT_ONCE["cpu"])
    for _ in range(_STEPS):
        sums = torch.zeros_like(centres)
        for i in range(0, len(x), at_once):
            part = slice(i, i + at_once)
            nearest[part] = (x[part] @ centres.T).argmax(1)
            # As a product, for a GPU's `index_add_` adds in any order.
            sums += F.one_hot(nearest[part], n_classes).float().T @ (x[part] * weight[part, None])
        centres = F.normalize(sums, dim=1)
    return nearest.to(torch.uint8)
