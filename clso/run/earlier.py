"""Checkpoints of earlier versions, in today's words: their runs go on."""

from __future__ import annotations

from typing import Any

__all__ = ["in_todays_words"]

_SCREENER = {"portfolio": "allocation"}
_SCREENING = {"ways": "strategies"}


def in_todays_words(state: dict[str, Any]) -> dict[str, Any]:
    """`state` of a checkpoint with the names that are written now. What is damaged stays so, for
    its reader to say."""
    screener = state.get("screener")
    if not isinstance(screener, dict):
        return state
    screener = _renamed(screener, _SCREENER)
    if isinstance(screener.get("open"), list):
        screener["open"] = [_renamed(batch, _SCREENING) for batch in screener["open"]]
    return {**state, "screener": screener}


def _renamed(values: Any, names: dict[str, str]) -> Any:
    if not isinstance(values, dict):
        return values
    return {names.get(key, key): value for key, value in values.items()}
