"""What a measurement returns. A prediction is another type, in `clso.screening`, and has no way in here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Evaluation", "Status"]

Status = Literal["ok", "non_finite", "failed"]


@dataclass(frozen=True)
class Evaluation:
    """One genome, measured at one fidelity.

    `values` are the objectives, all minimised (for a language model the first is the loss in nats per token). There are
    some, all finite, exactly where `status` is "ok": a NaN can never become best. `error` is a failure's traceback.
    """

    genome: tuple[int, ...]
    fidelity: int
    values: tuple[float, ...]
    status: Status = "ok"
    n_tokens: int = 0
    error: str | None = None

    def __post_init__(self) -> None:
        if self.status == "ok" and not (self.values and all(map(math.isfinite, self.values))):
            object.__setattr__(self, "status", "non_finite")
        if self.status != "ok":
            object.__setattr__(self, "values", ())

    @classmethod
    def measured(cls, genome: tuple[int, ...], fidelity: int, values: tuple[float, ...], n_tokens: int) -> Evaluation:
        """An evaluation whose status follows from its values."""
        return cls(genome, fidelity, values, n_tokens=n_tokens)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def value(self) -> float:
        """The first objective; infinite where the evaluation failed, so that it never wins a comparison."""
        return self.values[0] if self.ok else math.inf

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
