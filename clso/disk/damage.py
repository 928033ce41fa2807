"""Whatever a damaged file makes of its reader, told as one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from clso.errors import ClsoError, RunFolderError

__all__ = ["reading"]

_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)
_MAX_CAUSE = 400  # characters: torch lists every tensor that does not fit


@contextmanager
def reading(
    folder: Path,
    what: str,
    *,
    remedy: str = "Name a folder that a finished run wrote.",
    refusals: tuple[type[ClsoError], ...] = (),
) -> Iterator[None]:
    """While the body reads `what` from `folder`, whatever a damaged file makes of it is a
    `RunFolderError`, and so are CLSO's own `refusals`."""
    foreseen = _DAMAGE + refusals
    try:
        yield
    except foreseen as error:
        cause = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunFolderError(
            f"{folder} holds {what}",
            problem=f"it cannot be read ({type(error).__name__}: {cause[:_MAX_CAUSE]})",
            remedy=remedy,
        ) from error
