"""Settings of a run: one frozen dataclass, read from and written to TOML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from clso.conversion import as_index
from clso.disk.files import read_regular
from clso.disk.parsing import parse_toml
from clso.errors import ConfigError, did_you_mean
from clso.plugins import absolute, absolute_path

__all__ = ["SPACE_SETTINGS", "RunConfig", "checked", "read_toml", "settings"]

_SCALARS = (str, int, float, bool)
_TABLES = ("prove", "workers")  # of other commands; a recipe may hold them beside a run's settings
_PATHS = ("folder", "checkpoint")  # options that name one

SPACE_SETTINGS: Mapping[str, str | int | bool] = {
    "library": "grown",
    "checkpoint": "",
    "mlp": False,
    "library_size": 64,
    "n_layers": 2,
    "d_model": 128,
    "n_heads": 2,
    "n_positions": 128,
}
"""What was a setting of every run before it was an option of the spaces that have it, with the
defaults of then. Files of that time hold all of them, whatever their space."""

T = TypeVar("T")


def checked(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with keys and types checked against the fields of a dataclass, all of which have
    defaults.

    Integers pass for floats, numbers of numpy for Python's, and lists for tuples, whose items are
    of the kind of the default's. Raises `ConfigError`."""
    defaults: dict[str, Any] = {
        f.name: f.default_factory() if callable(f.default_factory) else f.default
        for f in fields(settings)
    }
    out = {}
    for key, value in values.items():
        if key not in defaults:
            remedy = did_you_mean(key, defaults) or "Remove it."
            if key in SPACE_SETTINGS and "options" in defaults:
                remedy = f"It is an option of the search space: options={{{key!r}: ...}}."
            raise ConfigError("unknown configuration key", got=key, remedy=remedy)
        kind = type(defaults[key])
        found = _converted(value, kind)
        if kind is tuple and isinstance(value, (list, tuple)):
            item = type(defaults[key][0]) if defaults[key] else str
            items = tuple(_converted(v, item) for v in value)
            found = items if all(type(v) is item for v in items) else None
        if type(found) is not kind:
            raise ConfigError(f"{key} is of type {kind.__name__}", got=value)
        for text in found if kind is tuple else (found,):
            if isinstance(text, str) and not _is_utf8(text):
                raise ConfigError(f"{key} can be written as UTF-8", got=text)
        out[key] = found
    return out


def _converted(value: Any, kind: type) -> Any:
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    return dict(value) if kind is dict and isinstance(value, Mapping) else value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def settings(kind: type[T]) -> type[T]:
    """Makes a dataclass check what its constructor is given (`checked`), from Python as from
    TOML."""
    assign: Callable[..., None] = kind.__init__
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]

    @wraps(assign)
    def init(self: T, *args: Any, **values: Any) -> None:
        assign(self, **checked(kind, {**dict(zip(names, args, strict=False)), **values}))

    kind.__init__ = init  # type: ignore[method-assign,assignment]
    return kind


@settings
@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes. Two runs of equal configs give equal results."""

    gens: int = 50
    """Generations."""
    pop: int = 32
    """Population size, and candidates asked for in each generation."""
    space: str = "gpt2"
    """Search space: an entry-point name, or FILE.py:CLASS (kept with its absolute path: a run goes
    on from any folder)."""
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict, hash=False)
    """Options of the search space (`clso list options SPACE`) and of the task, by name; the rest
    have their defaults. A table in TOML. Those called `folder` and `checkpoint` are
    paths, and `crystals` may name files."""
    task: str = ""
    """Sequence task to search on, for a space that takes one; none: the text."""
    data: str = "python-stdlib"
    """Text: python-stdlib, text:PATH (kept with its absolute path, as every path here),
    wikitext-103 or wikitext-2."""
    tokenizer: str = "bpe:4096"
    """Tokenizer: bpe:N, gpt2 or bytes."""
    surrogate: str = "gp"
    """Screening estimator: an entry-point name, FILE.py:FUNCTION, or none."""
    objective: tuple[str, ...] = ()
    """What is searched for, by name: what the space measures, such as "loss", then costs that it
    offers, and "energy_j". None: the first that it measures. The first one named is measured."""
    limits: tuple[str, ...] = ()
    """Upper bounds on costs, as "NAME=NUMBER"."""
    asynchronous: bool = False
    """Steady state: each evaluation that comes makes room for another candidate, and no worker
    waits for the slowest. With several workers the order in which they finish decides, so that such
    a run cannot be repeated exactly; with one, or none, it can."""
    noise: bool = False
    """The objective is drawn anew at each measurement: a quarter of them are of the leader again,
    whose value is their mean."""
    warm_from: tuple[str, ...] = ()
    """Run folders of the same space to start from, kept with their absolute paths: their best
    genomes are measured first, and what they measured teaches the surrogate for as long as audits
    agree. The run keeps a copy of what it took from them."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    patience: int = 0
    """Stop after this many generations without a better loss; 0: never."""
    fitness_tokens: tuple[int, ...] = (2048,)
    """Tokens of the rungs, rising."""
    promote: bool = False
    """Go up the rungs while the search goes on (asynchronous successive halving): whoever is among
    the best quarter of a rung is measured on the next, and the search follows that. False: only the
    finalists are, at the end."""
    valid_tokens: int = 16384
    """Tokens of `valid` on which the winner is chosen. Its losses are then measured on all of
    `valid` and `test`."""
    finalists: int = 8
    """How many candidates of the top rung compete on the valid text."""
    energy: str = "auto"
    """Energy source: auto, nvml, nvml-sampled, rapl or null."""
    idle_s: float = 2.0
    """Seconds of idle measured before the run, for net energy; 0: gross only. Not spent if
    nothing is measured."""

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping) or any(
            type(v) not in _SCALARS for v in self.options.values()
        ):
            raise ConfigError("options are strings, numbers, true or false", got=self.options)
        if self.noise and (self.asynchronous or len(self.objective) > 1):
            raise ConfigError(
                "a noisy run goes by generations, for one objective",
                got={"asynchronous": self.asynchronous, "objective": list(self.objective)},
                remedy="Leave noise out.",
            )
        reasons = {
            "a noisy one measures its leader again instead": self.noise,
            "an asynchronous run has no generations": self.asynchronous,
            "there are several objectives": len(self.objective) > 1,
        }
        if self.promote and any(reasons.values()):
            raise ConfigError(
                "a search goes up rungs with one objective, a generation at a time",
                problem=next(reason for reason, holds in reasons.items() if holds),
                remedy="Leave promote out.",
            )
        for name in ("space", "surrogate"):
            object.__setattr__(self, name, absolute(getattr(self, name)))
        for name, value in {**self.options, **vars(self)}.items():
            if isinstance(value, str) and not _is_utf8(value):
                raise ConfigError(
                    f"{name} can be written as UTF-8",
                    got=value,
                    remedy="Rename the file or folder.",
                )
        for name, low in (
            ("gens", 1),
            ("pop", 2),
            ("finalists", 1),
            ("valid_tokens", 1),
            ("patience", 0),
            ("seed", 0),
        ):
            object.__setattr__(self, name, as_index(getattr(self, name), name, least=low))
        if not 0 <= self.idle_s < math.inf:
            raise ConfigError("idle_s is a number of seconds, at least 0", got=self.idle_s)
        rungs = self.fitness_tokens
        if not rungs or any(t < 1 for t in rungs) or list(rungs) != sorted(set(rungs)):
            raise ConfigError("fitness_tokens are positive and rising", got=list(rungs))
        self._make_paths_absolute()

    def _make_paths_absolute(self) -> None:
        """A run goes on from any folder."""
        if self.data.startswith("text:") and self.data != "text:":
            object.__setattr__(
                self, "data", f"text:{absolute_path(self.data.removeprefix('text:'))}"
            )
        object.__setattr__(self, "warm_from", tuple(map(absolute_path, self.warm_from)))
        paths = {name: self.options.get(name) for name in _PATHS}
        made = {k: absolute_path(v) for k, v in paths.items() if isinstance(v, str) and v}
        if isinstance(crystals := self.options.get("crystals"), str):
            made["crystals"] = ",".join(absolute(name.strip()) for name in crystals.split(","))
        object.__setattr__(self, "options", {**self.options, **made})

    def with_options(self, **options: Any) -> RunConfig:
        """A copy with the settings that are not None. `options` of the space join those that are
        set. Raises `ConfigError` for a value of the wrong type."""
        given = {k: v for k, v in options.items() if v is not None}
        if isinstance(own := given.get("options"), Mapping):
            given["options"] = {**self.options, **own}
        return replace(self, **given)

    def to_toml(self) -> str:
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if not values["options"]:
            del values["options"]
        return tomli_w.dumps(values)

    @classmethod
    def from_toml(cls, path: Path) -> RunConfig:
        """Read a recipe; the tables `prove` and `workers` are others'. Raises `ConfigError` naming
        the key at fault.

        What was a setting before it was an option of a space (`SPACE_SETTINGS`) is read as one,
        unless it has the default of then: so has the option, and a space without it refuses the
        others when it is built."""
        values = {k: v for k, v in read_toml(path).items() if k not in _TABLES}
        old = {k: values.pop(k) for k in SPACE_SETTINGS if k in values}
        given = {k: v for k, v in old.items() if not _is_default(k, v)}
        options = values.get("options", {})
        if given and isinstance(options, dict):
            if twice := given.keys() & options.keys():
                raise ConfigError(
                    "an option is set once",
                    got=min(twice),
                    remedy="Keep it in the table [options] only.",
                )
            values["options"] = {**options, **given}
        return cls(**values)


def _is_default(name: str, value: Any) -> bool:
    default = SPACE_SETTINGS[name]
    return type(value) is type(default) and value == default


def read_toml(path: Path) -> dict[str, Any]:
    """The values in a TOML file. Raises `ConfigError` if it cannot be read, or is none."""
    try:
        return parse_toml(read_regular(path).decode())
    except OSError as error:
        raise ConfigError(
            "a configuration is a file that can be read",
            problem=f"{path} cannot be ({error.strerror})",
        ) from error
    except ValueError as error:
        raise ConfigError("a configuration is TOML", problem=f"{path} is none ({error})") from error
