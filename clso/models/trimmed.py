"""A GPT-2 or an NSM without its silent parts: what is multiplied by zeros, for scoring only.

    model = trimmed(load_hf(folder))      # the same losses, up to float32's rounding

A grown GPT-2 of 12 layers uses three attention heads and four hidden units of them; a file that
`transformers` reads holds the rest as zeros, and multiplying by those is most of a pass. A grown
NSM's hidden units are all silent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clso.models.gpt2 import GPT2, MLP, Attention, Block
from clso.models.layers import ResidualBlock
from clso.models.nsm import SimpleNSM

__all__ = ["trimmed", "trimmed_nsm"]


@torch.no_grad()
def trimmed(model: GPT2) -> GPT2:
    """`model`, changed in place: attention heads and hidden units whose output weights are all zero
    are taken out, and whole sub-layers that add nothing.

    Its state is then no GPT-2's any more, so it is not to be written."""
    for block in model.h:
        assert isinstance(block, Block)
        block.attn, block.mlp = _attention(block.attn), _mlp(block.mlp)
    return model


@torch.no_grad()
def trimmed_nsm(model: SimpleNSM) -> SimpleNSM:
    """`model`, changed in place, without mixers and GELU layers whose last matrix is zero. It has
    no trace of them, and is not to be written."""
    for block, mixer in zip(model.blocks, model.mixers(), strict=True):
        assert isinstance(block, ResidualBlock)
        assert block.mlp is not None
        if _is_zero(block.mlp[-1]):
            block.mlp = None
        if _is_zero(mixer.out):
            block.mixer = None
    return model


def _is_zero(layer: nn.Module) -> bool:
    return not any(bool(p.any()) for p in layer.parameters())


def _attention(attention: Attention | None) -> Attention | None:
    if attention is None:
        return None
    d, n_heads = attention.o.out_features, attention.n_heads
    by_head = attention.o.weight.view(d, n_heads, -1)  # (d, H, h)
    used = _used(by_head.movedim(1, 0), attention.o.bias)
    if len(used) in (0, n_heads):
        return attention if len(used) else None
    # queries, keys and values (3, H, h, d) and their biases (3, H, h)
    weight = attention.qkv.weight.view(3, n_heads, -1, d)[:, used]
    bias = attention.qkv.bias.view(3, n_heads, -1)[:, used]
    with torch.device("meta"):
        out = Attention(d, len(used), by_head.shape[2])
    state = {
        "qkv.weight": weight.flatten(0, 2),
        "qkv.bias": bias.flatten(),
        "o.weight": by_head[:, used].flatten(1),
        "o.bias": attention.o.bias,
    }
    out.load_state_dict(state, assign=True)
    return out


def _mlp(mlp: MLP | None) -> MLP | None:
    if mlp is None:
        return None
    used = _used(mlp.proj.weight.T, mlp.proj.bias)
    if len(used) in (0, mlp.fc.out_features):
        return mlp if len(used) else None
    with torch.device("meta"):
        out = MLP(mlp.fc.in_features, len(used))
    state = {
        "fc.weight": mlp.fc.weight[used],
        "fc.bias": mlp.fc.bias[used],
        "proj.weight": mlp.proj.weight[:, used],
        "proj.bias": mlp.proj.bias,
    }
    out.load_state_dict(state, assign=True)
    return out


def _used(output: Tensor, bias: Tensor) -> Tensor:
    """Parts (n, ...) that have an output weight other than 0; one at least if there is a bias, which
    a part carries."""
    used = output.flatten(1).any(1).nonzero().flatten()
    return used if len(used) or not bool(bias.any()) else used.new_zeros(1)
