"""LSTM (Hochreiter and Schmidhuber 1997): torch's own, `n_layers` deep."""

from __future__ import annotations

from torch import Tensor, nn

from clso.models.sequence import SequenceConfig, SequenceModel

__all__ = ["LSTM"]


class LSTM(SequenceModel):
    """`torch.nn.LSTM`; torch's counter sees no FLOPs in its fused kernels (cuDNN, oneDNN), the formula counts them."""

    name = "lstm"
    positions = False

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.lstm = nn.LSTM(config.d_model, config.d_model, config.n_layers, batch_first=True)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.lstm(x)[0]
        return out

    def body_flops(self, n_tokens: int) -> int:
        return self.config.n_layers * 16 * self.config.d_model**2 * n_tokens
