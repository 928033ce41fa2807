"""What a run was made with: versions, devices, plugins, corpus and seeds. A reader repeats a run
from this."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from clso.config import RunConfig
from clso.energy import EnergyMeter
from clso.plugins import Plugin
from clso.space import SearchSpace
from clso.space.build import options_type
from clso.space.language import LanguageModelSpace
from clso.space.options import make_options

__all__ = ["describe_device", "describe_plugins", "describe_software", "make_manifest"]

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


def describe_plugins(space: Plugin, surrogate: Plugin | None) -> dict[str, dict[str, str]]:
    """Where the space and the surrogate come from."""
    plugins = {"space": space} if surrogate is None else {"space": space, "surrogate": surrogate}
    return {kind: plugin.describe() for kind, plugin in plugins.items()}


def make_manifest(
    config: RunConfig,
    space: SearchSpace,
    device: str,
    space_plugin: Plugin,
    surrogate: Plugin | None,
    meter: EnergyMeter,
) -> dict[str, Any]:
    """The manifest of a run, as JSON types."""
    return {
        "software": describe_software(),
        "hardware": describe_device(device),
        "plugins": describe_plugins(space_plugin, surrogate),
        "corpus": space.corpus.spec if isinstance(space, LanguageModelSpace) else None,
        "options": asdict(make_options(options_type(config), config.options)),
        "genes": [{"name": g.name, "n_choices": len(g)} for g in space.genes],
        "seed": config.seed,
        "energy": {"source": meter.source, "reason": meter.reason},
    }
