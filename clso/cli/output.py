"""What the command line writes: text of users, files and plugins is shown as it is, and never
obeyed.

All output goes through `echo`, or through `clso.cli.console` for tables. Control characters and
bytes that are no text are shown as escapes, so that none reaches the terminal. Progress that cannot
be written (a full disk) stops no run."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

__all__ = ["Forgiving", "echo", "log_to_stderr", "only_json", "plain", "stream", "write_out"]

# C0 and C1 controls but the line end, separators of lines, marks that turn the direction of
# writing, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """`text` with each character that a terminal would obey, or could not write, as its escape.
    Tabs become spaces."""
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] == "\t":
        return "    "
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a path that is not UTF-8, as Python keeps it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Forgiving(io.TextIOBase):
    """A stream for progress: from the first error on, what is written is dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._drop()
        return len(text)

    def _drop(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            # What was not taken is still in the buffer, and would fail once more when the process
            # ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # type: ignore[union-attr]
        self._stream = None


def echo(text: str, *, err: bool = False) -> None:
    """One text and a line end, without wrapping, on stdout, or on stderr if `err`."""
    stream: Any = Forgiving(sys.stderr) if err else sys.stdout
    if stream is not None:
        stream.write(plain(text) + "\n")
        stream.flush()


def write_out(text: str) -> None:
    """Data for programs on stdout: whole lines, with the escapes of `plain`."""
    if sys.stdout is not None:
        sys.stdout.write(plain(text))
        sys.stdout.flush()


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        echo(f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}", err=True)


def stream(text: str) -> None:
    """A piece of generated text on stdout, at once: on a terminal as `echo` shows it, in a file or
    pipe as it is."""
    out: Any = sys.stdout
    if out is not None:
        out.write(plain(text) if out.isatty() else text)
        out.flush()


def log_to_stderr() -> None:
    """Show our warnings as lines, and what an encoding cannot hold as escapes."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or a test's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logger = logging.getLogger("clso")
    if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
        logger.addHandler(_Warnings(logging.WARNING))
        logger.propagate = False


@contextmanager
def only_json(active: bool) -> Iterator[None]:
    """With `--json` stdout is for the result alone: what plugins print while they work goes to
    stderr."""
    if not active or sys.stdout is None:
        yield
        return
    kept = None
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        if sys.stdout.fileno() == 1:
            kept = os.dup(1)
            os.dup2(2, 1)  # for libraries and processes that do not know of `sys.stdout`
    try:
        with redirect_stdout(Forgiving(sys.stderr)):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
