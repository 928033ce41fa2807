from __future__ import annotations

from dataclasses import dataclass

import pytest

from clso.plugins import available, load
from clso.space.option_help import OptionHelp, describe_options


@dataclass(frozen=True)
class Sizes:
    n: int = 3
    """How
    many."""
    bare: str = "a"


@dataclass(frozen=True)
class Wider(Sizes):
    """Not of `n`."""

    fast: bool = False
    """Whether to hurry."""
    n: int = 5


def test_the_text_below_a_field_is_its_help_and_is_inherited() -> None:
    assert describe_options(Wider) == [
        OptionHelp("n", "int", 5, "How many."),
        OptionHelp("bare", "str", "a", ""),
        OptionHelp("fast", "bool", False, "Whether to hurry."),
    ]


def test_a_class_without_source_has_no_help() -> None:
    namespace: dict[str, type] = {}
    exec("class Options:\n    n: int = 3\n    'Lost.'", namespace)
    kind: type = dataclass(frozen=True)(namespace["Options"])
    assert describe_options(kind) == [OptionHelp("n", "int", 3, "")]


@pytest.mark.parametrize(
    "plugin",
    [
        (kind, name)
        for kind in ("search_spaces", "tasks")
        for name in available(kind)  # type: ignore[arg-type]
    ],
    ids="/".join,
)
def test_every_option_that_comes_with_clso_has_help(plugin: tuple[str, str]) -> None:
    kind, name = plugin
    found = load(kind, name)  # type: ignore[arg-type]
    if found.value.__module__.startswith("clso."):
        assert [o.name for o in describe_options(found.options) if not o.help] == []
