"""torch's formulas of FLOPs, and formulas for the fused kernels that it does not know.

The convention of `torch.utils.flop_counter`: a product of (m, k) and (k, n) is 2 m k n,
element-wise work is free, and attention counts every pair of positions, causal or not. torch has no
formula for, and so counts as nothing: products with a vector (`mv`, `dot`, `addmv`), `addbmm`,
`bilinear`, products in place, on a CPU the whole of `nn.LSTM` and `scaled_dot_product_attention`,
on CUDA the whole of a cuDNN recurrence. Its formula for the way back through a convolution pairs
all channels, also those of different groups. What has no formula here either (a Fourier transform,
a solver, a kernel of a third party) is found by `is_uncounted`, so that it is named and not taken
for nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from clso.models import attention_varlen
from clso.models.attention_patterns import Full, Local

__all__ = ["flop_formulas", "is_uncounted"]

_Shape = Sequence[int]

_PRODUCTS = re.compile(
    r"mm(?=_|\d|$)|(^|_|add)mv_?$|(^|_|v)dot$|dot_product|matmul|gemm|conv|linear|rnn|gru|lstm|attention|encoder"
    r"|(^|_)fft|linalg|(^|_|sp)solve|cholesky|inverse|(^|_)svd|(^|_)qr|geqrf|orgqr|ormqr|(^|_)lu(_|$)|matrix_exp|cdist|pdist"
)
"""Names of torch's operators that hold products of matrices or vectors, or more than that, and of
some that do not:"""
_FREE = re.compile(
    r"upsample|convert|pack|quantize|reorder|flatten_weight|plan_cache|check_errors|vector_norm|cross|diagonal|powsum"
    r"|unpack|slice_inverse|_(gru|lstm)_cell|search"
)


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
        aten.mv: _product,
        aten.dot: _product,
        aten.vdot: _product,
        aten._int_mm: _product,
        aten.addmv: _added_product,
        aten.addbmm: _added_product,
        aten._trilinear: _trilinear,
    }
    if (kernel := attention_varlen.operators()) is not None:
        own |= dict(zip(kernel, (_varlen, _varlen_backward), strict=True))
    formulas = dict(FlopCounterMode(display=False, custom_mapping=own).flop_registry)
    for operator in (aten.addmm, aten.baddbmm, aten.addmv, aten.addbmm):
        formulas[getattr(aten, f"{operator.__name__}_")] = formulas[operator]  # in place
    return formulas


def is_uncounted(operator: Any) -> bool:
    """Whether an operator (an overload packet) that has no formula may hold products, so that its
    FLOPs are missing.

    Any kernel of a third party may; of torch's own those whose names say so. A product written as
    an element-wise one and a sum is element-wise work, and free by the convention."""
    namespace, _, name = str(operator).partition(".")
    if namespace != "aten":
        return namespace not in ("prim", "prims", "profiler", "c10d", "_c10d_functional")
    return bool(_PRODUCTS.search(name)) and not _FREE.search(name)


def _product(a: _Shape, b: _Shape, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """(..., k) by (k,) or (k, n)."""
    return 2 * _size(a) * _size(b[1:])


def _added_product(
    bias: _Shape, a: _Shape, b: _Shape, *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    """`_product` of the matrix and the vector, or of each pair in two batches of matrices, (b, m,
    k) by (b, k, n)."""
    return 2 * _size(a) * _size(b[2:])


def _trilinear(
    a: _Shape,
    b: _Shape,
    c: _Shape,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    *rest: Any,
    out_shape: Any = None,
    **named: Any,
) -> int:
    """Two products, as torch computes it: a with b over the summed axes that c has not, then with c
    over the others."""
    shapes = [_expanded(s, axes) for s, axes in ((a, expand_a), (b, expand_b), (c, expand_c))]
    first_axes = [axis for axis in summed if axis in expand_c]
    pair = [max(x, y) for x, y in zip(shapes[0], shapes[1], strict=True)]
    first = 2 * _size(pair) if first_axes else 0
    left = [1 if axis in first_axes else n for axis, n in enumerate(pair)]
    last = (
        2 * _size([max(x, y) for x, y in zip(left, shapes[2], strict=True)])
        if len(first_axes) < len(summed)
        else 0
    )
    return first + last


def _expanded(shape: _Shape, axes: Sequence[int]) -> list[int]:
    """`shape` with axes of length 1 put in at `axes`, in rising order."""
    out = list(shape)
    for axis in sorted(axes):
        out.insert(axis, 1)
    return out


def _attention(
    query: _Shape, key: _Shape, value: _Shape, *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(
    grad: _Shape,
    query: _Shape,
    key: _Shape,
    value: _Shape,
    *rest: Any,
    out_shape: Any = None,
    **named: Any,
) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))  # type: ignore[no-untyped-call]


def _varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    *rest: Any,
    out_val: Any = None,
    **named: Any,
) -> int:
    """Documents of any lengths, all heads with one window: what `clso.models.attention_patterns` states of them."""
    window = next((v[0] for v in (*rest, *named.values()) if isinstance(v, (list, tuple))), -1)
    pattern = Full() if window < 0 else Local(window + 1)
    lengths = bounds.diff().tolist()
    return query.shape[1] * sum(pattern.flops(n, query.shape[2]) for n in lengths)


def _varlen_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    bounds: Tensor,
    *rest: Any,
    out_val: Any = None,
    **named: Any,
) -> int:
    """Five products for two, as for other attention."""
    return _varlen(query, key, value, bounds, *rest, **named) * 5 // 2


for _raw in (_varlen, _varlen_backward):  # which read the lengths: torch hands shapes to the others
    _raw.__dict__["_get_raw"] = True


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
    tokens: _Shape,
    weight_in: _Shape,
    weight_hidden: _Shape,
    *rest: Any,
    out_shape: Any = None,
    **named: Any,
) -> int:
    """One layer over (length, batch, d_in): every token meets both matrices."""
    return 2 * tokens[0] * tokens[1] * (_size(weight_in) + _size(weight_hidden))


def _cudnn(
    tokens: _Shape, weights: Sequence[_Shape], *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    """All layers and directions at once; biases, which have one axis, are element-wise work."""
    return 2 * tokens[0] * tokens[1] * sum(_size(w) for w in weights if len(w) == 2)


def _twice(forward: Callable[..., int]) -> Callable[..., int]:
    """A backward pass has two products, for the input and for the weight, where the forward pass
    has one."""

    def backward(*shapes: Any, out_shape: Any = None, **named: Any) -> int:
        return 2 * forward(*shapes)

    return backward


def _size(shape: _Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
