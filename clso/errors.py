"""Errors that users see: each says what is wrong, the rule, and what to do about it.

The command line prints the message as one line and exits with `exit_code`; a library user catches
`ClsoError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ClsoError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "EnergyError",
    "EvaluationError",
    "GenomeError",
    "MissingDependencyError",
    "PluginError",
    "RunFolderError",
    "SearchWarning",
    "ShapeError",
    "Stopped",
    "did_you_mean",
]

_MAX_SHOWN = 2000  # characters of a value in a message


class ClsoError(Exception):
    """Base of every error that CLSO raises on purpose. `exit_code` 2 means bad input, 1 a run that
    failed.

    Args:
        rule: what has to hold ("k is below n"), or the fault itself ("no class Digitz in tune.py").
        problem: what is wrong in a sentence, if no value says it; stands before the rule.
        got: the value that broke the rule, shown as its `repr`: a value, never a phrase.
        remedy: what to do about it, a sentence.

    Example:
        >>> print(ClsoError("k is below n", got=9, remedy="Use a smaller k."))
        k is below n; got 9. Use a smaller k.
        >>> print(ClsoError("splits share no sequence", problem="3 of valid are in train"))
        3 of valid are in train: splits share no sequence
    """

    exit_code = 2

    def __init__(
        self, rule: str, *, problem: str = "", got: object = None, remedy: str = ""
    ) -> None:
        self.rule, self.problem, self.got, self.remedy = rule, problem, got, remedy
        # another's message may be part of the problem, and be long or of many lines
        message = f"{' '.join(problem.split())[:_MAX_SHOWN]}: {rule}" if problem else rule
        if got is not None:
            message = f"{message}; got {_shown(got)}"
        super().__init__(f"{message}. {remedy}".rstrip() if remedy else message)


def _shown(got: object) -> str:
    """What was got, as text: its `repr`, cut if it is long, for it may be a whole array, or a
    number of 5,000 digits."""
    try:
        text = repr(got)
    except Exception:  # a user's own may raise anything
        return f"an object of type {type(got).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


class ConfigError(ClsoError):
    """An option or a configuration file breaks a rule."""


class DataError(ClsoError):
    """A text, a token file or a tokenizer cannot be used."""


class DeviceError(ClsoError):
    """The device asked for is not there."""


class EnergyError(ClsoError):
    """An energy source was asked for by name and cannot be read."""


class GenomeError(ClsoError):
    """A genome does not belong to its search space."""


class MissingDependencyError(ClsoError):
    """An optional package is needed; the remedy holds the install line."""


class PluginError(ClsoError):
    """A search space, surrogate or baseline cannot be found or imported."""


class RunFolderError(ClsoError):
    """A run folder exists already, is missing, or holds a damaged or foreign checkpoint."""


class ShapeError(ClsoError):
    """Tensors, or the documents of a batch, that do not go together: ranks, types, devices, lengths or offsets."""


class EvaluationError(ClsoError):
    """Every candidate of a run failed, so that there is no winner."""

    exit_code = 1


class Stopped(ClsoError):
    """Ctrl-C; what was done is on disk, and the remedy says how to go on. No error: the command
    line shows it as it is."""

    exit_code = 130  # as a shell's, of 128 + SIGINT


class SearchWarning(UserWarning):
    """A search does less than it was asked to, for a reason that the message states."""


def did_you_mean(name: object, known: Iterable[str], then: str = "") -> str:
    """A remedy: "Did you mean 'x'?" of the known name nearest to `name`, and after it `then`.

    Capitals, and whether words are joined by _ or -, make no difference. `then` alone if no name
    is near."""
    spellings = {_plain(k): k for k in known}
    near = difflib.get_close_matches(_plain(str(name)), spellings, n=1, cutoff=0.5)
    hint = f"Did you mean {spellings[near[0]]!r}?" if near else ""
    return f"{hint} {then}".strip()


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
