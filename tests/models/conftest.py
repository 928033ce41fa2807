"""Kernels in CUDA C++ on a CPU."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from clso.models import cuda

SOURCES = Path(cuda.__file__).with_name("cuda_sources")
EMULATOR = Path(__file__).with_name("cuda_on_cpu.h")
BY_CLUSTERS = ("nsm_advance", "nsm_retreat")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A source with some macros, compiled once."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    folder = tmp_path_factory.mktemp("cuda")

    @cache
    def library(source: str, macros: cuda.Macros) -> ctypes.CDLL:
        sizes = [f"{name}={value}" for name, value in macros]
        path = folder / f"{'-'.join((source, *sizes))}.so"
        flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-x", "c++", f"-I{SOURCES}"]
        given = [f"-D{one}" for one in (*sizes, f'SOURCE="{source}.cu"')]
        subprocess.run([compiler, *flags, *given, "-o", str(path), str(EMULATOR)], check=True)
        return ctypes.CDLL(str(path))

    return library


@pytest.fixture
def on_cpu(request: pytest.FixtureRequest, compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels start on the CPU, each of their threads a fiber, in order, or "backwards"."""
    order = getattr(request, "param", "forwards")

    def start(
        self: cuda.Kernels,
        name: str,
        macros: cuda.Macros,
        how: cuda.Launch,
        arguments: Any,
        device: torch.device,
    ) -> None:
        library = compiled(self.source, macros)
        cluster = int(dict(macros)["H"]) if name in BY_CLUSTERS else 1
        assert how.blocks % cluster == 0
        failed = library.launch(
            getattr(library, name), ctypes.byref(arguments), how.blocks, cluster, how.threads,
            ctypes.c_long(how.shared // 4), int(order == "backwards"),
        )  # fmt: skip
        problems = {1: "threads wait for ever", 2: "threads write behind their shared memory"}
        assert not failed, f"{name}: {problems[failed]}"

    monkeypatch.setattr(cuda.Kernels, "start", start)
