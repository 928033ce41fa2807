"""What a run was made with: versions, devices, plugins, corpus and seeds. A reader repeats a run
from this."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from clso.energy import EnergyMeter
from clso.run.context import RunContext
from clso.space import Gene, SearchSpace
from clso.space.build import all_options
from clso.space.language import LanguageModelSpace

__all__ = ["describe_code", "describe_device", "describe_software", "make_manifest"]

_PACKAGES = (
    "clso",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "deap",
    "ray",
    "tokenizers",
    "tiktoken",
    "nvidia-ml-py",
)


_GIT_TIMEOUT_S = 5.0
# They say which repository git is to look at, and a hook that starts a run has them set to its own.
_GIT_PLACES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
)


def describe_code(package: Path | None = None) -> dict[str, Any]:
    """Which code runs.

    Parameters
    ----------
    package
        Folder of the package; by default the one that runs.

    Returns
    -------
    dict
        `version` of the installed distribution; `commit`, the hash of the git commit that holds
        the package; `modified`, whether tracked files of its checkout differ from that commit. The
        last two are None if the package lies in no checkout (a wheel, also one that is installed
        inside somebody else's repository), or git does not say.
    """
    folder = package or Path(__file__).parents[1]
    found: dict[str, Any] = {"version": _version("clso"), "commit": None, "modified": None}
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return found
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return found
    heads = [line for line in status.splitlines() if line.startswith("# branch.oid ")]
    commit = heads[0].rpartition(" ")[2] if heads else "(initial)"
    if commit == "(initial)":  # a repository without a commit
        return found
    changes = [line for line in status.splitlines() if not line.startswith("#")]
    return {**found, "commit": commit, "modified": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints about `folder`, or None if it fails, is missing, or does not answer in time."""
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _GIT_PLACES}
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT_S,
        )
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
    return None


def describe_software() -> dict[str, str | None]:
    """Versions of Python and of the packages that a result depends on; None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        found[package] = _version(package)
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_device(device: str) -> dict[str, Any]:
    """The device that computes, and the host around it."""
    out: dict[str, Any] = {
        "device": device,
        "platform": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        out["gpu"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return out


_MAX_LABELS = 256  # of a gene; longer lists say little, and would be most of the file


def _describe(genes: Sequence[Gene]) -> list[dict[str, Any]]:
    """With the alleles' labels, so that the record can be read without the space."""
    rulers = {name for gene in genes for name, _ in (*gene.unless, *gene.when)}
    described = []
    for gene in genes:
        found: dict[str, Any] = {"name": gene.name, "n_choices": len(gene)}
        if gene.unless:
            found["unless"] = [list(pair) for pair in gene.unless]
        if gene.when:
            found["when"] = [[name, list(labels)] for name, labels in gene.when]
        if gene.ordered:
            found["ordered"] = True
        if gene.saving:
            found["saving"] = True
        if len(gene) <= _MAX_LABELS or gene.name in rulers:
            found["choices"] = list(gene.choices)
        described.append(found)
    return described


def make_manifest(context: RunContext, space: SearchSpace, meter: EnergyMeter) -> dict[str, Any]:
    """The manifest of a run, as JSON types."""
    config = context.config
    return {
        "code": describe_code(),
        "software": describe_software(),
        "hardware": describe_device(context.device),
        "plugins": context.plugins,
        "corpus": space.corpus.spec if isinstance(space, LanguageModelSpace) else None,
        "options": all_options(config),
        "genes": _describe(space.genes),
        "seed": config.seed,
        "energy": {"source": meter.source, "reason": meter.reason},
        "workers": context.workers.to_json(),
    }
