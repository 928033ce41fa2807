"""What a measurement returns. A prediction is another type, in `clso.screening.screener`, and has
no way in here."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clso.conversion import as_floats, as_index
from clso.errors import EvaluationError

__all__ = ["Evaluation", "Status"]

Status = Literal["ok", "non_finite", "failed"]

_STATUSES = get_args(Status)
_INT, _FLOAT = frozenset((int,)), frozenset((float,))


@dataclass(frozen=True)
class Evaluation:
    """One genome, measured at one fidelity.

    `values` are the objectives, all minimised (for a language model the first is the loss in nats
    per token). There are some, all finite, exactly if `status` is "ok": a NaN can never become
    best. `error` is a failure's traceback.

    Numbers of any library are taken, and kept as Python's own; an exception as `error` is kept as
    its traceback.

    Raises:
        EvaluationError: an allele or a count that is not whole, a value that is no number, another
        status.
    """

    genome: tuple[int, ...]
    fidelity: int
    values: tuple[float, ...]
    status: Status = "ok"
    n_tokens: int = 0
    error: str | None = None

    def __post_init__(self) -> None:
        self._make_plain()
        if self.status == "ok" and not (self.values and all(map(math.isfinite, self.values))):
            object.__setattr__(self, "status", "non_finite")
        if self.status != "ok":
            object.__setattr__(self, "values", ())

    def _make_plain(self) -> None:
        # Nearly all are plain already, and there are many.
        put = object.__setattr__
        if type(self.genome) is not tuple or not _INT.issuperset(map(type, self.genome)):
            alleles = [
                as_index(allele, "an allele of an evaluated genome", EvaluationError)
                for allele in self.genome
            ]
            put(self, "genome", tuple(alleles))
        if type(self.values) is not tuple or not _FLOAT.issuperset(map(type, self.values)):
            put(
                self,
                "values",
                as_floats(self.values, "the values of an evaluation", EvaluationError),
            )
        if type(self.fidelity) is not int or type(self.n_tokens) is not int:
            put(
                self,
                "fidelity",
                as_index(self.fidelity, "the rung of an evaluation", EvaluationError),
            )
            put(
                self,
                "n_tokens",
                as_index(self.n_tokens, "the tokens of an evaluation", EvaluationError),
            )
        if self.status not in _STATUSES:
            raise EvaluationError(
                f"the status of an evaluation is one of {', '.join(_STATUSES)}", got=self.status
            )
        if self.error is not None and type(self.error) is not str:
            error: object = self.error
            text = (
                traceback.format_exception(error)
                if isinstance(error, BaseException)
                else [str(error)]
            )
            put(self, "error", "".join(text))

    @classmethod
    def measured(
        cls, genome: tuple[int, ...], fidelity: int, values: tuple[float, ...], n_tokens: int
    ) -> Evaluation:
        """An evaluation whose status follows from its values."""
        return cls(genome, fidelity, values, n_tokens=n_tokens)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def value(self) -> float:
        """The first objective; infinite if the evaluation failed, so that it never wins a
        comparison."""
        return self.values[0] if self.ok else math.inf

    @property
    def reason(self) -> str:
        """Why it has no values, in one line; "" if it has."""
        if self.ok:
            return ""
        lines = [line.strip() for line in (self.error or "").splitlines() if line.strip()]
        if lines:
            return lines[-1]
        return "failed" if self.status == "failed" else "the value is infinite or not a number"

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "genome": list(self.genome),
            "fidelity": self.fidelity,
            "values": list(self.values),
            "status": self.status,
            "n_tokens": self.n_tokens,
        }
        return out if self.error is None else {**out, "error": self.error}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Evaluation:
        return cls(
            genome=tuple(int(a) for a in row["genome"]),
            fidelity=int(row["fidelity"]),
            values=tuple(float(v) for v in row["values"]),
            status=row["status"],
            n_tokens=int(row["n_tokens"]),
            error=row.get("error"),
        )
