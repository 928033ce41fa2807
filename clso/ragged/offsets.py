"""The rules for a batch of documents in one row of tokens: where each begins, and how long it may be."""

from __future__ import annotations

from torch import Tensor

from clso.errors import ShapeError

__all__ = ["check_offsets"]


def check_offsets(offsets: Tensor, n_tokens: int, longest: int | None = None) -> list[int]:
    """`offsets` (k + 1,) as whole numbers: document i is tokens `offsets[i]` to `offsets[i + 1]`, of `n_tokens`.

    Raises `ShapeError` if they do not rise from 0 to `n_tokens`, or a document is over `longest`; it names the culprit.
    """
    if (
        offsets.dim() != 1
        or len(offsets) < 2
        or offsets.is_floating_point()
        or offsets.is_complex()
    ):
        raise ShapeError(
            "offsets are whole numbers of shape (documents + 1,)",
            problem=f"these are {tuple(offsets.shape)} of {offsets.dtype}",
        )
    bounds: list[int] = offsets.tolist()
    if bounds[0] != 0:
        raise ShapeError("offsets start at 0", got=bounds[0])
    for i in range(len(bounds) - 1):
        length = bounds[i + 1] - bounds[i]
        if length < 0:
            raise ShapeError(
                "offsets rise", problem=f"document {i} goes from {bounds[i]} to {bounds[i + 1]}"
            )
        if length == 0:
            raise ShapeError(
                "a document has at least one token",
                problem=f"document {i} has none",
                remedy="Leave it out.",
            )
        if longest is not None and length > longest:
            raise ShapeError(
                f"a document has at most {longest} tokens",
                problem=f"document {i} has {length}",
                remedy="Cut it, or raise n_positions.",
            )
    if bounds[-1] != n_tokens:
        raise ShapeError(f"offsets end at the number of tokens, {n_tokens}", got=bounds[-1])
    return bounds
