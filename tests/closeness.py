"""Comparing what is computed here with what another machine computed: the last bits of their
arithmetic may differ."""

from __future__ import annotations

import re
from typing import Any

import pytest

_NUMBER = re.compile(r"(\d+(?:,\d{3})*\.\d+)")


def assert_close(found: Any, recorded: Any, *, rel: float = 1e-9) -> None:
    """Equal JSON, floats within `rel` (and 1e-12 near 0)."""
    if isinstance(recorded, dict):
        assert isinstance(found, dict)
        assert found.keys() == recorded.keys()
        for key, value in recorded.items():
            assert_close(found[key], value, rel=rel)
    elif isinstance(recorded, list):
        assert isinstance(found, list)
        assert len(found) == len(recorded)
        for one, other in zip(found, recorded, strict=True):
            assert_close(one, other, rel=rel)
    elif isinstance(recorded, float):
        assert found == pytest.approx(recorded, rel=rel, abs=1e-12)
    else:
        assert found == recorded


def assert_same_page(found: str, page: str) -> None:
    """Equal text, numbers with decimals within one in their last: a last bit can decide how a tie
    is rounded."""
    ours, theirs = _NUMBER.split(found), _NUMBER.split(page)
    assert ours[::2] == theirs[::2]  # the text between the numbers
    for one, other in zip(ours[1::2], theirs[1::2], strict=True):
        last = 10.0 ** -len(other.partition(".")[2])
        assert _value(one) == pytest.approx(_value(other), rel=1e-9, abs=1.01 * last), (one, other)


def _value(number: str) -> float:
    return float(number.replace(",", ""))
