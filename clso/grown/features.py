"""MLP crystals: a hidden layer of random structured features, whose output matrix is fitted in
closed form.

Features phi(h) = GELU(W h / s + c) of the code h that the context head leaves, with W a random
crystal, c random biases and s the size of codes (random features after Rahimi & Recht 2007; a layer
so trained is an extreme learning machine, Huang et al. 2006). The output matrix is the regression
of `clso.grown.context` with one difference. Most of phi is the current token's doing, and to
subtract its mean given the token would move the embedded code, which both layers read, by more than
its own length. So nothing is subtracted, and the regression is of phi as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from clso.crystals import make_crystal
from clso.crystals.params import Params
from clso.grown.als import hash_noise
from clso.grown.context import ValueMap, fit_map

__all__ = ["FEATURE_FAMILIES", "RandomFeatures", "fit_features", "random_features"]

FEATURE_FAMILIES: dict[str, tuple[str, Params]] = {
    "random-feature": ("quantised", {}),
    "block-sparse": ("block_diagonal", {"blocks": 4}),
    "low-rank": ("low_rank", {"rank": 8}),
}
"""Crystal family and parameters of the input matrix."""


@dataclass(frozen=True)
class RandomFeatures:
    """`weight` (H, k) and `bias` (H,) of the hidden units."""

    weight: Tensor
    bias: Tensor

    def __call__(self, code: Tensor) -> Tensor:
        """Codes (..., k) -> features (..., H)."""
        return F.gelu(code @ self.weight.T + self.bias, approximate="tanh")


def random_features(family: str, n_units: int, a: Tensor, count: Tensor) -> RandomFeatures:
    """`n_units` features of codes like `a` (V, k), whose tokens occur `count` (V,) times.

    Inputs of a unit have unit mean square on isotropic codes; biases are uniform with unit
    variance."""
    crystal, params = FEATURE_FAMILIES[family]
    k = a.shape[1]
    weight = make_crystal(crystal, (n_units, k), 0, params).to_dense(device=a.device)
    size = math.sqrt(float((count * a.square().mean(1)).sum() / count.sum()))
    return RandomFeatures(weight / max(size, 1e-9), hash_noise(1, n_units, a.device, seed=3)[0])


def fit_features(
    blocks: Tensor,
    attention: Tensor,
    a: Tensor,
    b: Tensor,
    context: ValueMap,
    features: RandomFeatures,
    *,
    ridge: float = 0.01,
    damping: float = 1.0,
) -> Tensor:
    """The output map (H, k) of `features` behind a context head with `context`, one map, fitted for
    `attention` (T, T)."""
    attention = attention.to(a.device)

    def regression(tokens: Tensor) -> tuple[Tensor, Tensor]:
        # The code that the context head leaves (T, n, k): the token's own and what is added to it.
        codes = a[tokens[:-1]]
        averages = (attention @ codes.flatten(1)).view_as(codes)
        added = averages @ context.matrix - context.expected[tokens[:-1]]
        return features(codes + added)[None], b[tokens[1:]]

    return fit_map(blocks, regression, len(a), ridge=ridge, damping=damping, between=1.0).matrix[0]
