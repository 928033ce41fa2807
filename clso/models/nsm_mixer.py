"""The heart of a Neural State Machine: tokens write to a few gated states that talk, and read from
them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models import native
from clso.models.fused import difference, is_possible, is_trusted
from clso.models.layers import Layer, in_chunks, merge_heads, split_heads
from clso.models.nsm_recurrence import Form, Weights, read_over_time, states_over_time
from clso.models.nsm_routing import attend, attention, top_weights
from clso.models.scan import in_segments

__all__ = ["GATES", "Gate", "GateKind", "Passage", "StateMixer"]

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
        # of a GRU's new state, what comes in and what was there are apart: four products, too
        return 8 * self.d_model * (self.d_input + self.d_model) * n_states


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

    Time is linear in T: T/c steps (`clso.models.nsm_recurrence`), each of a few matrix products.
    What is carried from chunk to chunk is S states and the last c tokens; for the gradient its
    input is kept, and the states that each chunk found, T S / c vectors. Tokens read segment by
    segment, computed again for the gradient. States that gates update block by block
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
        chunks = in_chunks(x, self.chunk)
        return self._said(self._reading(chunks)(chunks), x)

    def _reading(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The fastest form of what tokens read that there is."""
        if self._has_kernels(x):
            return self._read_by_cuda
        return self._read_in_c if self._is_in_c(x) else self._read_by_torch

    def _read_by_torch(self, chunks: Tensor, form: Form | None = None) -> Tensor:
        """What tokens read, (B, J, c, d), from states gone through in some form."""
        shown = self.gate.shown(self._states(chunks, form)[:-1]).transpose(0, 1)
        n_chunks = max(1, _segment_tokens(chunks) // self.chunk)

        def read(before: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
            return self._read(before, *parts)[:2]

        before, have_before = self._start(chunks)
        found: Tensor = in_segments(read, before, (chunks, shown, have_before), n_chunks)[1]
        return found

    def run(self, x: Tensor) -> Passage:
        """`forward`, all that goes on in it included."""
        chunks = in_chunks(x, self.chunk)
        states = self.gate.shown(self._states(chunks)).transpose(0, 1)
        before, have_before = self._start(chunks)
        _, found, reading = self._read(before, chunks, states[:, :-1], have_before)
        query = F.linear(chunks, *self._rows(self.token_maps, 1)) * self._scale
        key = F.linear(self.state_norm(states[:, :-1]), *self._rows(self.state_maps, 1))
        scores = self._heads(query) @ self._heads(key).transpose(-2, -1)
        routing = top_weights(attend(scores, self.weights_of_states()), self.top_k)
        n_tokens = x.shape[1]
        return Passage(
            self._said(found, x),
            _over_time(routing, n_tokens),
            _over_time(reading, n_tokens),
            states,
        )

    def _read_in_c(self, chunks: Tensor) -> Tensor:
        """What tokens read, (B, J, c, d), if `_is_in_c`."""
        weights = self._weights(self.token_maps.weight, self.token_maps.bias)
        return read_over_time(chunks, weights, self.n_heads, self.top_k)

    def _read_by_cuda(self, chunks: Tensor) -> Tensor:
        """What tokens read, (B, J, c, d), if `_has_kernels`."""
        from clso.models import cuda_nsm

        maps, norm, states, cell = self.token_maps, self.state_norm, self.state_maps, self.gate.cell
        parameters = cuda_nsm.Parameters(
            maps.weight, maps.bias, norm.weight, norm.bias, states.weight, states.bias,
            cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh,
            self.initial, self.importance,
        )  # fmt: skip
        return cuda_nsm.read(chunks, parameters, self.n_heads)

    def _has_kernels(self, x: Tensor) -> bool:
        """Whether kernels in CUDA C++ take the place of all that a mixer does."""
        if self.top_k or not isinstance(self.gate.cell, nn.GRUCell) or not is_possible(x):
            return False
        from clso.models import cuda_nsm

        sizes = self.d_model, self.n_heads, self.n_states, self.chunk
        gradient = torch.is_grad_enabled()
        n_chunks = 20  # more than its gradient goes through at once
        how = partial(_difference, StateMixer._read_by_cuda, gradient, x.device, "gru")
        return cuda_nsm.fits(x.device, *sizes, gradient=gradient) and is_trusted(
            "a state mixer" if gradient else "a state mixer without its gradient",
            (x.device, sizes),
            partial(how, *sizes, n_chunks),
        )

    def _is_in_c(self, x: Tensor) -> bool:
        """Whether C takes the place of all that a mixer does."""
        kind: GateKind = "gru" if isinstance(self.gate.cell, nn.GRUCell) else "lstm"
        return native.is_possible(x) and is_trusted(
            "a state mixer in C",
            (x.device, kind),
            partial(_difference, StateMixer._read_in_c, True, x.device, kind, 16, 2, 3, 4, 5),
        )

    def _states(self, chunks: Tensor, form: Form | None = None) -> Tensor:
        """The states as each chunk found them, and at the end: (J + 1, B, S, width)."""
        weights = self._weights(*self._rows(self.token_maps, 1, 3))
        return states_over_time(chunks, weights, self.n_heads, self.top_k, form)

    def _weights(self, maps: Tensor, bias: Tensor) -> Weights:
        """Of the recurrence, with some of the tokens' maps, the first half of which are queries."""
        scale = self._scaled(bias, len(bias) // self.d_model // 2)
        talk = self._scaled(self.state_maps.bias, 1)
        cell = self.gate.cell
        return Weights(
            maps * scale[:, None],
            bias * scale,
            self.state_norm.weight,
            self.state_norm.bias,
            self.state_maps.weight * talk[:, None],
            self.state_maps.bias * talk,
            cell.weight_ih,
            cell.weight_hh,
            cell.bias_ih,
            cell.bias_hh,
            self.initial,
            self.weights_of_states(),
        )

    def _scaled(self, like: Tensor, n_queries: int) -> Tensor:
        """Attention's scale for the rows of the first maps, and one for the rest."""
        scale = torch.ones_like(like)
        scale[: n_queries * self.d_model] = self._scale
        return scale

    @property
    def _scale(self) -> float:
        return float((self.d_model // self.n_heads) ** -0.5)

    def _rows(self, maps: nn.Linear, *which: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of some of several maps."""
        d = self.d_model
        weight, bias = maps.weight.view(-1, d, d), maps.bias.view(-1, d)
        return (
            torch.cat([weight[i] for i in which]),
            torch.cat([bias[i] for i in which]),
        )

    def _heads(self, x: Tensor) -> Tensor:
        return split_heads(x, self.n_heads)

    def _start(self, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of no tokens, before the first chunk, and by chunk whether one is before
        it, (B, J, 1, 1)."""
        n_batch, n_chunks, c, d = chunks.shape
        index = torch.arange(n_chunks, device=chunks.device)
        return (
            chunks.new_zeros(n_batch, 1, c, 2 * d),
            (index > 0).view(1, -1, 1, 1).expand(n_batch, -1, 1, 1),
        )

    def _read(
        self, before: Tensor, chunks: Tensor, states: Tensor, have_before: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values of K chunks' last, what their tokens read, (B, K, c, d), and their
        weights on the states, (B, K, heads, c, S), from those of the chunk before, (B, 1, c, 2 d).
        """
        c = self.chunk
        query = self._heads(F.linear(chunks, *self._rows(self.token_maps, 0)) * self._scale)
        own = F.linear(chunks, *self._rows(self.token_maps, 2, 3))
        of_states = F.linear(self.state_norm(states), *self._rows(self.state_maps, 1, 2))
        near = torch.cat((before, own), dim=1)
        # (B, K, S + 2 c, 2 d)
        seen = torch.cat((of_states, near[:, :-1], own), dim=2)
        key, value = (self._heads(m) for m in seen.chunk(2, dim=-1))
        importance = self.weights_of_states()
        scores = query @ key.transpose(-2, -1)
        at = torch.arange(2 * c, device=chunks.device)
        visible = (at <= torch.arange(c, device=chunks.device)[:, None] + c) & (
            have_before[..., None] | (at >= c)
        )
        visible = F.pad(visible, (self.n_states, 0), value=True)
        scores = scores.masked_fill(~visible, -torch.inf)
        weights = attention(torch.cat((importance, importance.new_ones(2 * c))))(scores)
        # a copy, for a view would keep the whole segment's alive
        return own[:, -1:].clone(), merge_heads(weights @ value), weights[..., : self.n_states]

    def _said(self, found: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.out(found.flatten(1, 2)[:, : x.shape[1]])
        return out

    def flops(self, n_tokens: int) -> int:
        n_chunks = -(-n_tokens // self.chunk)
        d, s, c = self.d_model, self.n_states, self.chunk
        tokens = c * (10 * d * d + 4 * (s + 2 * c) * d)
        sent = 2 * s * c * (d + self.n_heads)  # with the mass
        states = s * (10 * d * d + 2 * (c + 2 * s) * d) + sent
        return n_chunks * (tokens + states + self.gate.flops(s)) + 2 * d * d * n_tokens


def _difference(
    read: Callable[[StateMixer, Tensor], Tensor],
    gradient: bool,
    device: torch.device,
    gate: GateKind,
    d_model: int,
    n_heads: int,
    n_states: int,
    chunk: int,
    n_chunks: int,
) -> float:
    """Between a form and plain torch: of what tokens read, and if wanted of all gradients."""
    generator = torch.Generator().manual_seed(0)
    mixer = StateMixer(d_model, n_heads, n_states, gate=gate, chunk=chunk)
    for p in mixer.parameters():
        p.copy_(torch.randn(p.shape, generator=generator) / max(p.shape[-1], d_model) ** 0.5)
    mixer.importance.abs_().add_(0.5)
    mixer.to(device)
    x = torch.randn(2, n_chunks, chunk, d_model, generator=generator).to(device).requires_grad_()
    inputs = x, *(p for name, p in mixer.named_parameters() if not name.startswith("out."))
    results = []
    for form in (partial(read, mixer), partial(mixer._read_by_torch, form="plain")):
        with torch.set_grad_enabled(gradient):
            found = form(x)
            by_input = torch.autograd.grad((found + 1).square().sum(), inputs) if gradient else ()
        results.append((found.detach(), *by_input))
    return difference(*results)


def _over_time(weights: Tensor, n_tokens: int) -> Tensor:
    """(B, J, heads, c, S) -> (B, heads, T, S)."""
    return weights.transpose(1, 2).flatten(2, 3)[:, :, :n_tokens]


def _segment_tokens(x: Tensor) -> int:
    """Tokens that read at once: on a GPU launches are dear, on a CPU caches are small."""
    return 4096 if x.is_cuda else 512
