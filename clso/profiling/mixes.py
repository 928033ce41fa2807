"""Mixes of document lengths: what a batch of texts looks like to a model.

    choice:512,1024,2048,4096    each as often
    uniform:128-4096             all between, both ends included
    lognormal:MU,SIGMA,MAX       exp of a normal, in tokens, cut off at MAX
    text:PATH                    documents of a text, in bytes

A batch holds the mix's quantiles at (i + 1/2) / n, so that it stands for the mix at any size, and its order is drawn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from clso.errors import ConfigError, DataError, did_you_mean

__all__ = ["Mix", "parse_mix"]

_FORMS = ("choice:N,N,...", "uniform:LOW-HIGH", "lognormal:MU,SIGMA,MAX", "text:PATH")


@dataclass(frozen=True)
class Mix:
    """`quantile` takes a share below 1 to a length in tokens; no document is over `longest`."""

    text: str
    longest: int
    quantile: Callable[[float], int]

    def lengths(self, n_documents: int, seed: int) -> list[int]:
        """Of a batch; the order follows from `seed`."""
        found = [self.quantile((i + 0.5) / n_documents) for i in range(n_documents)]
        random.Random(seed).shuffle(found)
        return found


def parse_mix(text: str) -> Mix:
    """Raises `ConfigError` for an unknown kind, or numbers that make no mix, `DataError` for a text without documents."""
    kind, _, rest = text.partition(":")
    kinds = {form.partition(":")[0]: form for form in _FORMS}
    if kind not in kinds:
        raise ConfigError(
            f"a mix is {' | '.join(_FORMS)}",
            got=text,
            remedy=did_you_mean(kind, kinds),
        )
    if kind == "text":
        return _of(text, _text_lengths(rest))
    try:
        if kind == "choice":
            return _of(text, [int(part) for part in rest.split(",")])
        if kind == "uniform":
            low, high = (int(part) for part in rest.split("-"))
            return _uniform(text, low, high)
        mu, sigma, most = rest.split(",")
        return _lognormal(text, float(mu), float(sigma), int(most))
    except ValueError:
        raise ConfigError(f"the mix {kind} is written {kinds[kind]}", got=text) from None


def _of(text: str, lengths: list[int]) -> Mix:
    _at_least_one(text, min(lengths))
    ordered = sorted(lengths)
    return Mix(text, ordered[-1], lambda share: ordered[int(share * len(ordered))])


def _uniform(text: str, low: int, high: int) -> Mix:
    _at_least_one(text, low)
    if low > high:
        raise ConfigError(
            "a uniform mix is LOW-HIGH", got=text, remedy=f"Did you mean 'uniform:{high}-{low}'?"
        )
    return Mix(text, high, lambda share: low + int(share * (high - low + 1)))


def _lognormal(text: str, mu: float, sigma: float, most: int) -> Mix:
    _at_least_one(text, most)
    if not (math.isfinite(mu) and 0 < sigma < math.inf):
        raise ConfigError("a lognormal mix has a finite MU and a SIGMA above 0", got=text)
    normal = NormalDist(mu, sigma)
    most_log = math.log(most)
    return Mix(
        text, most, lambda share: max(1, round(math.exp(min(normal.inv_cdf(share), most_log))))
    )


def _at_least_one(text: str, least: int) -> None:
    if least < 1:
        raise ConfigError("documents of a mix have at least 1 token", problem=f"{text} has {least}")


def _text_lengths(path: str) -> list[int]:
    from clso.data.documents import split_file
    from clso.data.sources import read_source

    files = read_source(f"text:{path}", lambda _: None).files
    documents = [
        document
        for file in files
        for document in (split_file(file) if len(files) == 1 else [file.data])
    ]
    lengths = [len(document) for document in documents if len(document)]
    if not lengths:
        raise DataError("a mix of a text's documents has one at least", got=path)
    return lengths
