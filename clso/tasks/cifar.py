"""CIFAR-10 as the Long Range Arena reads it: 1,024 grey levels, row by row. From the BINARY version
of the data set.

A record of `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin` is a label (1 byte) and
the red, green and blue planes (1,024 bytes each); see the data set's own page,
https://www.cs.toronto.edu/~kriz/cifar.html."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from clso.errors import DataError
from clso.tasks import files
from clso.tasks.base import Examples, Targets, Task, Tokens

__all__ = ["LRAImage"]

_RECORD = 1 + 3 * 1024
_LUMA = np.array([0.2989, 0.5870, 0.1140])  # ITU-R BT.601, as TensorFlow's rgb_to_grayscale has it
_BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))


class LRAImage(Task):
    """Ten classes of 32x32 images; a pixel is token 1 + its grey level. Valid is a share of train
    (10 %, as in the Arena)."""

    name = "lra-image"
    Options: ClassVar[type] = files.FileOptions
    n_classes = 10

    @property
    def vocab(self) -> tuple[str, ...]:
        return ("<pad>", *map(str, range(256)))

    @property
    def n_positions(self) -> int:
        return 1024

    def _load(self) -> dict[str, Examples]:
        folder = files.the_folder(
            self.options, "cifar-10-batches-bin, the binary version of CIFAR-10"
        )
        if not (folder / _BATCHES[0]).exists() and (folder / "data_batch_1").exists():
            raise DataError(
                "CIFAR-10 is read from its binary version: the Python version's files are pickles, which can run code",
                got=str(folder),
                remedy="Get cifar-10-binary.tar.gz and name its cifar-10-batches-bin.",
            )
        train = [_records(folder / name) for name in _BATCHES]
        tokens, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
        splits = files.carve(Examples(tokens, labels), self.options.valid_share, self.seed)
        return files.without_duplicates(
            {**splits, "test": Examples(*_records(folder / "test_batch.bin"))}
        )


def _records(path: Path) -> tuple[Tokens, Targets]:
    data = np.frombuffer(files.read_bytes(path), np.uint8)
    if len(data) % _RECORD:
        raise DataError(
            f"a batch of CIFAR-10 is records of {_RECORD} bytes",
            problem=f"{path} has {len(data)} bytes",
        )
    records = data.reshape(-1, _RECORD)
    if records[:, 0].max() > 9:
        raise DataError(
            "labels of CIFAR-10 are 0 to 9", problem=f"{path} has the label {records[:, 0].max()}"
        )
    grey = np.einsum("c,ncp->np", _LUMA, records[:, 1:].reshape(-1, 3, 1024))
    return (1 + grey.astype(np.uint16)).astype(np.uint16), records[:, 0].astype(np.int64)
