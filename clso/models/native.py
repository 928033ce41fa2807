"""Recurrences, and what a head's logits come to, in C (`c_sources/`), for a CPU on a machine with a C compiler.

Each source is compiled once, when it is first called, for the processor that is there, into the cache of tokens
(`CLSO_CACHE`). `CC` names the compiler, as everywhere; without one plain torch is used. So it is while operators are watched,
as by a counter of FLOPs, which would not see them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from clso.disk.files import atomic_file
from clso.errors import ConfigError
from clso.models.arguments import Arguments
from clso.models.built import built

__all__ = ["Call", "compiler", "is_possible"]

_SOURCES = Path(__file__).with_name("c_sources")
_FLAGS = [
    *("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
]


def is_possible(x: Tensor) -> bool:
    """Whether the recurrences take a tensor like this, as far as can be told without compiling."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not is_in_torch_dispatch_mode(include_infra_modes=False)
        and compiler() is not None
    )


class Call:
    """Functions of one source and one structure: names of its sizes, then of its arrays, in the
    order of the C source."""

    def __init__(self, source: str, sizes: str, arrays: str) -> None:
        self._source = source
        self._arguments = Arguments(ctypes.c_long, sizes, arrays, torch.float32, torch.int64)

    def __call__(
        self,
        name: str,
        sizes: dict[str, int],
        arrays: dict[str, Tensor],
        n_items: int | None = None,
    ) -> None:
        """Call `name` for all items, sequences of a batch unless their number is given, shared out
        over torch's threads: items are independent, so that results do not depend on the threads'
        number.

        Arrays that are not given are NULL. Raises `MemoryError` if there is none, and what a
        compiler or a file system may say at the first call."""
        function = getattr(_library(self._source), name)
        what = ctypes.byref(self._arguments(sizes, arrays))
        n_items = sizes["n_batch"] if n_items is None else n_items
        n = max(1, min(torch.get_num_threads(), n_items))
        bounds = [n_items * i // n for i in range(n + 1)]

        def part(i: int) -> int:
            return int(function(what, *map(ctypes.c_long, bounds[i : i + 2])))

        if n == 1:
            failed = [part(0)]
        else:
            others = [_helpers(n - 1).submit(part, i) for i in range(1, n)]
            failed = [part(0), *(one.result() for one in others)]
        if any(failed):
            raise MemoryError(f"{name} found no memory to work in")


@cache
def _helpers(n: int) -> ThreadPoolExecutor:
    """Threads that help with calls: starting them takes longer than a short call."""
    return ThreadPoolExecutor(n, thread_name_prefix="clso-native")


if hasattr(os, "register_at_fork"):  # a forked process has none of these threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)


@cache
def compiler() -> tuple[str, ...] | None:
    """The C compiler's command, if there is one; Microsoft's has no vectors of this kind.

    Raises `ConfigError` if `CC` cannot be a command."""
    if sys.platform == "win32":
        return None
    if "CC" in os.environ:
        try:
            command = shlex.split(os.environ["CC"])
        except ValueError as error:
            raise ConfigError(
                "CC is a C compiler's command, or empty for none",
                problem=f"{os.environ['CC']!r} is no command ({error})",
            ) from None
        return tuple(command) if command and shutil.which(command[0]) else None
    return next(((name,) for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


@cache
def _library(source: str) -> ctypes.CDLL:
    """One source compiled, or as it was compiled earlier by the same compiler for the same processor."""
    command = compiler()
    assert command is not None
    # macros say which compiler it is and which instructions it would use
    macros = subprocess.run(
        [*command, *_FLAGS, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, check=True
    ).stdout
    code = _SOURCES / f"{source}.c"
    files = (path.read_bytes() for path in (*sorted(_SOURCES.glob("*.h")), code))
    digest = hashlib.sha256(b"\0".join((macros, " ".join(_FLAGS).encode(), *files))).hexdigest()
    return built(
        f"{digest[:32]}.so",
        lambda path: _compile(command, code, path),
        lambda path: ctypes.CDLL(str(path)),
    )


def _compile(command: tuple[str, ...], code: Path, path: Path) -> None:
    """Whole or not at all, since other processes may be at it."""
    with atomic_file(path, durable=False) as temporary:
        subprocess.run(
            [*command, *_FLAGS, "-o", str(temporary), str(code), "-lm"],
            capture_output=True,
            check=True,
        )
