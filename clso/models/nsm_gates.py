"""The gates of an NSM's states: what they make of a state, and the factors of their gradients."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from clso.device import can_ask

__all__ = ["GRU", "LSTM", "Gate", "Sparse"]

Totals = tuple[Tensor, Tensor, Tensor, Tensor]
"""Gradients of a torch cell's weights: by input, by state, and their biases."""


class Gate(Protocol):
    """A gate of N S states, each (width,), on one matrix for message, heard and hidden state."""

    weights: Tensor
    """To the arguments of its sigmoids and tanh: (gates d, 3 d)."""
    bias: Tensor

    def next(self, arguments: Tensor, state: Tensor) -> Tensor:
        """What the gate makes of states (N S, width)."""

    def derivatives(
        self, arguments: Tensor, state: Tensor, kept: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What states are above what the gate makes of them, and the factors of `back`."""

    def back(self, factors: tuple[Tensor, ...], grad: Tensor, d_gate: Tensor) -> Tensor:
        """The gradient of a state, as far as it goes through elementwise, from that of the next,
        (B S, width) each; that of the arguments goes into `d_gate`."""

    def add_up(self, d_gate: Tensor, inputs: Tensor, states: Tensor, totals: Totals) -> None:
        """Add the gradients of a torch cell's weights, `d_gate` being that of the arguments (N S,
        gates d), made from inputs (N S, 2 d) and states (N S, d)."""

    def add_bias(self, d_bias: Tensor, totals: Totals) -> None:
        """Add those of its biases, from those of the arguments' (gates d,)."""


class GRU:
    """n = tanh(i + r h), next = n + z (state - n). Arguments: r, z, i, h."""

    def __init__(
        self, by_input: Tensor, by_state: Tensor, input_bias: Tensor, state_bias: Tensor
    ) -> None:
        """Of torch's `GRUCell`: (3 d, 2 d), (3 d, d), (3 d,) twice."""
        self._d = d = len(by_state) // 3
        nothing = torch.zeros_like(by_input[:d])
        to_inputs = torch.cat((by_input, nothing))
        to_state = torch.cat((by_state[: 2 * d], nothing[:, :d], by_state[2 * d :]))
        self.weights = torch.cat((to_inputs, to_state), dim=1)
        both = input_bias[: 2 * d] + state_bias[: 2 * d]
        self.bias = torch.cat((both, input_bias[2 * d :], state_bias[2 * d :]))

    def _parts(self, arguments: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """r, z, n, h."""
        d = self._d
        r, z = arguments[:, : 2 * d].sigmoid().chunk(2, dim=1)
        recalled = arguments[:, 3 * d :]
        return r, z, torch.addcmul(arguments[:, 2 * d : 3 * d], r, recalled).tanh_(), recalled

    def next(self, arguments: Tensor, state: Tensor) -> Tensor:
        _, z, n, _ = self._parts(arguments)
        return torch.lerp(n, state, z)

    def derivatives(
        self, arguments: Tensor, state: Tensor, kept: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        r, z, n, recalled = self._parts(arguments)
        moved = 1 - kept
        d_n = moved * (1 - z) * (1 - n * n)
        d_z = moved * (state - n) * z * (1 - z)
        by_argument = torch.stack((d_n * recalled * r * (1 - r), d_z, d_n, d_n * r), dim=1)
        return (state - n) * (1 - z), (by_argument, kept + moved * z)

    def back(self, factors: tuple[Tensor, ...], grad: Tensor, d_gate: Tensor) -> Tensor:
        by_argument, direct = factors
        torch.mul(by_argument, grad[:, None], out=d_gate.view_as(by_argument))
        return direct * grad

    def add_up(self, d_gate: Tensor, inputs: Tensor, states: Tensor, totals: Totals) -> None:
        d, (by_input, by_state, *_) = self._d, totals
        by_input.addmm_(d_gate[:, : 3 * d].t(), inputs)
        by_state[: 2 * d].addmm_(d_gate[:, : 2 * d].t(), states)
        by_state[2 * d :].addmm_(d_gate[:, 3 * d :].t(), states)

    def add_bias(self, d_bias: Tensor, totals: Totals) -> None:
        d, (*_, input_bias, state_bias) = self._d, totals
        input_bias += d_bias[: 3 * d]
        state_bias += torch.cat((d_bias[: 2 * d], d_bias[3 * d :]))


class LSTM:
    """next cell = f cell + i g, next hidden = o tanh(next cell). Arguments: i, f, g, o."""

    def __init__(
        self, by_input: Tensor, by_state: Tensor, input_bias: Tensor, state_bias: Tensor
    ) -> None:
        """Of torch's `LSTMCell`: (4 d, 2 d), (4 d, d), (4 d,) twice."""
        self.weights = torch.cat((by_input, by_state), dim=1)
        self.bias = input_bias + state_bias

    @staticmethod
    def _parts(arguments: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        i, f, g, o = arguments.chunk(4, dim=1)
        return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()

    def next(self, arguments: Tensor, state: Tensor) -> Tensor:
        i, f, g, o = self._parts(arguments)
        cell = f * state[:, len(state[0]) // 2 :] + i * g
        return torch.cat((o * cell.tanh(), cell), dim=1)

    def derivatives(
        self, arguments: Tensor, state: Tensor, kept: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        i, f, g, o = self._parts(arguments)
        cell = state.chunk(2, dim=1)[1]
        new = f * cell + i * g
        shown, moved = new.tanh(), 1 - kept
        by_cell = torch.stack((g * i * (1 - i), cell * f * (1 - f), i * (1 - g * g)), dim=1)
        by_hidden = moved * shown * o * (1 - o)
        change = state - torch.cat((o * shown, new), dim=1)
        return change, (by_cell, by_hidden, moved * o * (1 - shown * shown), moved, kept, f)

    def back(self, factors: tuple[Tensor, ...], grad: Tensor, d_gate: Tensor) -> Tensor:
        by_cell, by_hidden, to_cell, moved, kept, f = factors
        d_hidden, d_cell = grad.chunk(2, dim=1)
        d_new = d_hidden * to_cell + d_cell * moved
        d_gate[:, : -len(f[0])] = (by_cell * d_new[:, None]).flatten(1)
        torch.mul(by_hidden, d_hidden, out=d_gate[:, -len(f[0]) :])
        return torch.cat((kept * d_hidden, kept * d_cell + d_new * f), dim=1)

    def add_up(self, d_gate: Tensor, inputs: Tensor, states: Tensor, totals: Totals) -> None:
        by_input, by_state, *_ = totals
        by_input.addmm_(d_gate.t(), inputs)
        by_state.addmm_(d_gate.t(), states)

    def add_bias(self, d_bias: Tensor, totals: Totals) -> None:
        for bias in totals[2:]:
            bias += d_bias


class Sparse:
    """rows @ weights.T + bias. A grown NSM's gates are empty but for a few rows and columns, which
    alone are then multiplied."""

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        self._bias = bias
        self._whole = not can_ask(weights)
        if not self._whole:
            self._rows, self._columns = (weights.any(1 - i).nonzero().flatten() for i in (0, 1))
            self._whole = 2 * len(self._rows) * len(self._columns) > weights.numel()
        if not self._whole:
            weights = weights[self._rows][:, self._columns]
        self._weights = weights.t().contiguous()

    def __call__(self, inputs: Tensor) -> Tensor:
        if self._whole:
            return torch.addmm(self._bias, inputs, self._weights)
        found = torch.addmm(
            self._bias[self._rows], inputs.index_select(1, self._columns), self._weights
        )
        return self._bias.repeat(len(inputs), 1).index_copy_(1, self._rows, found)
