"""Conformance kit for plugins: pytest classes that say whether a search space or a surrogate keeps
its contract.

    class TestMySpace(SpaceConformance):
        def make_space(self): return MySpace()

Properties are checked on examples that Hypothesis draws, the same ones in every run. Needs `pip
install 'clso[testing]'`."""

from __future__ import annotations

from clso.errors import MissingDependencyError

try:
    import hypothesis  # noqa: F401
    import pytest
except ImportError as error:
    raise MissingDependencyError(
        "clso.testing needs pytest and hypothesis",
        got=error.name,
        remedy="pip install 'clso[testing]'",
    ) from error

pytest.register_assert_rewrite("clso.testing.spaces", "clso.testing.surrogates")

from clso.testing.properties import genomes  # noqa: E402
from clso.testing.spaces import SpaceConformance  # noqa: E402
from clso.testing.surrogates import SurrogateConformance  # noqa: E402

__all__ = ["SpaceConformance", "SurrogateConformance", "genomes"]
