"""Gates: how a state takes in what it is told, GRU- or LSTM-style, on torch's own cells."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["GATES", "Gate", "GateKind"]

GateKind = Literal["gru", "lstm"]
GATES: tuple[GateKind, ...] = ("gru", "lstm")


class Gate(nn.Module):
    """One cell for all states. A state is (..., width): d_model wide, and as much again for the LSTM's cell."""

    def __init__(self, kind: GateKind, d_input: int, d_model: int) -> None:
        super().__init__()
        self.d_input, self.d_model = d_input, d_model
        self.cell: nn.GRUCell | nn.LSTMCell
        self.cell = (nn.GRUCell if kind == "gru" else nn.LSTMCell)(d_input, d_model)
        self.width = d_model if kind == "gru" else 2 * d_model

    def forward(self, told: Tensor, state: Tensor) -> Tensor:
        """New states (..., width) from what each is told (..., d_input) and what it was."""
        rows, old = told.flatten(0, -2), state.flatten(0, -2)
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
