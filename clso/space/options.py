"""Options of a space or task: a frozen dataclass whose fields have defaults, set by a recipe's
`[options]` or `--option`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from clso.config import checked
from clso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from clso.crystals import CrystalLibrary

__all__ = [
    "LanguageModelOptions",
    "LibraryOptions",
    "NoOptions",
    "make_options",
    "parse_options",
    "require_library",
    "require_offered",
]

_BOOLS = {"true": True, "false": False}


def require_offered(name: str, offered: Iterable[str], kind: str, space: str) -> str:
    """`name`, if it is one of those that a space offers. Raises `ConfigError` with the nearest one."""
    known = list(offered)
    if name in known:
        return name
    offers = f"Space {space} offers {', '.join(known)}."
    raise ConfigError(f"unknown {kind}", got=name, remedy=did_you_mean(name, known, offers))


@dataclass(frozen=True)
class NoOptions:
    """What a space takes that has nothing to set."""


@dataclass(frozen=True)
class LanguageModelOptions:
    """Sizes of the models that a language-model space builds, and of the baselines that it is
    compared with. The defaults are the reference protocol's."""

    objectives: ClassVar[tuple[str, ...]] = ()
    """What the space offers to search for, if it says so here: a misspelt one is then found before the
    space is imported."""

    n_layers: int = 2
    """Layers of the model."""
    d_model: int = 128
    """Dimensions of the residual stream."""
    n_heads: int = 2
    """Attention heads of a layer."""
    n_positions: int = 128
    """Tokens of context: the length of the blocks that are scored."""

    def __post_init__(self) -> None:
        for name, value in self.sizes.items():
            if value < 1:
                raise ConfigError(f"{name} is at least 1", got=value)

    @property
    def sizes(self) -> dict[str, Any]:
        """What `GPT2Config` takes besides the vocabulary."""
        return {
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "n_heads": self.n_heads,
            "n_positions": self.n_positions,
        }


@dataclass(frozen=True)
class LibraryOptions(LanguageModelOptions):
    """Options of a space whose matrices are crystals from one of `libraries`."""

    libraries: ClassVar[tuple[str, ...]] = ("grown", "random")

    library: str = "grown"
    """Where the crystals come from: "grown" (from the corpus, in closed form), or "random" (the
    control)."""
    library_size: int = 64
    """Random crystals per slot shape."""
    crystals: str = ""
    """Families of the random crystals, comma-separated: of `clso list crystals`, or FILE.py:CLASS;
    none: those that come with CLSO."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_library(self.library, *self.libraries)
        if self.library_size < 1:
            raise ConfigError("library_size is at least 1", got=self.library_size)
        if self.crystals:
            if self.library != "random":
                raise ConfigError(
                    f"library {self.library} picks its own crystals",
                    got=self.crystals,
                    remedy="Use --library random with --crystals.",
                )
            self.random_library(0)

    def random_library(self, seed: int) -> CrystalLibrary:
        """The random crystals of a run's seed. Raises what `load_families` raises."""
        from clso.crystals import CrystalLibrary
        from clso.crystals.library import recipes_of

        return CrystalLibrary(self.library_size, seed, recipes=recipes_of(self.crystals))


def require_library(library: str, *known: str) -> None:
    """For an option `library` with the values `known`. Raises `ConfigError`."""
    if library not in known:
        raise ConfigError(f"library is {', '.join(known[:-1])} or {known[-1]}", got=library)


def make_options(kind: type, values: Mapping[str, Any], *, of: str = "this search space") -> Any:
    """An instance of the dataclass `kind` with `values` set; `of` names whose options they are, for
    errors.

    Raises `ConfigError` for an unknown key or a wrong type.
    """
    _check_keys(kind, values, of)
    return kind(**checked(kind, dict(values)))


def parse_options(
    kind: type, pairs: Iterable[str], *, of: str = "this search space"
) -> dict[str, Any]:
    """`KEY=VALUE` texts as values of the fields' types. Raises `ConfigError`."""
    texts: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError("an option is KEY=VALUE", got=pair)
        texts[key.strip()] = text.strip()
    _check_keys(kind, texts, of)
    defaults = {f.name: f.default for f in fields(kind)}
    return {key: _convert(key, text, type(defaults[key])) for key, text in texts.items()}


def _convert(key: str, text: str, kind: type) -> Any:
    try:
        return _BOOLS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"option {key} is of type {kind.__name__}", got=text) from error


def _check_keys(kind: type, keys: Iterable[str], of: str) -> None:
    known = [f.name for f in fields(kind)]
    for key in keys:
        if not known:
            raise ConfigError(f"{of} takes no options", got=key, remedy="Remove it.")
        if key not in known:
            remedy = did_you_mean(key, known, f"Known: {', '.join(known)}.")
            raise ConfigError(f"unknown option of {of}", got=key, remedy=remedy)
