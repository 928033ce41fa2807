from __future__ import annotations

from typing import Any

import pytest
from closeness import assert_close, assert_same_page


def test_last_bits_are_forgiven() -> None:
    assert_close({"a": [0.1 + 0.2, None, 3]}, {"a": [0.3, None, 3]})
    assert_same_page("1,234.56 J, 0.0125 of 7", "1,234.55 J, 0.0124 of 7")


@pytest.mark.parametrize(
    "other", [{"a": [0.3001, 3]}, {"a": [0.3]}, {"a": [0.3, 4]}, {"b": [0.3, 3]}, {"a": None}]
)
def test_other_records_are_not(other: Any) -> None:
    with pytest.raises(AssertionError):
        assert_close(other, {"a": [0.3, 3]})


@pytest.mark.parametrize("other", ["1.23 J", "1.27 J", "1.25 s", "1.25 J, 3", "1.250 J x"])
def test_other_pages_are_not(other: str) -> None:
    with pytest.raises(AssertionError):
        assert_same_page(other, "1.25 J")
