"""The models that are profiled: found as plugins, built at the settings' sizes, and sized to equal
parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from clso.errors import ConfigError
from clso.models.modules import build_module, load_family, n_parameters
from clso.plugins import Plugin
from clso.profiling.settings import ProfileSettings

__all__ = ["TOLERANCE", "ProfiledModel", "find_models"]

TOLERANCE = 0.05
"""How far, as a share, an equal-parameter model may lie from the number asked for."""
_WIDEST = 1 << 16


@dataclass(frozen=True)
class ProfiledModel:
    """A model class at fixed sizes. `name` is what tables call it: the class's own `name`, else its
    plugin's."""

    name: str
    plugin: Plugin
    settings: ProfileSettings
    d_model: int

    def config(self) -> Any:
        """The class's `Config`: one model for all lengths, so it has positions for the longest."""
        s = self.settings
        with self.plugin.as_plugin_error("be configured"):
            return self.plugin.value.Config(
                vocab_size=s.vocab_size,
                d_model=self.d_model,
                n_layers=s.n_layers,
                n_heads=s.n_heads,
                n_positions=max(s.lengths),
                n_classes=s.n_classes,
                **({"tied_head": True} if s.tied_head else {}),
            )

    def build(self) -> nn.Module:
        """The initialised model on the CPU, in float32; equal settings give equal weights.
        On meta it is only described."""
        if self.settings.device == "meta":
            return self.described()
        config = self.config()
        with self.plugin.as_plugin_error("be built"):
            model: nn.Module = build_module(self.plugin.value, config, seed=self.settings.seed)
        return model

    def described(self) -> nn.Module:
        """The model on the device meta: whatever its size, nothing is allocated."""
        config = self.config()
        with self.plugin.as_plugin_error("be built on the device meta"), torch.device("meta"):
            model: nn.Module = self.plugin.value(config)
        return model

    def n_parameters(self) -> int:
        """Trainable numbers, each shared one once."""
        return n_parameters(self.build())


def find_models(settings: ProfileSettings) -> list[ProfiledModel]:
    """The settings' models, with equal parameters if that is asked for.

    Raises:
        PluginError: a model cannot be found, imported or built, or is no `nn.Module` with a
        dataclass `Config`.
        ConfigError: two have one name, or no width gives the parameters asked for within
        `TOLERANCE`.
    """
    found = [_load(spec, settings) for spec in settings.models]
    for model in found:
        if (
            settings.mix
            and "packed" in settings.layouts
            and not hasattr(model.plugin.value, "packed")
        ):
            raise ConfigError(
                "the layout packed is for models with packed(tokens, offsets)",
                got=model.name,
                remedy="Leave it out of --layout, or name a vsla.",
            )
        if settings.tied_head and "tied_head" not in model.plugin.value.Config.__dataclass_fields__:
            raise ConfigError("a tied head is for models that can have one", got=model.name)
    names = [model.name for model in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                "models are told apart by name", got=name, remedy="Give the class another `name`."
            )
    if settings.equal_parameters is None:
        return found
    return [_sized(model, settings.equal_parameters) for model in found]


def _load(spec: str, settings: ProfileSettings) -> ProfiledModel:
    plugin = load_family(spec)
    name = getattr(plugin.value, "name", None)
    return ProfiledModel(
        name if isinstance(name, str) and name else spec.rpartition(":")[2],
        plugin,
        settings,
        settings.d_model,
    )


def _sized(model: ProfiledModel, wanted: int) -> ProfiledModel:
    """The width whose parameters are nearest to `wanted`, by bisection: they grow with the width.

    Widths are multiples of twice n_heads, since rotary and sinusoidal positions pair a head's
    dimensions."""
    step = 2 * model.settings.n_heads

    def at(k: int) -> tuple[int, int]:
        sized = ProfiledModel(model.name, model.plugin, model.settings, k * step)
        return n_parameters(sized.described()), k

    high = 1
    while (top := at(high))[0] < wanted and high * step < _WIDEST:
        high *= 2
    near, low = [top], high // 2
    while high - low > 1:
        middle = (low + high) // 2
        point = at(middle)
        near.append(point)
        low, high = (low, middle) if point[0] >= wanted else (middle, high)
    if low:
        near.append(at(low))
    n, k = min(near, key=lambda point: abs(point[0] - wanted))
    if abs(n - wanted) > TOLERANCE * wanted:
        raise ConfigError(
            f"{model.name} can have {wanted:,} parameters within {TOLERANCE:.0%}",
            problem=f"the nearest d_model, {k * step}, gives {n:,} parameters",
            remedy="Ask for more parameters, a smaller vocabulary, fewer layers or heads, or shorter lengths.",
        )
    return ProfiledModel(model.name, model.plugin, model.settings, k * step)
