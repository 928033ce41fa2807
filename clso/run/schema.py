"""What readers count on in the files of a finished folder, stated once. Keys that nobody reads may
hold anything.

A check is a function of a value and its place, which raises `ValueError` if the value is of another
kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clso.errors import RunFolderError

__all__ = ["STATES", "check_manifest", "check_result", "check_row"]

Check = Callable[[Any, str], None]


def _kind(name: str, test: Callable[[Any], bool]) -> Check:
    def check(value: Any, at: str) -> None:
        if not test(value):
            shown = repr(value)
            raise ValueError(
                f"{at} is {name}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"
            )

    return check


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


_number = _kind("a finite number", _is_number)
_count = _kind(
    "a whole number that is not negative", lambda value: type(value) is int and 0 <= value < 2**63
)
_text = _kind("a text", lambda value: type(value) is str)
_flag = _kind("true or false", lambda value: type(value) is bool)
_plain = _kind(
    "a text or a number",
    lambda value: type(value) in (str, bool) or value is None or _is_number(value),
)
_genome = _kind(
    "a genome",
    lambda value: (
        type(value) is list
        and set(map(type, value)) == {int}
        and min(value) >= 0
        and max(value) < 2**63
    ),
)
_sized = _kind("a list or a table", lambda value: type(value) in (list, dict))


def _or_none(check: Check) -> Check:
    return lambda value, at: None if value is None else check(value, at)


def _list(check: Check) -> Check:
    def each(value: Any, at: str) -> None:
        _kind("a list", lambda v: type(v) is list)(value, at)
        for i, item in enumerate(value):
            check(item, f"{at}[{i}]")

    return each


def _by_name(check: Check, *required: str) -> Check:
    """Names that are not known before, with values of one kind."""

    def each(value: Any, at: str) -> None:
        _table(dict.fromkeys(required, check))(value, at)
        for key, item in value.items():
            check(item, f"{at}.{key}")

    return each


def _table(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    def each(value: Any, at: str) -> None:
        _kind("a table", lambda v: type(v) is dict)(value, at)
        for key, check in required.items():
            if key not in value:
                raise ValueError(f"{at} has {key}")
            check(value[key], f"{at}.{key}")
        for key, check in (optional or {}).items():
            if key in value:
                check(value[key], f"{at}.{key}")

    return each


_number_or_list = _kind(
    "a number or a list", lambda value: type(value) is list or _is_number(value)
)
_PHASES = _by_name(_or_none(_number), "total")
_ENERGY = _table({"source": _text, "gross": _PHASES, "net": _PHASES}, {"idle_w": _or_none(_number)})
_SCORES = {
    **dict.fromkeys(
        ("valid_loss", "test_loss", "fitness", "valid_accuracy", "test_accuracy", "chance"), _number
    ),
    "n_test_tokens": _count,
}
_COMMON: dict[str, Check] = {
    "best": _table({}, _SCORES),
    "energy_j": _or_none(_ENERGY),
    "energy_reason": _or_none(_text),
    "time_s": _by_name(_number, "total"),
    "seed": _count,
}
_AUDIT = _table(
    {
        "rank_correlation": _or_none(_number),
        "n": _count,
        "disabled": _flag,
        "reason": _or_none(_text),
    }
)
STATES = (
    "utilisation",
    "state_change",
    "routing_entropy",
    "routing_sparsity",
    "targets_used",
    "state_reading",
)
"""What a result says of the states of a Neural State Machine."""
_RUN = _table(
    {
        **_COMMON,
        "best": _table(
            {"genome": _genome, "alleles": _by_name(_plain)},
            {**_SCORES, "inactive": _list(_text), "values": _by_name(_number)},
        ),
        "counts": _by_name(_count, "evaluated", "screened_out", "cached", "generations"),
        "tokens_forward": _count,
        "surrogate": _table({"name": _text, "trusted": _flag, "audit": _AUDIT}),
        "space": _text,
    },
    {
        "library": _text,
        "failures": _list(_table({"n": _count, "reason": _text})),
        "log_vocabulary": _number,
        "optimum": _or_none(_number),
        "objectives": _list(_text),
        "directions": _list(_kind("min or max", lambda value: value in ("min", "max"))),
        "measure": _table({"name": _text, "direction": _text, "unit": _text}),
        "front": _list(_table({"genome": _genome, "values": _by_name(_number)})),
        "hypervolume": _number,
        "hypervolume_reference": _by_name(_number),
        "states": _table(dict.fromkeys(STATES, _list(_number_or_list))),
    },
)
_BASELINE = _table(
    {**_COMMON, "baseline": _text},
    {
        "by_lr": _or_none(_sized),
        **dict.fromkeys(("energy_of_winner_j", "time_of_winner_s"), _or_none(_number)),
    },
)
_MANIFEST = _table(
    {"hardware": _table({"device": _text}, {"gpu": _or_none(_table({"name": _text}))})},
    {
        "corpus": _or_none(_table({}, {"hash": _text})),
        "options": _by_name(_plain),
        "plugins": _by_name(_by_name(_text)),
    },
)
_ROWS: dict[str, Check] = {
    "evaluation": _table(
        {
            "generation": _or_none(_count),
            "genome": _genome,
            "values": _list(_number),
            "status": _kind(
                "ok, non_finite or failed", lambda v: v in ("ok", "non_finite", "failed")
            ),
            "n_tokens": _count,
        }
    ),
    "generation": _table(
        {
            "generation": _count,
            "best": _number,
            "population": _list(_number),
            "audits": _list(_list(_number)),
            "audit_correlation": _or_none(_number),
            "surrogate_trusted": _flag,
        },
        {"hypervolume": _number},
    ),
    "finalist": _table({"genome": _genome, "valid_loss": _or_none(_number)}),
}


def check_result(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """`value`, the result of a run or of a baseline read from `path`. Raises `RunFolderError`
    naming the value at fault."""
    is_baseline = "baseline" in value
    with _of(path):
        (_BASELINE if is_baseline else _RUN)(value, "it")
        best = value["best"]
        if "fitness" not in best and not {"valid_loss", "test_loss"} <= best.keys():
            raise ValueError("it.best has fitness, or valid_loss and test_loss")
        for name, part in value.items():
            if is_baseline and isinstance(part, dict) and "test_loss" in part:
                _table({}, _SCORES)(part, f"it.{name}")
        if not is_baseline:
            _check_run(value)
    return value


def _check_run(value: dict[str, Any]) -> None:
    n_genes, n_alleles = len(value["best"]["genome"]), len(value["best"]["alleles"])
    if n_genes != n_alleles:
        raise ValueError(f"it.best has as many alleles as genes, not {n_alleles} and {n_genes}")
    if "test_loss" in value["best"] and "log_vocabulary" not in value:
        raise ValueError("it has log_vocabulary")
    if "front" in value:
        names = value.get("objectives", [])
        if len(names) < 2 or "hypervolume" not in value or not value["front"]:
            raise ValueError("it has a front, objectives and a hypervolume")
        for i, member in enumerate(value["front"]):
            _table(dict.fromkeys(names, _number))(member["values"], f"it.front[{i}].values")


@contextmanager
def _of(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RunFolderError(
            f"{path} is of a finished run or baseline",
            problem=str(error),
            remedy="Give a folder that `clso evolve` or `clso baseline` finished.",
        ) from error


def check_manifest(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """`value`, a manifest read from `path`. Raises `RunFolderError` naming the value at fault."""
    with _of(path):
        _MANIFEST(value, "it")
    return value


def check_row(row: dict[str, Any]) -> None:
    """A row of records.jsonl. Raises `ValueError`. Rows of other types are nobody's business."""
    kind = row.get("type")
    _text(kind, "type")
    if check := _ROWS.get(str(kind)):
        check(row, str(kind))
