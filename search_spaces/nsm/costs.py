"""What a Neural State Machine costs: what it is stored and executed as, without layers that change
nothing.

`flops`: of a forward pass, per token of a full block, head included, by the conventions of
`clso.models.sequence`. `n_params`: numbers stored. All matrices are dense: crystals were multiplied
into them."""

from __future__ import annotations

from functools import lru_cache

import torch

from clso.models.layers import Layer, ResidualBlock
from clso.models.nsm import NSMConfig, SimpleNSM

__all__ = ["COST_NAMES", "nsm_costs"]

COST_NAMES = ("flops", "n_params")


def nsm_costs(config: NSMConfig, n_live: int, *, mlp: bool) -> dict[str, float]:
    """Costs by name if `n_live` layers are switched on, with or without their MLPs."""
    flops, n_params, rest_flops, rest_params = _parts(config, mlp)
    return {
        "flops": (n_live * flops + rest_flops) / config.n_positions,
        "n_params": float(n_live * n_params + rest_params),
    }


@lru_cache
def _parts(config: NSMConfig, mlp: bool) -> tuple[int, int, int, int]:
    """FLOPs of a full block and parameters: of one layer, and of all that is no layer."""
    with torch.device("meta"):
        model = SimpleNSM(config)
    block = model.blocks[0]
    assert isinstance(block, ResidualBlock)
    assert isinstance(block.mixer, Layer)
    parts = (block.ln_1, block.mixer, *((block.ln_2, block.mlp) if mlp else ()))
    layer = block if mlp else block.mixer
    t = config.n_positions
    rest = sum(p.numel() for p in model.parameters()) - sum(
        p.numel() for p in model.blocks.parameters()
    )
    return (
        layer.flops(t),
        sum(p.numel() for part in parts for p in part.parameters()),
        model.forward_flops(t) - model.body_flops(t),
        rest,
    )
