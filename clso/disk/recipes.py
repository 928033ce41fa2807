"""Recipes: files of settings that come with CLSO, found by name in a source tree as in an installed
package."""

from __future__ import annotations

from pathlib import Path

from clso.errors import ConfigError, did_you_mean

__all__ = ["available_recipes", "find_recipe"]

_FOLDER = Path(__file__).parents[1] / "recipes"


def available_recipes() -> dict[str, Path]:
    """The files by name: first settings, as `ref-2x128`, then clusters, as `ray/cluster.yaml`."""
    return _settings() | {f"ray/{path.name}": path for path in sorted(_FOLDER.glob("ray/*.yaml"))}


def find_recipe(name: str | Path) -> Path:
    """The file of settings that is given by its name or as a path.

    What has a suffix, names a folder or is there is a path; it is returned unread.

    Raises:
        ConfigError: a name that no recipe has; the message holds the nearest.
    """
    path = Path(name)
    if path.suffix or len(path.parts) != 1 or path.is_file():
        return path
    known = _settings()
    if path.name not in known:
        rest = f"Known: {', '.join(known)}. Or give a TOML file."
        raise ConfigError("unknown recipe", got=str(name), remedy=did_you_mean(name, known, rest))
    return known[path.name]


def _settings() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}
