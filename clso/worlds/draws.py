"""Random numbers by place, not by turn: a hash of (stream, counters), alike in numpy and in plain Python.

A batch draws for all its episodes at once, the reference for one; what each gets depends on neither. The
mixer is SplitMix64's (Steele, Lea & Flood 2014, doi:10.1145/2714064.2660195).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Words", "mix", "mix_array", "mix_each", "uniform", "uniform_array"]

Words = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_UNIT = 2.0**-53


def mix(word: int, *counters: int) -> int:
    """A 64-bit hash of a word and small counters."""
    for counter in counters or (0,):
        (word,) = mix_each((word,), counter)
    return word


def mix_each(words: Iterable[int], counter: int = 0) -> list[int]:
    """`mix` of each word: a call for all, because calls are most of its time in plain Python."""
    out, turn = [], (counter + 1) * _STEP
    for word in words:
        word = (word + turn) & _MASK
        word = ((word ^ word >> 30) * _FIRST) & _MASK
        word = ((word ^ word >> 27) * _SECOND) & _MASK
        out.append(word ^ word >> 31)
    return out


def mix_array(words: npt.ArrayLike, *counters: Any) -> Words:
    """`mix`, elementwise; counters are integers or arrays of them, at least -1."""
    out = np.asarray(words, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for counter in counters or (0,):
            turn = (np.asarray(counter, dtype=np.int64) + 1).astype(np.uint64)
            out = out + turn * np.uint64(_STEP)
            out = (out ^ out >> np.uint64(30)) * np.uint64(_FIRST)
            out = (out ^ out >> np.uint64(27)) * np.uint64(_SECOND)
            out = out ^ out >> np.uint64(31)
    return out


def uniform(word: int, *counters: int) -> float:
    """A number in [0, 1)."""
    return (mix(word, *counters) >> 11) * _UNIT


def uniform_array(words: npt.ArrayLike, *counters: Any) -> npt.NDArray[np.float64]:
    """`uniform`, elementwise."""
    return (mix_array(words, *counters) >> np.uint64(11)).astype(np.float64) * _UNIT
