"""The states of an NSM and their gradients in C (`c_sources/nsm.c`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.native import Call

if TYPE_CHECKING:
    from clso.models.nsm_gates import Gate
    from clso.models.nsm_recurrence import Weights

__all__ = ["advance", "read", "retreat"]

_TOKENS = 4096
"""Of all sequences together, that are gone through by one call, about."""

_CALL = Call(
    "nsm",
    "n_batch k c s d n_heads gru hears top_k before",
    "tokens x token_maps token_bias norm norm_bias maps maps_bias gate gate_bias importance states found grad carried "
    "d_tokens d_gate seen d_own normed d_norm d_norm_bias d_importance",
)


class _Shared:
    """What all calls for one layer have in common."""

    def __init__(self, w: Weights, gate: Gate, n_heads: int, top_k: int) -> None:
        arrays: dict[str, Tensor] = {
            "norm": w.norm,
            "norm_bias": w.norm_bias,
            "maps": w.states,
            "maps_bias": w.states_bias,
            "gate": gate.weights,
            "gate_bias": gate.bias,
            "importance": w.importance,
        }
        self._arrays = {name: t.detach().contiguous() for name, t in arrays.items()}
        self._sizes = {
            "s": len(w.initial),
            "d": w.d,
            "n_heads": n_heads,
            "gru": w.is_gru,
            # states whose gate does not listen need not talk
            "hears": bool(gate.weights[:, w.d : 2 * w.d].any()),
            "top_k": top_k,
        }

    def __call__(self, name: str, arrays: dict[str, Tensor], *, before: bool = False) -> None:
        """`name` for some chunks' tokens `x` (B, K, c, d), or their maps `tokens` (B, K, c, 2 d); if
        `before`, the first of them is there to be read only."""
        n_batch, k, c, _ = next(arrays[key] for key in ("x", "tokens") if key in arrays).shape
        sizes = {**self._sizes, "n_batch": n_batch, "k": k - before, "c": c, "before": before}
        _CALL(name, sizes, {**self._arrays, **arrays})


def advance(x: Tensor, w: Weights, gate: Gate, n_heads: int, top_k: int) -> Tensor:
    """Tokens in chunks (B, J, c, d) -> states (J + 1, B, S, width)."""
    n_batch, n_chunks, _, _ = x.shape
    states = x.new_empty(n_chunks + 1, n_batch, *w.initial.shape)
    states[0] = w.initial
    shared = _Shared(w, gate, n_heads, top_k)
    for at in _parts(x):
        tokens = F.linear(x[:, at], w.tokens, w.tokens_bias).contiguous()
        shared("nsm_advance", {"tokens": tokens, "states": states[at.start :]})
    return states


def read(
    x: Tensor, maps: tuple[Tensor, Tensor], w: Weights, gate: Gate, n_heads: int, top_k: int
) -> Tensor:
    """What tokens in chunks (B, J, c, d) read (B, J, c, d), by their four maps (4 d, d) and (4 d,),
    attention's scale in both queries' rows. No more states are kept than a call makes."""
    shared, found = _Shared(w, gate, n_heads, top_k), []
    n_batch = len(x)
    start = w.initial.expand(n_batch, -1, -1)
    for at in _parts(x):
        before = at.start > 0
        part = x[:, at.start - before : at.stop]
        states = x.new_empty(at.stop - at.start + 1, *start.shape)
        states[0] = start
        found.append(torch.empty_like(x[:, at], memory_format=torch.contiguous_format))
        arrays = {"x": part.contiguous(), "token_maps": maps[0], "token_bias": maps[1]}
        shared("nsm_advance", {**arrays, "states": states, "found": found[-1]}, before=before)
        start = states[-1]
    return torch.cat(found, dim=1)


def retreat(
    x: Tensor, states: Tensor, grad: Tensor, w: Weights, gate: Gate, n_heads: int, top_k: int
) -> tuple[Tensor, Weights]:
    """Gradients of the tokens and of each of `Weights` from those of the states."""
    (n_batch, _, _, d), s = x.shape, len(w.initial)
    found, totals = torch.empty_like(x), type(w)(*map(torch.zeros_like, w))
    grad = grad.contiguous()
    carried = grad[-1].clone()
    shared = _Shared(w, gate, n_heads, top_k)
    summed = {name: x.new_zeros(n_batch, d) for name in ("d_norm", "d_norm_bias")}
    summed["d_importance"] = x.new_zeros(n_batch, s)
    for at in reversed(_parts(x)):
        part = x[:, at]
        k = part.shape[1]
        tokens = F.linear(part, w.tokens, w.tokens_bias).contiguous()
        widths = {"d_gate": len(gate.weights), "seen": 3 * d, "d_own": 3 * d, "normed": d}
        made = {name: x.new_empty(k * n_batch * s, n) for name, n in widths.items()}
        d_tokens = torch.empty_like(tokens)
        over_time = {
            "states": states[at.start :],
            "grad": grad[at.start :],
            "carried": carried,
            "d_tokens": d_tokens,
        }
        shared("nsm_retreat", {"tokens": tokens, **over_time, **made, **summed})
        inputs, shown = torch.split(made["seen"], [2 * d, d], dim=1)
        for gradient, name, seen in (
            (gate.by_input(made["d_gate"]), "gate_input", inputs),
            (gate.by_state(made["d_gate"]), "gate_state", shown),
            (made["d_own"], "states", made["normed"]),
            (d_tokens.flatten(0, 2), "tokens", part.reshape(-1, d)),
        ):
            getattr(totals, name).addmm_(gradient.t(), seen)
            getattr(totals, f"{name}_bias").add_(gradient.sum(0))
        found[:, at] = d_tokens @ w.tokens
    for name, by_sequence in summed.items():
        getattr(totals, name.removeprefix("d_")).add_(by_sequence.sum(0))
    totals.initial.add_(carried.sum(0))
    return found, totals


def _parts(x: Tensor) -> list[slice]:
    """The chunks that are gone through by one call."""
    n_batch, n_chunks, c, _ = x.shape
    size = max(1, _TOKENS // (n_batch * c))
    return [slice(i, min(i + size, n_chunks)) for i in range(0, n_chunks, size)]
