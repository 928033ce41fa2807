"""Search spaces: what a genome may be, what it means, and how it is measured."""

from __future__ import annotations

from clso.space.base import Objective, SearchSpace, Startable
from clso.space.genome import Gene, Genome
from clso.space.measures import Measure

__all__ = ["Gene", "Genome", "Measure", "Objective", "SearchSpace", "Startable"]
