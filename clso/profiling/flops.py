"""torch's formulas of FLOPs, and formulas for the fused kernels that it does not know.

The convention of `torch.utils.flop_counter`: a product of (m, k) and (k, n) is 2 m k n, element-wise work is free, and
attention counts every pair of positions, causal or not. torch has no formula for, and so counts as nothing: on a CPU the
whole of `nn.LSTM` and `scaled_dot_product_attention`, on CUDA the whole of a cuDNN recurrence. Its formula for the way back
through a convolution pairs all channels, also those of different groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

__all__ = ["flop_formulas"]

_Shape = Sequence[int]


def flop_formulas() -> dict[Any, Callable[..., int]]:
    """By operator: what gives its FLOPs from its own arguments and `out_val`, its result."""
    aten = torch.ops.aten
    own = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        aten.mkldnn_rnn_layer: _onednn_layer,
        aten.mkldnn_rnn_layer_backward: _twice(_onednn_layer),
        aten.convolution_backward: _convolution_backward,
        aten._cudnn_rnn: _cudnn,
        aten._cudnn_rnn_backward: _twice(_cudnn),
    }
    return FlopCounterMode(display=False, custom_mapping=own).flop_registry


def _attention(query: _Shape, key: _Shape, value: _Shape, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(
    grad: _Shape, query: _Shape, key: _Shape, value: _Shape, *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))  # type: ignore[no-untyped-call]


def _convolution_backward(
    grad: _Shape,
    tokens: _Shape,
    weight: _Shape,
    bias: _Shape | None,
    stride: _Shape,
    padding: _Shape,
    dilation: _Shape,
    transposed: bool,
    output_padding: _Shape,
    groups: int,
    output_mask: Sequence[bool],
    out_shape: Any = None,
) -> int:
    """As many products for the input and for the weight as the forward pass has."""
    return 2 * sum(output_mask[:2]) * _size(tokens if transposed else grad) * _size(weight[1:])


def _onednn_layer(
    tokens: _Shape, weight_in: _Shape, weight_hidden: _Shape, *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    """One layer over (length, batch, d_in): every token meets both matrices."""
    return 2 * tokens[0] * tokens[1] * (_size(weight_in) + _size(weight_hidden))


def _cudnn(tokens: _Shape, weights: Sequence[_Shape], *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """All layers and directions at once; biases, which have one axis, are element-wise work."""
    return 2 * tokens[0] * tokens[1] * sum(_size(w) for w in weights if len(w) == 2)


def _twice(forward: Callable[..., int]) -> Callable[..., int]:
    """A backward pass has two products, for the input and for the weight, where the forward pass has one."""

    def backward(*shapes: Any, out_shape: Any = None, **named: Any) -> int:
        return 2 * forward(*shapes)

    return backward


def _size(shape: _Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
