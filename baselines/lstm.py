"""LSTM (Hochreiter and Schmidhuber 1997): torch's own, `n_layers` deep."""

from __future__ import annotations

from torch import Tensor

from clso.models.layers import LSTMLayer
from clso.models.sequence import SequenceConfig, SequenceModel

__all__ = ["LSTM"]


class LSTM(SequenceModel):
    """Embedding, LSTM, head."""

    name = "lstm"
    capturable = True
    positions = False

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.lstm = LSTMLayer(config.d_model, config.n_layers)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.lstm(x)
        return out

    def body_flops(self, n_tokens: int) -> int:
        return self.lstm.flops(n_tokens)
