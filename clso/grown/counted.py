"""Bigram counts kept on disk, by the hash of corpus and tokenizer, so that a text is counted once.

The run that counts pays for it; later ones read. Only a CPU's counts are kept: a GPU counts in less
time than a disk reads."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from clso.data.cache import cache_root, warn_of_damage
from clso.disk.tensors import load_checked, write_checked
from clso.grown.statistics import PairCounts, count_pairs

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = ["bigram_counts", "tokens_on"]

_VERSION = 2  # of what is counted and of the file


def tokens_on(corpus: Corpus, split: str, device: torch.device) -> torch.Tensor:
    """All tokens of a split (n,) int64, on `device`. They get there at two or four bytes each."""
    return torch.from_numpy(np.array(corpus.tokens(split))).to(device).long()


def bigram_counts(
    corpus: Corpus, split: str, device: torch.device, cache_dir: Path | None = None
) -> PairCounts:
    """Pair counts of a split at lag 1, on `device`."""
    path = None
    if device.type == "cpu":
        path = (
            cache_root(cache_dir)
            / "statistics"
            / f"{corpus.content_hash[:32]}-{split}-v{_VERSION}.safetensors"
        )
        if (found := _read(path, corpus.vocab_size)) is not None:
            return found
    pairs = count_pairs(tokens_on(corpus, split, device), corpus.vocab_size)
    if path is not None:
        _write(path, pairs)
    return pairs


def _read(path: Path, vocab_size: int) -> PairCounts | None:
    """The counts in a file; None if there is none or, with a warning, a damaged one. It is then
    written anew."""
    try:
        tensors = load_checked(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        warn_of_damage(path)
        return None
    keys, count = tensors["keys"], tensors["count"]
    return PairCounts(keys // vocab_size, keys % vocab_size, count.float(), vocab_size)


def _write(path: Path, pairs: PairCounts) -> None:
    """Write atomically; several processes may do so at once. A cache that cannot be written is done
    without."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checked(
            {"keys": pairs.i * pairs.vocab_size + pairs.j, "count": pairs.count.int()}, path
        )
