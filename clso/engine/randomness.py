"""A random stream's state as JSON: small and fast, for a checkpoint holds it every generation."""

from __future__ import annotations

import base64
import random
import struct
from typing import Any

__all__ = ["pack_random", "unpack_random"]

_WORDS = "<625I"  # the Mersenne Twister's 624 words and its position


def pack_random(rng: random.Random) -> list[Any]:
    """`rng.getstate()` as [version, base64 of little-endian words, pending Gaussian or None]."""
    version, words, gauss = rng.getstate()
    return [version, base64.b64encode(struct.pack(_WORDS, *words)).decode(), gauss]


def unpack_random(state: list[Any], rng: random.Random) -> None:
    """Set `rng` to a packed state. Raises TypeError or ValueError if it is none."""
    version, packed, gauss = state
    try:
        words = struct.unpack(_WORDS, base64.b64decode(packed))
    except struct.error as error:
        raise ValueError(f"not the state of a random stream: {error}") from error
    rng.setstate((version, words, gauss))
