"""What readers count on in the files of a finished folder, stated once (`clso.disk.shape`). Keys that nobody reads may
hold anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clso.disk import shape
from clso.errors import RunFolderError

__all__ = ["STATES", "check_manifest", "check_result", "check_row"]

_genome = shape.kind(
    "a genome",
    lambda value: (
        type(value) is list
        and set(map(type, value)) == {int}
        and min(value) >= 0
        and max(value) < 2**63
    ),
)
_sized = shape.kind("a list or a table", lambda value: type(value) in (list, dict))
_number_or_list = shape.kind(
    "a number or a list", lambda value: type(value) is list or shape.is_number(value)
)
_PHASES = shape.by_name(shape.or_none(shape.number), "total")
_ENERGY = shape.table(
    {"source": shape.text, "gross": _PHASES, "net": _PHASES},
    {"idle_w": shape.or_none(shape.number)},
)
_SCORES = {
    **dict.fromkeys(
        ("valid_loss", "test_loss", "fitness", "valid_accuracy", "test_accuracy", "chance"),
        shape.number,
    ),
    "n_test_tokens": shape.count,
}
_COMMON: dict[str, shape.Check] = {
    "best": shape.table({}, _SCORES),
    "energy_j": shape.or_none(_ENERGY),
    "energy_reason": shape.or_none(shape.text),
    "time_s": shape.by_name(shape.number, "total"),
    "seed": shape.count,
}
_AUDIT = shape.table(
    {
        "rank_correlation": shape.or_none(shape.number),
        "n": shape.count,
        "disabled": shape.flag,
        "reason": shape.or_none(shape.text),
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
_RUN = shape.table(
    {
        **_COMMON,
        "best": shape.table(
            {"genome": _genome, "alleles": shape.by_name(shape.plain)},
            {
                **_SCORES,
                "inactive": shape.list_of(shape.text),
                "values": shape.by_name(shape.number),
            },
        ),
        "counts": shape.by_name(shape.count, "evaluated", "screened_out", "cached", "generations"),
        "tokens_forward": shape.count,
        "surrogate": shape.table({"name": shape.text, "trusted": shape.flag, "audit": _AUDIT}),
        "space": shape.text,
    },
    {
        "library": shape.text,
        "failures": shape.list_of(shape.table({"n": shape.count, "reason": shape.text})),
        "log_vocabulary": shape.number,
        "optimum": shape.or_none(shape.number),
        "objectives": shape.list_of(shape.text),
        "directions": shape.list_of(
            shape.kind("min or max", lambda value: value in ("min", "max"))
        ),
        "measure": shape.table({"name": shape.text, "direction": shape.text, "unit": shape.text}),
        "front": shape.list_of(
            shape.table({"genome": _genome, "values": shape.by_name(shape.number)})
        ),
        "hypervolume": shape.number,
        "hypervolume_reference": shape.by_name(shape.number),
        "states": shape.table(dict.fromkeys(STATES, shape.list_of(_number_or_list))),
    },
)
_BASELINE = shape.table(
    {**_COMMON, "baseline": shape.text},
    {
        "by_lr": shape.or_none(_sized),
        **dict.fromkeys(("energy_of_winner_j", "time_of_winner_s"), shape.or_none(shape.number)),
    },
)
_MANIFEST = shape.table(
    {
        "hardware": shape.table(
            {"device": shape.text}, {"gpu": shape.or_none(shape.table({"name": shape.text}))}
        )
    },
    {
        "corpus": shape.or_none(shape.table({}, {"hash": shape.text})),
        "options": shape.by_name(shape.plain),
        "plugins": shape.by_name(shape.by_name(shape.text)),
    },
)
_ROWS: dict[str, shape.Check] = {
    "evaluation": shape.table(
        {
            "generation": shape.or_none(shape.count),
            "genome": _genome,
            "values": shape.list_of(shape.number),
            "status": shape.kind(
                "ok, non_finite or failed", lambda v: v in ("ok", "non_finite", "failed")
            ),
            "n_tokens": shape.count,
        }
    ),
    "generation": shape.table(
        {
            "generation": shape.count,
            "best": shape.number,
            "population": shape.list_of(shape.number),
            "audits": shape.list_of(shape.list_of(shape.number)),
            "audit_correlation": shape.or_none(shape.number),
            "surrogate_trusted": shape.flag,
        },
        {"hypervolume": shape.number},
    ),
    "finalist": shape.table({"genome": _genome, "valid_loss": shape.or_none(shape.number)}),
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
                shape.table({}, _SCORES)(part, f"it.{name}")
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
            shape.table(dict.fromkeys(names, shape.number))(
                member["values"], f"it.front[{i}].values"
            )


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
    shape.text(kind, "type")
    if check := _ROWS.get(str(kind)):
        check(row, str(kind))
