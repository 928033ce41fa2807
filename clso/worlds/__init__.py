"""Worlds in which a controller acts. Blocks World: n labelled blocks, a start and a goal.

Plain Python (`blocks`) is the reference; `batched` plays many problems at once and moves alike.
"""

from __future__ import annotations

from clso.worlds.blocks import TABLE, Move, State
from clso.worlds.problems import Problem

__all__ = ["TABLE", "Move", "Problem", "State"]
