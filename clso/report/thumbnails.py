"""The winner's matrices as small pictures: what its crystals look like."""

from __future__ import annotations

import io
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import numpy.typing as npt

from clso.run.folder import RunFolder

__all__ = ["Thumbnail", "thumbnails"]

_SIDE = 72  # pixels at most
_MOST = 36
_LARGEST = 1 << 26  # numbers in a matrix that is looked at


@dataclass(frozen=True)
class Thumbnail:
    """`data` is a PNG as a data URL; `shape` of the whole matrix."""

    name: str
    shape: str
    data: str
    width: int
    height: int


def thumbnails(folder: RunFolder) -> list[Thumbnail]:
    """Pictures of the matrices in `best/`, at most 36; none if there is no model.

    Each pixel is the number of largest size in its tile, so that structure shows however large a
    matrix is; red is above zero, blue below. Raises `RunFolderError` for a model that is not what
    the run wrote."""
    paths = sorted((folder.path / "best").glob("*.safetensors"))
    if not paths:
        return []
    folder.require_written("best/")
    return [picture for path in paths for picture in _pictures(path)][:_MOST]


def _pictures(path: Path) -> list[Thumbnail]:
    """Of one file; none of a layout of its own, such as the counts of a memory."""
    from safetensors import SafetensorError, safe_open

    out: list[Thumbnail] = []
    with (
        suppress(SafetensorError, OSError, TypeError, ValueError),
        safe_open(path, framework="numpy") as file,
    ):
        for name in sorted(file.keys()):
            shape = file.get_slice(name).get_shape()
            if len(shape) == 2 and min(shape) > 1 and np.prod(shape) <= _LARGEST:
                out += _parts(name, np.asarray(file.get_tensor(name)))
    return out


def _parts(name: str, matrix: npt.NDArray[Any]) -> list[Thumbnail]:
    if not np.issubdtype(matrix.dtype, np.floating):
        return []
    if name.endswith("c_attn.weight") and matrix.shape[1] % 3 == 0:
        parts = np.split(matrix, 3, axis=1)
        return [_thumbnail(f"{name} {k}", part) for k, part in zip("qkv", parts, strict=True)]
    return [_thumbnail(name, matrix)]


def _thumbnail(name: str, matrix: npt.NDArray[Any]) -> Thumbnail:
    small = _tiled(np.nan_to_num(matrix.astype(np.float32)))
    scale = float(np.percentile(np.abs(small[small != 0]), 98)) if small.any() else 1.0
    file = io.BytesIO()
    matplotlib.image.imsave(file, small, cmap="RdBu_r", vmin=-scale, vmax=scale, format="png")
    height, width = small.shape
    shape = " × ".join(f"{n:,}" for n in matrix.shape)
    url = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    return Thumbnail(name.removeprefix("transformer."), shape, url, width, height)


def _tiled(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = (np.linspace(0, n, min(n, _SIDE) + 1).astype(int)[:-1] for n in matrix.shape)
    high = np.maximum.reduceat(np.maximum.reduceat(matrix, rows, axis=0), columns, axis=1)
    low = np.minimum.reduceat(np.minimum.reduceat(matrix, rows, axis=0), columns, axis=1)
    return np.where(high >= -low, high, low)
