"""The heart of a Neural State Machine: tokens write to a few gated states that talk, and read from
them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models.layers import Layer, in_chunks, merge_heads, split_heads

__all__ = [
    "GATES",
    "Gate",
    "GateKind",
    "Passage",
    "StateMixer",
    "attend",
    "attention",
    "top_weights",
]

_MAX_EXPONENT = 30.0
_TINY = 1e-20  # keeps the weights finite if every importance is zero


def attend(scores: Tensor, importance: Tensor) -> Tensor:
    """Weights importance_s exp(score_s) / sum over s, along the last dimension: (..., S) and (S,)
    -> (..., S).

    Importance one everywhere is softmax. A target of importance zero gets nothing and changes no
    other weight, and still has a gradient to grow by; that is what pruning and allocation rest on,
    and why it is no log-importance in a softmax."""
    peak = scores.detach().masked_fill(importance <= 0, -torch.inf).amax(dim=-1, keepdim=True)
    # only what is off can be above the peak
    weights = importance * torch.exp((scores - peak).clamp_max(_MAX_EXPONENT))
    return weights / weights.sum(dim=-1, keepdim=True).clamp_min(_TINY)


def attention(importance: Tensor) -> Callable[[Tensor], Tensor]:
    """`attend` for many scores of one importance (S,): if all of it is positive, in the two
    operators of a softmax."""
    if bool((importance > 0).all()):
        offset = importance.log()
        return lambda scores: torch.softmax(scores + offset, dim=-1)
    return partial(attend, importance=importance)


def top_weights(weights: Tensor, top_k: int) -> Tensor:
    """Weights (..., S) where, for top_k > 0, only the `top_k` heaviest are left, which share all of
    the weight."""
    if not 0 < top_k < weights.shape[-1]:
        return weights
    heaviest, index = weights.topk(top_k, dim=-1)
    heaviest = heaviest / heaviest.sum(dim=-1, keepdim=True).clamp_min(_TINY)
    return torch.zeros_like(weights).scatter(-1, index, heaviest)


GateKind = Literal["gru", "lstm"]
GATES: tuple[GateKind, ...] = ("gru", "lstm")


class Gate(nn.Module):
    """One cell for all states. A state is (..., width): d_model wide, and as much again for the
    LSTM's cell."""

    def __init__(self, kind: GateKind, d_input: int, d_model: int) -> None:
        super().__init__()
        self.d_input, self.d_model = d_input, d_model
        self.cell: nn.GRUCell | nn.LSTMCell
        self.cell = (nn.GRUCell if kind == "gru" else nn.LSTMCell)(d_input, d_model)
        self.width = d_model if kind == "gru" else 2 * d_model

    def forward(self, inputs: Tensor, state: Tensor) -> Tensor:
        """New states (..., width) from each one's inputs (..., d_input) and what it was."""
        rows, old = inputs.flatten(0, -2), state.flatten(0, -2)
        if isinstance(self.cell, nn.GRUCell):
            new: Tensor = self.cell(rows, old)
        else:
            hidden, cell = old.chunk(2, dim=-1)
            new = torch.cat(self.cell(rows, (hidden.contiguous(), cell.contiguous())), dim=-1)
        return new.view_as(state)

    def shown(self, state: Tensor) -> Tensor:
        """The part of a state that others see: (..., width) -> (..., d_model)."""
        return state[..., : self.d_model]

    def flops(self, n_states: int) -> int:
        n_gates = 3 if isinstance(self.cell, nn.GRUCell) else 4
        return 2 * n_gates * self.d_model * (self.d_input + self.d_model) * n_states


class Passage(NamedTuple):
    """One pass over T tokens, in J chunks."""

    out: Tensor
    """(B, T, d_model)."""
    routing: Tensor
    """How each token's message was spread over the states: (B, heads, T, S), rows sum to 1."""
    reading: Tensor
    """What each token read: weights on the states as its chunk found them, (B, heads, T, S); the
    rest to near tokens."""
    states: Tensor
    """The states as each chunk found them, and at the end: (B, J + 1, S, d_model)."""


class StateMixer(Layer):
    """S states, updated once a chunk. For chunk j, with the states as chunks before it left them:

    1. *read*: each token attends to the states and, causally, to the tokens of its own and the
       previous chunk (a window of c to 2c tokens), in one softmax over both;
    2. *route*: each token spreads its value over the states by multi-head attention, optionally to
       its top-k states only;
    3. *talk*: each state attends to all states, by multi-head attention on their layer norms;
    4. *gate*: a GRU or LSTM cell takes in, for each state, the mean of what it was sent and what it
       heard. It moves by 1 - exp(-mass), mass being the number of tokens sent to it, so that a
       state that nothing was sent to keeps still.

    Time is linear in T: T/c steps in Python, each of a few matrix products. What is carried from
    chunk to chunk is S states and the last c tokens; the read-out, done for all chunks at once,
    holds the states that each chunk found, T S / c vectors. States that gates update block by block
    beside a window of tokens are also those of Block-Recurrent Transformers (Hutchins et al. 2022,
    arXiv 2203.07852). Each state's learned importance weighs it in all three attentions (`attend`).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_states: int,
        *,
        gate: GateKind = "gru",
        top_k: int = 0,
        chunk: int = 16,
    ) -> None:
        super().__init__()
        self.d_model, self.n_heads, self.n_states, self.top_k, self.chunk = (
            d_model,
            n_heads,
            n_states,
            top_k,
            chunk,
        )
        self.token_maps = nn.Linear(d_model, 4 * d_model)  # read query, route query, key, value
        self.state_norm = nn.LayerNorm(d_model)
        self.state_maps = nn.Linear(d_model, 3 * d_model)  # talk query, key, value
        self.gate = Gate(gate, 2 * d_model, d_model)
        self.initial = nn.Parameter(torch.zeros(n_states, self.gate.width))
        self.importance = nn.Parameter(torch.ones(n_states))
        self.out = nn.Linear(d_model, d_model)

    def init_own(self, generator: torch.Generator) -> None:
        self.initial.normal_(generator=generator)  # states that differ, or they would stay equal
        self.importance.fill_(1.0)

    def weights_of_states(self) -> Tensor:
        """Importance of each state (S,), not negative: below zero it is switched off."""
        return self.importance.clamp_min(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x).out

    def run(self, x: Tensor) -> Passage:
        n_batch, n_tokens, s, c = len(x), x.shape[1], self.n_states, self.chunk
        importance = self.weights_of_states()
        attend = attention(importance)
        maps = self.token_maps(in_chunks(x, c))
        # (B, chunks, heads, c, d_head) each
        read_query, route_query, key, value = (
            split_heads(m, self.n_heads) for m in maps.chunk(4, dim=-1)
        )
        read_query, route_query = read_query * self._scale, route_query * self._scale
        to_maps = self._scaled_maps()
        # no view: torch's FLOP counter trips over one without gradients
        state = self.initial.repeat(n_batch, 1)
        states, state_maps, routing = [self.gate.shown(state)], [], []
        for query, sent in zip(
            *(m.transpose(0, 1).flatten(1, 2).unbind() for m in (route_query, value)), strict=True
        ):
            own = torch.addmm(to_maps[1], self.state_norm(self.gate.shown(state)), to_maps[0])
            own = own.view(n_batch, s, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)
            talk_query, state_key, state_value = own.unbind()
            weights = attend(
                torch.bmm(torch.cat((query, talk_query), dim=1), state_key.transpose(1, 2))
            )
            routed, listening = torch.split(weights, [c, s], dim=1)
            routed = top_weights(routed, self.top_k)
            state = self._updated(
                state, routed.transpose(1, 2), sent, torch.bmm(listening, state_value)
            )
            states.append(self.gate.shown(state))
            state_maps.append(own[1:])
            routing.append(routed)
        keys, values = _by_chunk(torch.stack(state_maps, 2), n_batch)
        read, reading = self._read(read_query, keys, values, key, value, importance)
        out = self.out(merge_heads(read).flatten(1, 2)[:, :n_tokens])
        routed = _by_chunk(torch.stack(routing, 1), n_batch)
        found = torch.stack(states).view(len(states), n_batch, s, -1).transpose(0, 1)
        return Passage(out, _over_time(routed, n_tokens), _over_time(reading, n_tokens), found)

    @property
    def _scale(self) -> float:
        return float((self.d_model // self.n_heads) ** -0.5)

    def _scaled_maps(self) -> tuple[Tensor, Tensor]:
        """Weight (d_model, 3 d_model) and bias of talk query, key and value, the query scaled: once
        a pass."""
        scale = torch.ones_like(self.state_maps.bias)
        scale[: self.d_model] = self._scale
        return self.state_maps.weight.t() * scale, self.state_maps.bias * scale

    def _updated(self, state: Tensor, routed: Tensor, sent: Tensor, heard: Tensor) -> Tensor:
        """States (B S, width) after a chunk: routed (B heads, S, c); sent and heard (B heads, c or
        S, d_head)."""
        mass = routed.sum(dim=-1)
        message = torch.bmm(routed, sent) / mass[..., None].clamp_min(1e-6)
        # (2, B, heads, S, d_head) -> (B S, 2 d_model)
        inputs = torch.stack((message, heard)).view(
            2, -1, self.n_heads, self.n_states, heard.shape[-1]
        )
        new: Tensor = self.gate(inputs.permute(1, 3, 0, 2, 4).reshape(len(state), -1), state)
        kept = torch.exp(-mass.view(-1, self.n_heads, self.n_states).mean(dim=1))
        return torch.lerp(new, state, kept.view(-1, 1))

    def _read(
        self,
        query: Tensor,
        state_key: Tensor,
        state_value: Tensor,
        key: Tensor,
        value: Tensor,
        importance: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What all tokens read, (B, J, heads, c, d_head), and their weights on the states, (B, J,
        heads, c, S)."""
        c = self.chunk
        near_key, near_value = (torch.cat((_previous(m), m), dim=3) for m in (key, value))
        near = query @ near_key.transpose(-2, -1)
        hidden = (
            torch.ones(c, 2 * c, dtype=torch.bool, device=near.device)
            .triu(c + 1)
            .expand(near.shape[1], -1, -1)
        )
        first = torch.arange(near.shape[1], device=near.device)[:, None, None] == 0
        # nothing stands before the first chunk
        hidden = hidden | (first & (torch.arange(2 * c, device=near.device) < c))
        scores = torch.cat(
            (query @ state_key.transpose(-2, -1), near.masked_fill(hidden[:, None], -torch.inf)),
            dim=-1,
        )
        weights = attention(torch.cat((importance, importance.new_ones(2 * c))))(scores)
        on_states, on_tokens = torch.split(weights, [self.n_states, 2 * c], dim=-1)
        return on_states @ state_value + on_tokens @ near_value, on_states

    def flops(self, n_tokens: int) -> int:
        n_chunks = -(-n_tokens // self.chunk)
        d, s, padded = self.d_model, self.n_states, n_chunks * self.chunk
        tokens = (
            padded * (8 * d * d + 4 * s * d + 4 * (s + 2 * self.chunk) * d) + 2 * d * d * n_tokens
        )
        return tokens + n_chunks * (s * (6 * d * d + 4 * s * d) + self.gate.flops(s))


def _previous(chunks: Tensor) -> Tensor:
    """Each chunk's predecessor along dim 1, zeros before the first."""
    return F.pad(chunks, (0, 0) * (chunks.dim() - 2) + (1, 0))[:, :-1]


def _by_chunk(steps: Tensor, n_batch: int) -> Tensor:
    """(..., B n, J, k, d) -> (..., B, J, n, k, d)."""
    *left, rows, n_chunks, k, d = steps.shape
    return steps.view(*left, n_batch, rows // n_batch, n_chunks, k, d).transpose(-4, -3)


def _over_time(weights: Tensor, n_tokens: int) -> Tensor:
    """(B, J, heads, c, S) -> (B, heads, T, S)."""
    return weights.transpose(1, 2).flatten(2, 3)[:, :, :n_tokens]
