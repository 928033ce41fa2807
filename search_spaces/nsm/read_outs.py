"""The read-outs of a grown NSM as one multinomial regression.

With embedding and head as they were grown, logits are linear in what read-outs add to the code, so that for what they read
the likelihood is concave. Its first step of Fisher scoring, within each current token, is how a read-out is grown
(`clso.grown.context`). Here a few more are taken, of all layers together, each on a part of the text that no other step
sees. As in `clso.grown.log_bilinear` a step solves a quadratic, whose curvature is the second moment of what the head misses
in the eigenbases of what is read and of what is missed (George et al. 2018, arXiv:1806.03884), damped. A step that does not
help on a part kept for that is halved, and at last taken back.

Nothing goes back through a layer: an earlier read-out is told what the head misses, not what later layers make of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from clso.grown.log_bilinear import missed_codes
from clso.models.gpt2 import text_loss
from clso.models.layers import ResidualBlock
from clso.models.nsm import SimpleNSM
from clso.models.nsm_mixer import StateMixer
from clso.models.sequence import SequenceConfig
from clso.models.trimmed import trimmed_nsm
from clso.search_spaces.nsm.wiring import SCALE, Wiring

__all__ = ["fit_read_outs", "n_tokens"]

_MOST_TOKENS = 1 << 19
_LOGITS = 1 << 31  # of all steps together
_SEEN = 1 << 28  # numbers that are read, in all steps
_TOGETHER = 1 << 11  # dimensions of read-outs that are regressed on as one
_STEPS = 8
_KEPT_TOKENS = 1 << 13  # at most, to judge steps by
_FIRST_LENGTH, _TRIES = 0.5, 3
_DAMPING = 0.1  # share of the mean curvature
_BLOCKS = 64  # read at once


def n_tokens(config: SequenceConfig) -> int:
    """Tokens of a fit."""
    width = config.n_layers * config.d_model
    return min(_MOST_TOKENS, _LOGITS // config.vocab_size, _SEEN // width)


@torch.no_grad()
def fit_read_outs(model: SimpleNSM, wiring: Wiring, blocks: Tensor) -> None:
    """Make token blocks (n, T + 1) likelier under a grown `model`, whose read-outs change in place."""
    fast = trimmed_nsm(deepcopy(model))
    live = [
        (mixer.out, block.mixer.out)
        for mixer, block in zip(model.mixers(), fast.blocks, strict=True)
        if isinstance(block, ResidualBlock) and isinstance(block.mixer, StateMixer)
    ]
    outs = [out for _, out in live]
    n_kept = min(max(1, _KEPT_TOKENS // (blocks.shape[1] - 1)), len(blocks) // (2 * _STEPS))
    if not outs or not n_kept:  # a text of a few blocks says too little of so many weights
        return
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))
    kept = blocks[order[:n_kept]]
    loss, length = text_loss(fast, kept), _FIRST_LENGTH
    for part in order[n_kept:].tensor_split(_STEPS):
        change = _step(fast, outs, wiring, blocks[part])
        before = [out.weight.clone() for out in outs]
        for _ in range(_TRIES):
            for out, old, new in zip(outs, before, change, strict=True):
                torch.add(old, new, alpha=length, out=out.weight)
            found = text_loss(fast, kept)
            if found < loss:
                loss = found
                break
            length /= 2
        else:
            for out, old in zip(outs, before, strict=True):
                out.weight.copy_(old)
    for out, fitted in live:
        out.weight.copy_(fitted.weight)


def _step(model: SimpleNSM, outs: list[nn.Linear], wiring: Wiring, blocks: Tensor) -> list[Tensor]:
    """What each read-out's weight (d_model, d_model) would be changed by."""
    axes, d = wiring.axes.to(model.head.weight.device), model.config.d_model
    parts = [_read(model, outs, axes, part) for part in torch.split(blocks, _BLOCKS)]
    seen, missed = (torch.cat(own) for own in zip(*parts, strict=True))
    right = _eigenbasis(missed)
    missed, change = missed @ right, []
    for rows in torch.split(seen, d * max(1, _TOGETHER // d), dim=1):  # of some layers
        left = _eigenbasis(rows)
        turned = rows @ left
        curvature = turned.square().T @ missed.square()
        damped = curvature + _DAMPING * curvature.mean()
        change.append(left @ (turned.T @ missed / damped) @ right.T)  # (d_model of each, K)
    return [SCALE * axes @ own.T for own in torch.split(torch.cat(change), d)]


def _read(
    model: SimpleNSM, outs: list[nn.Linear], axes: Tensor, blocks: Tensor
) -> tuple[Tensor, Tensor]:
    """What read-outs read, side by side (n, d_model of all), and what the head misses of the next token's code (n, K)."""
    blocks = blocks.to(axes.device).long()
    with _watched(outs) as seen:
        hidden = model.hidden(blocks[:, :-1]).flatten(0, 1)
    weight = model.head.weight
    # behind a norm whose bias is one a row's sum is its bias
    head = torch.cat((weight @ axes, weight.sum(1, keepdim=True)), 1)
    _, missed = missed_codes(hidden @ axes, head, blocks[:, 1:].flatten())
    return torch.cat(seen, 1), missed


@contextmanager
def _watched(outs: list[nn.Linear]) -> Iterator[list[Tensor]]:
    """What each was given, once they have been called."""
    found: list[Tensor] = []

    def remember(_: nn.Module, given: tuple[Any, ...]) -> None:
        found.append(given[0].flatten(0, 1))

    handles = [out.register_forward_pre_hook(remember) for out in outs]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _eigenbasis(rows: Tensor) -> Tensor:
    """Of the second moment of (n, k): (k, k)."""
    basis: Tensor = torch.linalg.eigh((rows.T @ rows).double())[1].to(rows.dtype)
    return basis
