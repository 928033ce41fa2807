"""Checkpoints of earlier versions, in today's words: their runs go on."""

from __future__ import annotations

from typing import Any

__all__ = ["in_todays_words"]

_SCREENER = {"portfolio": "allocation"}
_NO_STEPS = {"wins": [0.0, 0.0], "tries": [0.0, 0.0]}
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
    engine = state.get("engine")
    if "rows" not in screener or not isinstance(engine, dict):
        return {**state, "screener": screener}
    return {
        **state,
        "engine": {"steps": _NO_STEPS, **engine},
        "screener": {"codes": None, "n_learnt": 0, "n_judged": 0, **screener},
    }


def _renamed(values: Any, names: dict[str, str]) -> Any:
    if not isinstance(values, dict):
        return values
    return {names.get(key, key): value for key, value in values.items()}
