"""ListOps (Nangia & Bowman 2018, arXiv:1804.06028) in the Long Range Arena's grammar (Tay et al.
2020, arXiv:2011.04006).

    [MAX 2 9 [MIN 4 7 ] 0 ]  ->  9

A node above the greatest depth is an operator with probability 1/4, else a digit; an operator (MAX,
MIN, MED, SM: equally likely) has 2 to `max_args` arguments. A sequence is kept if its length
lies strictly between the limits. MED is the median, the mean of the middle two rounded down; SM is
the sum modulo 10. Brackets are tokens; the parentheses of the Arena's files only group arguments by
twos, and are left out as its own reader leaves them out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, DataError
from clso.tasks.base import Tokens
from clso.tasks.generated import GeneratedOptions, GeneratedTask

__all__ = ["OPERATORS", "TOKENS", "ListOps", "ListOpsLRA", "ListOpsOptions", "evaluate"]

OPERATORS = ("[MAX", "[MIN", "[MED", "[SM")
_END = "]"
TOKENS = ("<pad>", *"0123456789", *OPERATORS, _END)
_DIGITS = {str(digit): digit for digit in range(10)}
_OPERATORS = frozenset(OPERATORS)
_ID = {token: i for i, token in enumerate(TOKENS)}
_FIRST_OPERATOR = _ID[OPERATORS[0]]
_OPERATOR_SHARE = 0.25
_MOST_TRIES = 200_000


@dataclass(frozen=True)
class ListOpsOptions(GeneratedOptions):
    """Short sequences, for a CPU. Limits of length are exclusive, as in the Arena's generator."""

    max_depth: int = 4
    """Lists are nested no deeper."""
    max_args: int = 5
    """Most arguments of an operator."""
    min_length: int = 10
    """Sequences are longer than this."""
    max_length: int = 65
    """Sequences are shorter than this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("max_depth", 1)
        self.at_least("max_args", 2)
        self.at_least("min_length", 0)
        self.at_least("max_length", self.min_length + 2)


@dataclass(frozen=True)
class _LRAOptions(ListOpsOptions):
    """The Arena's defaults."""

    n_train: int = 96_000
    n_valid: int = 2_000
    n_test: int = 2_000
    max_depth: int = 10
    max_args: int = 10
    min_length: int = 500
    max_length: int = 2000


class ListOps(GeneratedTask):
    """The value, 0 to 9, of a nested list of operators and digits."""

    name = "listops"
    Options: ClassVar[type] = ListOpsOptions
    n_classes = 10
    lengths = ("min_length", "max_length", "max_args")  # longer lists, no deeper ones
    options: ListOpsOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return TOKENS

    @property
    def n_positions(self) -> int:
        return self.options.max_length - 1

    def token_features(self, tokens: Tokens) -> dict[str, npt.NDArray[np.float64]]:
        """How many brackets are open at each token, its own included, and its position."""
        opened = (tokens >= _FIRST_OPERATOR) & (tokens < _ID[_END])
        closed = np.concatenate(([False], tokens[:-1] == _ID[_END]))
        depth = np.cumsum(opened.astype(np.float64) - closed)
        return {"depth": depth, **super().token_features(tokens)}

    def alike(self, tokens: Tokens, rng: random.Random) -> Tokens:
        """Every digit replaced by another: the structure stays, the value may not."""
        order = list(range(1, 11))
        rng.shuffle(order)
        names = np.array([0, *order, *range(11, len(TOKENS))], np.uint16)
        return names[tokens]

    def answer(self, tokens: Tokens) -> int:
        """The value; -1 of what is no expression."""
        try:
            return evaluate([TOKENS[t] for t in tokens])
        except DataError:
            return -1

    def _draw(self, rng: random.Random) -> tuple[list[int], int]:
        o = self.options
        for _ in range(_MOST_TRIES):
            tokens: list[int] = []
            value = _grow(rng, 1, o, tokens)
            if o.min_length < len(tokens) < o.max_length:
                return tokens, value
        raise ConfigError(
            "the grammar makes sequences between the limits of length", got=o, remedy="Widen them."
        )


class ListOpsLRA(ListOps):
    """ListOps at the Long Range Arena's size: 96,000 sequences of 501 to 1,999 tokens."""

    name = "listops-lra"
    Options: ClassVar[type] = _LRAOptions


def _grow(rng: random.Random, depth: int, options: ListOpsOptions, out: list[int]) -> int:
    """Append a random subtree to `out`; its value. Stops early, with any value, if the sequence
    is too long anyway."""
    if depth >= options.max_depth or rng.random() >= _OPERATOR_SHARE:
        digit = rng.randrange(10)
        out.append(1 + digit)
        return digit
    kind = rng.randrange(len(OPERATORS))
    out.append(_FIRST_OPERATOR + kind)
    values = []
    for _ in range(rng.randint(2, options.max_args)):
        values.append(_grow(rng, depth + 1, options, out))
        if len(out) >= options.max_length:
            return 0
    out.append(_ID[_END])
    if kind == 2:
        values.sort()
        return (values[(len(values) - 1) // 2] + values[len(values) // 2]) // 2
    return (max, min, None, _sum_mod_10)[kind](values)  # type: ignore[misc]


def _sum_mod_10(values: Sequence[int]) -> int:
    return sum(values) % 10


def evaluate(tokens: Sequence[str]) -> int:
    """The value of an expression, by a stack, with nothing of the generator's code.

    Raises `DataError` if it is no well-formed expression.
    """
    values: list[int] = []
    open_brackets: list[tuple[str, int]] = []  # operator, values before it
    for token in tokens:
        digit = _DIGITS.get(token)
        if digit is not None:
            values.append(digit)
        elif token in _OPERATORS:
            open_brackets.append((token, len(values)))
        elif token == _END and open_brackets and len(values) > open_brackets[-1][1]:
            operator, start = open_brackets.pop()
            values[start:] = [_apply(operator, values[start:])]
        else:
            raise DataError(
                "a ListOps expression holds digits, [MAX, [MIN, [MED, [SM and ]", got=token
            )
    if open_brackets or len(values) != 1:
        raise DataError("a ListOps expression is one value, every bracket closed", got=tokens[:40])
    return values[0]


def _apply(operator: str, values: list[int]) -> int:
    if operator == "[MAX":
        return max(values)
    if operator == "[MIN":
        return min(values)
    if operator == "[SM":
        return sum(values) % 10
    while len(values) > 2:
        values.remove(max(values))
        values.remove(min(values))
    return sum(values) // len(values)
