"""What every piece of work of a proof has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clso.config import RunConfig
from clso.data import Corpus
from clso.energy import EnergyMeter

__all__ = ["ProofContext"]


@dataclass(frozen=True)
class ProofContext:
    """Text, device and energy source of one proof; both sides get the same."""

    config: RunConfig
    """CLSO's run, and the text and model sizes of all."""
    corpus: Corpus
    """All splits; `test` is read from it outside windows only."""
    host: Corpus
    """What measured runs read: all but `test`, in memory."""
    device: str
    work: Path
    """A folder for what does not outlive the proof."""
    meter: EnergyMeter
    open_meter: Callable[[], EnergyMeter]
    """Another meter on the same source, for one whose windows are its own."""
