"""The examples in docstrings run, and the public API has them."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import clso
from clso.energy import EnergyMeter

ROOT = Path(clso.__file__).parent
# those of the plugins, which lie beside this package, are documented for their authors
WITH_EXAMPLES = sorted(
    ".".join(("clso", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
    and not any(folder.is_symlink() for folder in path.parents)
)
OPTIONAL = {"clso.worlds.gym": "gymnasium"}
PUBLIC = [clso.minimize, clso.Optimizer, clso.SearchSpace, EnergyMeter, clso.evolve]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name: str) -> None:
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_the_public_api_has_examples_in_numpydoc(public: type) -> None:
    text = public.__doc__ or ""
    _, _, examples = text.partition("Examples\n    --------\n")
    assert ">>> " in examples
    assert public.__module__ in WITH_EXAMPLES
    assert "Args:" not in text
    assert "Raises:" not in text
