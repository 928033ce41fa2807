"""Conformance kit for plugins: pytest classes that say whether a search space, a surrogate or a
crystal family keeps its contract.

    class TestMySpace(SpaceConformance):
        def make_space(self): return MySpace()

Properties are checked on examples that Hypothesis draws, the same ones in every run. Needs `pip
install 'clso[testing]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

pytest.register_assert_rewrite(
    "clso.testing.crystals", "clso.testing.spaces", "clso.testing.surrogates"
)

from clso.lazy import first_use  # noqa: E402
from clso.testing.properties import genomes  # noqa: E402
from clso.testing.spaces import SpaceConformance  # noqa: E402
from clso.testing.surrogates import SurrogateConformance  # noqa: E402

if TYPE_CHECKING:
    from clso.testing.crystals import CrystalConformance

# with torch, which the tests of a space need not wait for
__getattr__ = first_use("clso.testing", {"CrystalConformance": "clso.testing.crystals"})

__all__ = ["CrystalConformance", "SpaceConformance", "SurrogateConformance", "genomes"]
