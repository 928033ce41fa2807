"""Kernels in CUDA C++ (`cuda_sources/`), compiled by NVRTC for the device that is there, when they are first called.

NVRTC and the bindings to it and to the driver (`cuda.bindings`) come with torch's builds for CUDA. What is compiled is
kept in the cache (`CLSO_CACHE`), as what `native.py` compiles is."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clso.disk.files import read_regular, write_bytes
from clso.models.arguments import Arguments
from clso.models.built import built

__all__ = ["MOST_SHARED", "WARPS", "Kernels", "Launch", "Macros", "has_clusters", "segment_length"]

_SOURCES = Path(__file__).with_name("cuda_sources")
MOST_SHARED = 227 << 10
"""Bytes of shared memory that a block can have on compute capability 9.0."""
WARPS = 1056
"""Two for each scheduler of an H200, for which segments of time are worth going through twice."""
_MOST_SEGMENTS = 128  # whose ends a segment goes through before it starts

Macros = tuple[tuple[str, str], ...]
"""Names and values that a source is compiled with."""


class Launch(NamedTuple):
    """How a kernel is started."""

    blocks: int
    threads: int
    shared: int
    """Bytes."""


@cache
def has_clusters(device: torch.device) -> bool:
    """Whether blocks of a kernel can write into each other's shared memory there."""
    return torch.cuda.get_device_capability(device)[0] >= 9


def segment_length(n_steps: int, n_warps: int, most_warps: int = WARPS) -> int:
    """Steps of a segment of time, for `n_warps` warps to a segment."""
    most = max(1, min(most_warps // n_warps, _MOST_SEGMENTS))
    return -(-n_steps // most)


class Kernels:
    """Kernels of one source and one structure, which is their only argument: names of its sizes,
    then of its arrays, in the source's order."""

    def __init__(self, source: str, sizes: str, arrays: str) -> None:
        self.source = source
        self.arguments = Arguments(ctypes.c_longlong, sizes, arrays)

    def start(
        self, name: str, macros: Macros, how: Launch, arguments: Any, device: torch.device
    ) -> None:
        """Start `name`, compiled with `macros`, on the device's current stream.

        Raises `RuntimeError` with what NVRTC or the driver say."""
        from cuda.bindings import driver

        with torch.cuda.device(device):
            kernel = _kernel(self.source, name, macros, device, how.shared)
            stream = torch.cuda.current_stream(device).cuda_stream
            sizes = how.blocks, 1, 1, how.threads, 1, 1, how.shared
            given = (arguments,), (None,)
            _check(driver.cuLaunchKernel(kernel, *sizes, stream, given, 0))


@cache
def _kernel(source: str, name: str, macros: Macros, device: torch.device, shared: int) -> Any:
    from cuda.bindings import driver

    (function,) = _check(driver.cuModuleGetFunction(_module(source, macros, device), name.encode()))
    most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _check(driver.cuFuncSetAttribute(function, most, shared))
    return function


@cache
def _module(source: str, macros: Macros, device: torch.device) -> Any:
    """A source, loaded on a device."""
    from cuda.bindings import driver

    major, minor = torch.cuda.get_device_capability(device)
    options = [f"--gpu-architecture=sm_{major}{minor}", "--std=c++17", "-default-device"]
    options += [f"-D{name}={value}" for name, value in macros]
    files = [(_SOURCES / name).read_bytes() for name in ("common.cuh", f"{source}.cu")]
    digest = hashlib.sha256(b"\0".join((_version(), " ".join(options).encode(), *files)))
    code = built(
        f"{digest.hexdigest()[:32]}.cubin",
        lambda path: write_bytes(path, _compile(files[1], files[0], options), durable=False),
        read_regular,
    )
    (module,) = _check(driver.cuModuleLoadData(code))
    return module


@cache
def _version() -> bytes:
    from cuda.bindings import nvrtc

    return repr(_check(nvrtc.nvrtcVersion())).encode()


def _compile(source: bytes, common: bytes, options: list[str]) -> bytes:
    """A source as machine code."""
    from cuda.bindings import nvrtc

    (program,) = _check(
        nvrtc.nvrtcCreateProgram(source, b"source.cu", 1, [common], [b"common.cuh"])
    )
    try:
        result, *_ = nvrtc.nvrtcCompileProgram(
            program, len(options), [option.encode() for option in options]
        )
        if result.value:
            size: int = _check(nvrtc.nvrtcGetProgramLogSize(program))[0]
            log = bytes(size)
            _check(nvrtc.nvrtcGetProgramLog(program, log))
            raise RuntimeError(f"NVRTC: {log.decode(errors='replace').strip(chr(0)).strip()}")
        size = _check(nvrtc.nvrtcGetCUBINSize(program))[0]
        code = bytes(size)
        _check(nvrtc.nvrtcGetCUBIN(program, code))
        return code
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _check(results: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a call gives beside its status."""
    status, *found = results
    if status.value:
        raise RuntimeError(f"CUDA: {status.name}")
    return tuple(found)
