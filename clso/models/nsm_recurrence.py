"""The states of a `StateMixer` over time, and their exact gradient, without a graph of each step.

A chunk's states depend on the chunk before through attention, a norm and a gate: no scan is equal
to that, so the chunks are gone through one by one. All else is done for many chunks at once. Forward
keeps only its input and the states. Backward makes up what happened in between for a segment of
chunks in a few large products, goes through them in reverse with one vector-Jacobian product each,
whose factors are ready, and adds up the weights' gradients in a few large products again.

Letters of shapes: B sequences, J chunks of c tokens, S states of `width`, d dimensions, H heads of h.
What is by chunk has the chunks first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.device import can_ask
from clso.models import native, native_nsm
from clso.models.fused import difference, is_possible, is_trusted
from clso.models.nsm_gates import GRU, LSTM, Gate, Sparse
from clso.models.nsm_routing import TINY, heaviest_states, is_positive, shares, top_weights

__all__ = ["Form", "Weights", "read_over_time", "states_over_time"]

Form = Literal["plain", "native", "triton"]
"""How chunks are gone through: in plain torch, in C (`native_nsm.py`), or by Triton's kernels."""

_LEAST_MASS = 1e-6  # that a message is divided by
_NORM_EPS = 1e-5  # torch's
_SEGMENT = {False: 16, True: 256}
"""Chunks of which the backward pass holds everything at once, on a CPU and on CUDA."""


class Weights(NamedTuple):
    """Of the recurrence; attention's scale is in the queries' rows."""

    tokens: Tensor
    """Route query and value, (2 d, d); for `read_over_time` all four maps."""
    tokens_bias: Tensor
    norm: Tensor
    norm_bias: Tensor
    states: Tensor
    """Talk query, key and value, (3 d, d)."""
    states_bias: Tensor
    gate_input: Tensor
    """By torch's order, (3 d, 2 d) of a GRU, (4 d, 2 d) of an LSTM."""
    gate_state: Tensor
    gate_input_bias: Tensor
    gate_state_bias: Tensor
    initial: Tensor
    """(S, width)."""
    importance: Tensor
    """(S,), not negative."""

    @property
    def d(self) -> int:
        return len(self.norm)

    @property
    def of_gate(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.gate_input, self.gate_state, self.gate_input_bias, self.gate_state_bias

    @property
    def is_gru(self) -> bool:
        return len(self.gate_state) == 3 * self.d


def states_over_time(
    x: Tensor, weights: Weights, n_heads: int, top_k: int, form: Form | None = None
) -> Tensor:
    """Tokens in chunks (B, J, c, d) -> the states as each chunk found them, and at the end: (J + 1,
    B, S, width), in the fastest form that there is, or in another. Differentiable once."""
    form = form or _form(x, weights, n_heads, top_k)
    out: Tensor = _StatesOverTime.apply(x, n_heads, top_k, form, *weights)  # type: ignore[no-untyped-call]
    return out


def read_over_time(x: Tensor, weights: Weights, n_heads: int, top_k: int) -> Tensor:
    """What tokens in chunks (B, J, c, d) read, in C; of `weights` the tokens' are those of a read query,
    a route query, key and value, (4 d, d), scaled. Differentiable once."""
    if torch.is_grad_enabled():
        out: Tensor = _ReadOverTime.apply(x, n_heads, top_k, *weights)  # type: ignore[no-untyped-call]
        return out
    return _Recurrence(weights, n_heads, top_k, "native").read(x, keep=False)[1]


class _StatesOverTime(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, n_heads: int, top_k: int, form: Form, *weights: Tensor
    ) -> Tensor:
        w = Weights(*weights)
        states = _Recurrence(w, n_heads, top_k, form).forward(x)
        ctx.save_for_backward(x, states, *weights)
        ctx.n_heads, ctx.top_k, ctx.form = n_heads, top_k, form
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, states, *weights = ctx.saved_tensors
        w = Weights(*weights)
        recurrence = _Recurrence(w, ctx.n_heads, ctx.top_k, ctx.form)
        found, by_weight = recurrence.backward(x, states, grad)
        return (found, None, None, None, *by_weight)


class _ReadOverTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, n_heads: int, top_k: int, *weights: Tensor) -> Tensor:
        recurrence = _Recurrence(Weights(*weights), n_heads, top_k, "native")
        states, found = recurrence.read(x, keep=True)
        ctx.save_for_backward(x, states, *weights)
        ctx.n_heads, ctx.top_k = n_heads, top_k
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, states, *weights = ctx.saved_tensors
        recurrence = _Recurrence(Weights(*weights), ctx.n_heads, ctx.top_k, "native")
        found, by_weight = recurrence.read_backward(x, states, grad)
        return (found, None, None, *by_weight)


def _form(x: Tensor, w: Weights, n_heads: int, top_k: int) -> Form:
    """How the chunks are gone through."""
    sizes = w.d, n_heads, len(w.initial), x.shape[2]
    if native.is_possible(x):
        of = (x.device, w.is_gru)
        small = 16, 2, 3, 4
        if is_trusted(
            "states of an NSM in C", of, lambda: _difference(x.device, w.is_gru, "native", *small)
        ):
            return "native"
    elif is_possible(x) and w.is_gru and not top_k:
        from clso.models import triton_nsm

        if triton_nsm.fits(*sizes) and is_trusted(
            "states of an NSM",
            (x.device, sizes),
            lambda: _difference(x.device, True, "triton", *sizes),
        ):
            return "triton"
    return "plain"


def _difference(
    device: torch.device, gru: bool, form: Form, d: int, n_heads: int, n_states: int, chunk: int
) -> float:
    """Between a form and plain torch: of states, and of all gradients."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    root, gates = d**0.5, 3 if gru else 4
    w = Weights(
        draw(2 * d, d) / root, draw(2 * d), draw(d), draw(d), draw(3 * d, d) / root, draw(3 * d),
        draw(gates * d, 2 * d) / root, draw(gates * d, d) / root, draw(gates * d), draw(gates * d),
        draw(n_states, d if gru else 2 * d), draw(n_states).abs(),
    )  # fmt: skip
    x, results = draw(2, 3, chunk, d), []
    for one in (form, "plain"):
        recurrence = _Recurrence(w, n_heads, 0, one)
        states = recurrence.forward(x)
        found, by_weight = recurrence.backward(x, states, states.cos())
        results.append((states, found, *by_weight))
    return difference(*results)


class _Chunks(NamedTuple):
    """What some chunks do to the states that they found, N of them with their sequences as one
    dimension."""

    normed: Tensor  # (N S, d)
    talk_query: Tensor  # (N H, S, h), so are key and value
    key: Tensor
    value: Tensor
    shares: Tensor | None  # weights without importance, (N H, c + S, S)
    weights: Tensor  # of c tokens, then of S states, on the states
    sent: Tensor  # (N H, S, h + 1): messages times mass, and mass
    message: Tensor  # (N H, S, h)
    inputs: Tensor  # of the gate: (N S, 2 d)
    kept: Tensor  # (N S, 1)


def _mean_and_scale(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of a layer norm: mean, and one over the deviation, (n, 1) each."""
    variance, mean = torch.var_mean(rows, dim=1, correction=0, keepdim=True)
    return mean, (variance + _NORM_EPS).rsqrt()


class _Recurrence:
    def __init__(self, w: Weights, n_heads: int, top_k: int, form: Form = "plain") -> None:
        self.w, self.n_heads, self.form = w, n_heads, form
        self.n_states, self.width = w.initial.shape
        self.top_k = top_k if top_k < self.n_states else 0
        self.offset = w.importance.log() if is_positive(w.importance) else None
        self.maps = w.states.t().contiguous()
        kind = GRU if w.is_gru else LSTM
        self.gate: Gate = kind(w.gate_input, w.gate_state, w.gate_input_bias, w.gate_state_bias)

    def forward(self, x: Tensor) -> Tensor:
        """`_chunk` and the gate, chunk by chunk, into tensors that are made once."""
        if self.form == "native":
            return native_nsm.advance(x, self.w, self.gate, self.n_heads, self.top_k)[0]
        if self.form == "triton":
            return self._fused(x)
        w, (n_batch, n_chunks, c, d), s = self.w, x.shape, self.n_states
        n, h = n_batch * self.n_heads, d // self.n_heads
        states = x.new_empty(n_chunks + 1, n_batch * s, self.width)
        states[0] = w.initial.repeat(n_batch, 1)
        here, shown = states.unbind(), states[..., :d].unbind()
        own, inputs = x.new_zeros(2, n_batch * s, 3 * d)
        hidden, gate = inputs[:, 2 * d :], Sparse(self.gate.weights, self.gate.bias)
        # states whose gate does not listen need not talk
        hears = not can_ask(x) or bool(self.gate.weights[:, d : 2 * d].any())
        asking = c + s if hears else c
        used = slice(None) if hears else slice(d, 2 * d)
        maps, maps_bias, mapped = self.maps[:, used], w.states_bias[used], own[:, used]
        # (B, H, S, h) each
        query, key, value = self._by_head(own)
        message, heard = self._by_head(inputs[:, : 2 * d])
        queries, weights = x.new_empty(n, asking, h), x.new_empty(n, asking, s)
        asked, listening = queries[:, c:], weights[:, c:]
        routed, received = weights[:, :c], weights[:, :c].transpose(1, 2)
        sent, kept = x.new_empty(n, s, h + 1), x.new_empty(n_batch, s)
        told, masses = sent[..., :h].view_as(message), sent[..., h].view(n_batch, -1, s)
        each = kept.view(-1, 1)
        for j, (token_query, token_value) in enumerate(self._tokens(x)):
            normed = F.layer_norm(shown[j], (d,), w.norm, w.norm_bias)
            torch.addmm(maps_bias, normed, maps, out=mapped)
            queries[:, :c] = token_query
            if hears:
                asked.view_as(query).copy_(query)
            keys = key.flatten(0, 1).transpose(1, 2)
            if self.offset is None:
                torch.mul(w.importance, shares(torch.bmm(queries, keys), w.importance), out=weights)
            else:
                torch.softmax(torch.baddbmm(self.offset, queries, keys), -1, out=weights)
            if self.top_k:
                routed.copy_(top_weights(routed, self.top_k))
            torch.bmm(received, token_value, out=sent)
            torch.div(told, masses[..., None].clamp_min(_LEAST_MASS), out=message)
            if hears:
                heard.copy_(torch.bmm(listening, value.flatten(0, 1)).view_as(heard))
            hidden.copy_(shown[j])
            arguments = gate(inputs)
            torch.sum(masses, 1, out=kept).mul_(-1 / self.n_heads).exp_()
            torch.lerp(self.gate.next(arguments, here[j]), here[j], each, out=here[j + 1])
        return states.view(n_chunks + 1, n_batch, s, self.width)

    def read(self, x: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        """The states, or unless `keep` the last of them, and what tokens read, in C."""
        states, found = native_nsm.advance(
            x, self.w, self.gate, self.n_heads, self.top_k, keep=keep
        )
        assert found is not None
        return states, found

    def read_backward(self, x: Tensor, states: Tensor, grad: Tensor) -> tuple[Tensor, Weights]:
        """`backward` of what was read."""
        return native_nsm.retreat(
            x, states, None, grad, self.w, self.gate, self.n_heads, self.top_k
        )

    def _fused(self, x: Tensor) -> Tensor:
        """`forward` by one kernel."""
        from clso.models import triton_nsm

        w, (n_batch, n_chunks, _, d) = self.w, x.shape
        states = x.new_empty(n_chunks + 1, n_batch, self.n_states, d)
        states[0] = w.initial
        triton_nsm.advance(
            F.linear(x, w.tokens, w.tokens_bias),
            (w.norm, w.norm_bias),
            (self.maps, w.states_bias),
            (self.gate.weights.t().contiguous(), self.gate.bias),
            w.importance,
            states,
            self.n_heads,
        )
        return states

    def _by_head(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Rows (B S, m d) as m times (B, H, S, h)."""
        h = self.w.d // self.n_heads
        parts = rows.view(-1, self.n_states, rows.shape[1] // self.w.d, self.n_heads, h)
        return parts.permute(2, 0, 3, 1, 4).unbind()

    def _tokens(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """By chunk: route queries (B H, c, h), and values with a one (B H, c, h + 1)."""
        for part in torch.split(x, _SEGMENT[x.is_cuda], dim=1):
            yield from zip(*(m.unbind() for m in self._token_maps(part)), strict=True)

    def _token_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Route queries (K, B H, c, h) and values with a one (K, B H, c, h + 1) of K chunks."""
        n_batch, k, c, _ = x.shape
        maps = F.linear(x, self.w.tokens, self.w.tokens_bias)
        maps = maps.view(n_batch, k, c, 2, self.n_heads, -1).permute(3, 1, 0, 4, 2, 5)
        query, value = maps.flatten(2, 3).unbind()
        return query, F.pad(value, (0, 1), value=1.0)

    def _chunk(self, state: Tensor, query: Tensor, value: Tensor, whole: bool = False) -> _Chunks:
        """State (N S, width), query (N H, c, h), value (N H, c, h + 1)."""
        w, c, s = self.w, query.shape[1], self.n_states
        shown = state[:, : w.d]
        normed = F.layer_norm(shown, (w.d,), w.norm, w.norm_bias)
        own = torch.addmm(w.states_bias, normed, self.maps)
        own = own.view(-1, s, 3, self.n_heads, w.d // self.n_heads).permute(2, 0, 3, 1, 4)
        talk_query, state_key, state_value = own.flatten(1, 2).unbind()
        queries, keys = torch.cat((query, talk_query), dim=1), state_key.transpose(1, 2)
        own_shares = None
        if self.offset is not None:
            weights = torch.softmax(torch.baddbmm(self.offset, queries, keys), dim=-1)
        else:
            own_shares = shares(torch.bmm(queries, keys), w.importance)
            weights = w.importance * own_shares
        if self.top_k:
            routed = weights[:, :c]
            top = top_weights(routed, self.top_k)
            weights = torch.cat((top, weights[:, c:]), dim=1)
            if whole and own_shares is not None:
                chosen = torch.zeros_like(routed).scatter(
                    -1, heaviest_states(routed, self.top_k), 1.0
                )
                total = (chosen * routed).sum(dim=-1, keepdim=True).clamp_min(TINY)
                own_shares = torch.cat(
                    (own_shares[:, :c] * chosen / total, own_shares[:, c:]), dim=1
                )
        sent = torch.bmm(weights[:, :c].transpose(1, 2), value)
        mass = sent[..., -1]
        message = sent[..., :-1] / sent[..., -1:].clamp_min(_LEAST_MASS)
        heard = torch.bmm(weights[:, c:], state_value)
        # (2, N, H, S, h) -> (N S, 2 d)
        inputs = torch.stack((message, heard)).view(2, -1, self.n_heads, *heard.shape[1:])
        inputs = inputs.permute(1, 3, 0, 2, 4).reshape(len(state), -1)
        kept = torch.exp(mass.view(-1, self.n_heads, s).sum(1).view(-1, 1) * (-1 / self.n_heads))
        return _Chunks(
            normed,
            talk_query,
            state_key,
            state_value,
            own_shares,
            weights,
            sent,
            message,
            inputs,
            kept,
        )

    def backward(self, x: Tensor, states: Tensor, grad: Tensor) -> tuple[Tensor, Weights]:
        """Gradients of the tokens and of each of `Weights`."""
        if self.form == "native":
            return native_nsm.retreat(
                x, states, grad, None, self.w, self.gate, self.n_heads, self.top_k
            )
        totals = Weights(*map(torch.zeros_like, self.w))
        found = torch.empty_like(x)
        carried = grad[-1].reshape(-1, self.width)
        size = _SEGMENT[x.is_cuda]
        for start in reversed(range(0, x.shape[1], size)):
            at = slice(start, start + size)
            carried = self._segment(x[:, at], states[at], grad[at], carried, found[:, at], totals)
        totals.initial.add_(carried.view(-1, *self.w.initial.shape).sum(0))
        return found, totals

    def _segment(
        self,
        x: Tensor,
        states: Tensor,
        grad: Tensor,
        carried: Tensor,
        found: Tensor,
        totals: Weights,
    ) -> Tensor:
        """The gradient of the states (B S, width) before K chunks from that after them. That of
        their tokens goes into `found`, those of the weights are added to `totals`."""
        k, d = x.shape[1], self.w.d
        query, value = self._token_maps(x)
        state = states[:k].reshape(-1, self.width)
        chunks = self._chunk(state, query.flatten(0, 1), value.flatten(0, 1), whole=True)
        seen = torch.cat((chunks.inputs, state[:, :d]), dim=1)
        arguments = F.linear(seen, self.gate.weights, self.gate.bias)
        above, gate_factors = self.gate.derivatives(arguments, state, chunks.kept)
        mean, scale = _mean_and_scale(state[:, :d])
        mass = chunks.sent[..., -1:]
        queries = torch.cat((query.flatten(0, 1), chunks.talk_query), dim=1)
        gone = (
            chunks.message * -(mass > _LEAST_MASS).to(mass.dtype),
            above * (-chunks.kept / self.n_heads),
            grad[:k].reshape(-1, self.width),
        )
        back = self._retreat(
            value,
            chunks,
            queries,
            state[:, :d],
            (mean, scale),
            gate_factors,
            gone,
            carried,
            x if self.form == "triton" else None,
        )
        self._add_up(totals, found, x, state, chunks, queries, back, (mean, scale))
        return back.carried

    def _retreat(
        self,
        token_value: Tensor,
        chunks: _Chunks,
        queries: Tensor,
        shown: Tensor,
        norm: tuple[Tensor, Tensor],
        gate_factors: tuple[Tensor, ...],
        gone: tuple[Tensor, Tensor, Tensor],
        carried: Tensor,
        fused: Tensor | None,
    ) -> _Back:
        """Chunk by chunk, from the last, into tensors that are made once."""
        if fused is not None:
            return self._fused_retreat(fused, chunks, shown, norm, gate_factors, gone, carried)
        w, s, k, c = self.w, self.n_states, len(token_value), token_value.shape[2]
        d, rows, n, h = w.d, len(carried), token_value.shape[1], w.d // self.n_heads

        def new(*shape: int) -> Tensor:
            return carried.new_empty(k, *shape)

        d_gate, d_own = new(rows, len(self.gate.weights)), new(rows, 3 * d)
        d_sent, d_weights = new(n, s, h + 1), new(n, c + s, s)
        told, d_normed = carried.new_empty(rows, 3 * d), carried.new_empty(rows, d)
        d_message, d_heard = self._by_head(told[:, : 2 * d])
        by_state = told[:, 2 * d :]
        heads = (rows // s, self.n_heads, s)
        inverse = 1 / chunks.sent[..., -1:].clamp_min(_LEAST_MASS)

        def by_chunk(t: Tensor) -> tuple[Tensor, ...]:
            return t.view(k, -1, *t.shape[1:]).unbind()

        own_query, own_key, own_value = self._by_head(d_own.flatten(0, 1))
        steps = zip(
            d_gate.unbind(), d_own.unbind(), d_sent[..., :-1].unbind(), d_sent[..., -1].unbind(),
            d_sent.transpose(2, 3).unbind(), d_weights.unbind(),
            d_weights[:, :, :c].unbind(), d_weights[:, :, c:].unbind(),
            *(t.view(k, *heads, h).unbind() for t in (own_query, own_key, own_value)),
            token_value.unbind(), *map(by_chunk, (
                inverse, gone[0], chunks.weights, chunks.weights[:, c:].transpose(1, 2),
                queries, chunks.key, chunks.value.transpose(1, 2), gone[1], gone[2],
                shown, *norm,
            )),
            zip(*map(by_chunk, gate_factors), strict=True),
            strict=True,
        )  # fmt: skip
        for (
            gate_j, own_j, sent_j, mass_j, sent_t, weights_j, routed_j, listening_j,
            query_j, key_j, value_j,
            said, inverse_j, moved, weight, listening_t, asked, key, content, change, own_grad,
            shown_j, mean, scale, factors,
        ) in reversed(list(steps)):  # fmt: skip
            direct = self.gate.back(factors, carried, gate_j)
            torch.mm(gate_j, self.gate.weights, out=told)
            heard = d_heard.flatten(0, 1)
            torch.mul(d_message, inverse_j.view(*heads, 1), out=sent_j.view(*heads, h))
            by_mass = torch.sum(sent_j * moved, -1).view(heads)
            torch.add(
                by_mass, torch.sum(carried * change, 1).view(-1, 1, s), out=mass_j.view(heads)
            )
            torch.bmm(said, sent_t, out=routed_j)
            torch.bmm(heard, content, out=listening_j)
            scores = torch._softmax_backward_data(weights_j, weight, -1, weight.dtype)
            query_j.copy_(torch.bmm(scores[:, c:], key).view_as(query_j))
            key_j.copy_(torch.bmm(scores.transpose(1, 2), asked).view_as(query_j))
            value_j.copy_(torch.bmm(listening_t, heard).view_as(query_j))
            torch.mm(own_j, w.states, out=d_normed)
            carried = direct.add_(own_grad)
            by_norm = torch.ops.aten.native_layer_norm_backward(
                d_normed, shown_j, (d,), mean, scale, w.norm, None, (True, False, False)
            )[0]
            carried[:, :d].add_(by_state).add_(by_norm)
        return _Back(
            d_gate.flatten(0, 1), d_sent[..., :-1].flatten(0, 1), d_weights.flatten(0, 1),
            d_own.flatten(0, 1), carried,
        )  # fmt: skip

    def _fused_retreat(
        self,
        x: Tensor,
        chunks: _Chunks,
        shown: Tensor,
        norm: tuple[Tensor, Tensor],
        gate_factors: tuple[Tensor, ...],
        gone: tuple[Tensor, Tensor, Tensor],
        carried: Tensor,
    ) -> _Back:
        """`_retreat` by one kernel."""
        from clso.models import triton_nsm

        w, s, k, n_heads = self.w, self.n_states, x.shape[1], self.n_heads
        rows, h = len(carried) // s, w.d // n_heads

        def together(t: Tensor) -> Tensor:
            """Heads side by side: (K B H, S, h) -> (K, B, S, d)."""
            t = t.expand(-1, -1, h).view(k, rows, n_heads, s, h)
            # of one head what is expanded would stay so
            return t.transpose(2, 3).reshape(k, rows, s, w.d).contiguous()

        own = torch.stack((chunks.talk_query, chunks.key, chunks.value))
        own = own.view(3, k, rows, n_heads, s, h).permute(1, 2, 4, 0, 3, 5)
        by_argument, direct = gate_factors
        moved, change, grad = gone
        carried = carried.clone()
        d_gate, d_sent, d_weights, d_own = triton_nsm.retreat(
            F.linear(x, w.tokens, w.tokens_bias).contiguous(),
            (
                own.reshape(k, rows, s, 3 * w.d),
                chunks.weights.contiguous(),
                together(1 / chunks.sent[..., -1:].clamp_min(_LEAST_MASS)),
                together(moved),
                *(t.contiguous() for t in (change, by_argument, direct, grad, shown, *norm)),
            ),
            w.norm,
            w.states.contiguous(),
            self.gate.weights,
            carried.view(rows, s, w.d),
            n_heads,
        )
        d_sent = d_sent.view(k, rows, s, n_heads, h).transpose(2, 3).reshape(-1, s, h)
        return _Back(
            d_gate.view(-1, 4 * w.d),
            d_sent,
            d_weights.view(chunks.weights.shape),
            d_own.view(-1, 3 * w.d),
            carried,
        )

    def _add_up(
        self,
        totals: Weights,
        found: Tensor,
        x: Tensor,
        state: Tensor,
        chunks: _Chunks,
        queries: Tensor,
        back: _Back,
        norm: tuple[Tensor, Tensor],
    ) -> None:
        w, (n_batch, k, c, d) = self.w, x.shape
        self.gate.add_up(back.gate, chunks.inputs, state[:, :d], totals.of_gate)
        self.gate.add_bias(back.gate.sum(0), totals.of_gate)
        totals.states.addmm_(back.own.t(), chunks.normed)
        totals.states_bias.add_(back.own.sum(0))
        d_normed = back.own @ w.states
        totals.norm.add_((d_normed * (state[:, :d] - norm[0]) * norm[1]).sum(0))
        totals.norm_bias.add_(d_normed.sum(0))
        mean = (chunks.weights * back.weights).sum(dim=-1, keepdim=True)
        by_share = back.weights - mean
        d_scores = by_share * chunks.weights
        if chunks.shares is None:
            totals.importance.add_(d_scores.sum((0, 1)) / w.importance)
        else:
            totals.importance.add_((by_share * chunks.shares).sum((0, 1)))
        d_maps = torch.stack(
            (
                torch.bmm(d_scores[:, :c], chunks.key),
                torch.bmm(chunks.weights[:, :c], back.sent),
            )
        )
        d_maps = d_maps.view(2, k, n_batch, self.n_heads, c, -1).permute(2, 1, 4, 0, 3, 5)
        d_maps = d_maps.reshape(-1, 2 * d)
        totals.tokens.addmm_(d_maps.t(), x.reshape(-1, d))
        totals.tokens_bias.add_(d_maps.sum(0))
        found.copy_((d_maps @ w.tokens).view_as(x))


class _Back(NamedTuple):
    """What K chunks' gradients are, before the weights' are taken from them."""

    gate: Tensor  # (N S, gates d)
    sent: Tensor  # of messages times mass, (N H, S, h)
    weights: Tensor
    own: Tensor  # of a state's maps, (N S, 3 d)
    carried: Tensor  # of the states before, (B S, width)
