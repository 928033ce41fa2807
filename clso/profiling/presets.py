"""Named sizes for `clso profile --preset`."""

from __future__ import annotations

from typing import Any

from clso.errors import ConfigError

__all__ = ["PRESETS", "preset"]

PRESETS: dict[str, dict[str, Any]] = {
    "vsla-1b": {
        "models": ("vsla",),
        "n_layers": 24,
        "d_model": 2048,
        "n_heads": 16,
        "vocab_size": 50257,
        "lengths": (4096,),
        "tied_head": True,
    },
}


def preset(name: str) -> dict[str, Any]:
    """Settings of `ProfileSettings` by name. Raises `ConfigError` for an unknown one."""
    if name not in PRESETS:
        raise ConfigError(f"a preset is {', '.join(PRESETS)}", got=name)
    return PRESETS[name]
