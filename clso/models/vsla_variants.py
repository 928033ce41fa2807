"""The models `vsla`, `vsla-local`, ... of the plugin group `clso.models`: a VSLA with one pattern in all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clso.errors import ConfigError
from clso.models.vsla import VSLA, VSLAConfig

__all__ = ["VSLAAdaptive", "VSLAFull", "VSLALocal", "VSLAPyramid", "VSLASparse"]


@dataclass(frozen=True)
class _FullConfig(VSLAConfig):
    """`VSLAConfig` whose layers have `pattern` if no patterns are given."""

    n_classes: int = 0
    pattern: ClassVar[str] = "full"

    def __post_init__(self) -> None:
        if self.n_classes:
            raise ConfigError(
                "a VSLA is a language model", problem=f"it is asked for {self.n_classes} classes"
            )
        object.__setattr__(self, "patterns", self.patterns or (self.pattern,) * self.n_layers)
        super().__post_init__()


@dataclass(frozen=True)
class _LocalConfig(_FullConfig):
    pattern: ClassVar[str] = "local:512"


@dataclass(frozen=True)
class _SparseConfig(_FullConfig):
    pattern: ClassVar[str] = "sparse:64:6"  # sees 512 tokens, as local does


@dataclass(frozen=True)
class _PyramidConfig(_FullConfig):
    pattern: ClassVar[str] = "pyramid:64"


@dataclass(frozen=True)
class _AdaptiveConfig(_FullConfig):
    pattern: ClassVar[str] = "adaptive:entropy:6"


class VSLAFull(VSLA):
    name = "vsla"
    Config: ClassVar[type[VSLAConfig]] = _FullConfig


class VSLALocal(VSLAFull):
    name = "vsla-local"
    Config = _LocalConfig


class VSLASparse(VSLAFull):
    name = "vsla-sparse"
    Config = _SparseConfig


class VSLAPyramid(VSLAFull):
    name = "vsla-pyramid"
    Config = _PyramidConfig


class VSLAAdaptive(VSLAFull):
    name = "vsla-adaptive"
    Config = _AdaptiveConfig
