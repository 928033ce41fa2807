"""The evolutionary engine: ask for genomes, tell it what was measured."""

from __future__ import annotations

from clso.engine.engine import Engine, EngineConfig

__all__ = ["Engine", "EngineConfig"]
