"""The evolutionary engine: ask for genomes, tell it what was measured."""

from __future__ import annotations

from clso.engine.config import EngineConfig
from clso.engine.engine import Engine
from clso.engine.feasible import Shortfall
from clso.engine.pareto import ParetoEngine, crowded_order

__all__ = ["Engine", "EngineConfig", "ParetoEngine", "Shortfall", "crowded_order"]
