"""Running sums of exponentials of logits in C (`c_sources/head.c`)."""

from __future__ import annotations

from torch import Tensor

from clso.models.native import Call

__all__ = ["advance"]

_CALL = Call("head", "n_batch n_columns", "logits top total")


def advance(logits: Tensor, top: Tensor, total: Tensor) -> None:
    """Take more logits (n, columns) into each row's largest (n, 1) and its sum of exponentials under that
    (n, 1), in place: contiguous float32 tensors on a CPU."""
    sizes = {"n_batch": len(logits), "n_columns": logits.shape[1]}
    _CALL("sum_exponentials", sizes, {"logits": logits, "top": top, "total": total})
