"""What a GPT-2 made of crystals costs, in its structured form: no slot at its dense size, no part
that changes nothing.

`flops`: two for every multiply-add of a forward pass, per token of a full block. Matrices count by
their crystals' own algorithm, the head included, and attention as in `GPT2Config.forward_flops`.
Look-ups, biases, LayerNorm and GELU count nothing. `n_params` and `n_bytes`: what is stored, a
crystal in two slots once. An exported GPT-2 is dense, and costs the same whatever the genome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clso.crystals import Crystal, Zero
from clso.models.gpt2 import GPT2Config

__all__ = ["COST_NAMES", "FLOAT_BYTES", "Stored", "model_costs", "stored"]

COST_NAMES = ("flops", "n_bytes", "n_params")
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Stored:
    """A crystal's costs: FLOPs for one row, numbers and bytes stored. `zero` marks a slot that is
    switched off."""

    flops: int
    n_params: int
    n_bytes: int
    zero: bool = False


def stored(crystal: Crystal) -> Stored:
    """The costs of `crystal`, as a dense matrix if that is smaller."""
    dense = crystal.d_out * crystal.d_in
    n_params, n_bytes = min(crystal.n_params, dense), min(crystal.n_bytes, FLOAT_BYTES * dense)
    return Stored(crystal.flops(1), n_params, n_bytes, isinstance(crystal, Zero))


def model_costs(
    config: GPT2Config,
    slots: Mapping[str, tuple[object, Stored]],
    *,
    trained: bool,
    attention_flops: Sequence[float] | None = None,
) -> dict[str, float]:
    """Costs of a model whose slots hold crystals: an identity, and costs.

    Attention without values or output, and an MLP without one of its halves, add a constant at most: then all of its
    slots go. `trained`: with biases and LayerNorms; one d-vector of biases is left of a part that goes.
    `attention_flops`: of each layer's scores and averages, per token; by default as `GPT2Config.forward_flops` has them.
    """
    d, live, vectors, attention = config.d_model, dict(slots), 0, 0.0
    by_layer = attention_flops or [4 * config.n_positions * d] * config.n_layers
    for i in range(config.n_layers):
        for part, matrices, needed, biases in (
            ("attn", "q k v o", "v o", 4 * d),
            ("mlp", "fc proj", "fc proj", config.d_mlp + d),
        ):
            gone = any(slots[f"h.{i}.{part}.{m}"][1].zero for m in needed.split())
            vectors += d if gone else biases + 2 * d
            attention += by_layer[i] if part == "attn" and not gone else 0
            for matrix in matrices.split() if gone else ():
                del live[f"h.{i}.{part}.{matrix}"]
    vectors = vectors + 2 * d if trained else 0
    distinct = dict(live.values()).values()
    return {
        "flops": float(
            attention + sum(s.flops for name, (_, s) in live.items() if name not in ("wte", "wpe"))
        ),
        "n_bytes": float(sum(s.n_bytes for s in distinct) + FLOAT_BYTES * vectors),
        "n_params": float(sum(s.n_params for s in distinct) + vectors),
    }
