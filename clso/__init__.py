"""CLSO: small language models without gradients, by evolutionary search over structured
matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clso.lazy import first_use
from clso.moved import install as _point_to_what_moved

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.engine import Engine, EngineConfig
    from clso.run import evolve, resume
    from clso.screening.config import ScreeningConfig
    from clso.search.minimizing import minimize
    from clso.search.optimizer import Optimizer
    from clso.space import Gene, Measure, SearchSpace
    from clso.space.results import Evaluation
    from clso.space.scales import Float, Int

__all__ = [
    "Engine",
    "EngineConfig",
    "Evaluation",
    "Float",
    "Gene",
    "Int",
    "Measure",
    "Optimizer",
    "RunConfig",
    "ScreeningConfig",
    "SearchSpace",
    "evolve",
    "minimize",
    "resume",
]

_point_to_what_moved()

_HOME = {
    "Engine": "clso.engine",
    "EngineConfig": "clso.engine",
    "Evaluation": "clso.space.results",
    "Float": "clso.space.scales",
    "Gene": "clso.space.base",
    "Int": "clso.space.scales",
    "Measure": "clso.space.measures",
    "Optimizer": "clso.search.optimizer",
    "RunConfig": "clso.config",
    "ScreeningConfig": "clso.screening.config",
    "SearchSpace": "clso.space.base",
    "evolve": "clso.run.run",
    "minimize": "clso.search.minimizing",
    "resume": "clso.run.run",
}

__getattr__ = first_use(__name__, _HOME)
