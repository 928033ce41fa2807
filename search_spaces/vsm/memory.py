"""What a controller has learned: counts, habits and a read-out; how it is written to disk and read back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clso.disk.files import read_regular, write_bytes
from clso.disk.parsing import parse_json
from clso.disk.tensors import load_checked, write_checked
from clso.errors import RunFolderError
from clso.search_spaces.vsm.choice import Floats
from clso.search_spaces.vsm.genes import Anatomy, stored_anatomy
from clso.search_spaces.vsm.s1 import CrystalReadOut, counted_scores, random_scores
from clso.search_spaces.vsm.s2 import HabitTable
from clso.search_spaces.vsm.s4 import model_of
from clso.worlds.batched import Bools, Ints
from clso.worlds.facts import LOCAL_BITS, N_BITS

__all__ = ["Memory"]

_FORMAT = 1
_MAX_WIDTH = 1 << 24
_COUNT = 1 << 31

_STORED: dict[str, tuple[str, str, tuple[int, ...], int]] = {
    "S1.weights": ("", "float32", (), 0),
    "S1.patterns": ("S1.patterns", "int32", (), 1 << N_BITS),
    "S1.offered": ("S1.patterns", "int32", (), _COUNT),
    "S1.chosen": ("S1.patterns", "int32", (), _COUNT),
    "S2.keys": ("S2.keys", "int64", (), 0),
    "S2.habits": ("S2.keys", "int64", (2,), 0),
    "S4.patterns": ("S4.patterns", "int32", (), 1 << LOCAL_BITS),
    "S4.tried": ("S4.patterns", "int32", (), _COUNT),
    "S4.changed": ("S4.patterns", "int32", (), _COUNT),
}
"""Of each tensor: the one that it shares its rows with (none: the width), its type, the shape of a row, and what its
values are 0 or more, and less than (0: any, such as hashes)."""


def _check_stored(stored: dict[str, np.ndarray[Any, Any]], width: int) -> None:
    """Raises `ValueError` for tensors that `Memory.tensors` does not give, `KeyError` for one that is missing."""
    for name, array in stored.items():
        rows, kind, row, limit = _STORED[name]
        n_rows = len(stored[rows]) if rows else width
        shape = (n_rows, *row)
        if array.dtype != kind or array.shape != shape:
            raise ValueError(f"{name} is {kind} {shape}, not {array.dtype} {array.shape}")
        if not np.isfinite(array).all() or (limit and not ((array >= 0) & (array < limit)).all()):
            raise ValueError(f"{name} has values that nothing was counted by")


def _zeros(bits: int) -> Ints:
    return np.zeros(1 << bits, dtype=np.int64)


@dataclass
class Memory:
    """All that practice changes of a controller. `seed` is of what is random in it and never learned."""

    anatomy: Anatomy
    seed: int
    width: int
    """Features of S1's read-out, if it has one."""
    offered: Ints = field(default_factory=lambda: _zeros(N_BITS))
    """How often each bit pattern was offered, in solved episodes with loops erased."""
    chosen: Ints = field(default_factory=lambda: _zeros(N_BITS))
    tried: Ints = field(default_factory=lambda: _zeros(LOCAL_BITS))
    """How often an action with each local pattern was done."""
    changed: Ints = field(default_factory=lambda: _zeros(LOCAL_BITS))
    read_out: CrystalReadOut | None = None
    habits: HabitTable = field(init=False)
    model: Bools = field(init=False)
    """(2^13,): S4's model, whether an action with a local pattern changes anything."""
    _scores: Floats = field(init=False)
    _known: Bools = field(init=False)

    def __post_init__(self) -> None:
        settings = self.anatomy
        if settings.s1 == "crystal" and self.read_out is None:
            self.read_out = CrystalReadOut(self.width, self.seed)
        self.habits = HabitTable(settings.s2_rows, settings.s2_support, settings.s2_confidence)
        self.compile()

    def compile(self) -> None:
        """Turn the counts into what decides."""
        self._known = np.ones(1 << N_BITS, dtype=np.bool_)
        if self.anatomy.s1 == "table":
            self._scores = counted_scores(self.chosen, self.offered, self.anatomy.s1_prior)
        elif self.anatomy.s1 == "random":
            self._scores = random_scores(self.seed, np.arange(1 << N_BITS))
        else:
            self._scores = np.ones(1 << N_BITS)
            self._known[:] = self.read_out is None
        self.model = model_of(self.changed, self.tried)
        self.habits.compile()

    def fit(self) -> None:
        """Fit the read-out to the counts, if there is one."""
        if self.read_out is not None:
            self.read_out.fit(self.chosen, self.offered)
            self._known[:] = False

    def scores(self, patterns: Ints) -> Floats:
        """S1's scores of patterns, of any shape."""
        if self.read_out is not None and not self._known[patterns].all():
            new = np.unique(patterns[~self._known[patterns]])
            self._scores[new] = self.read_out.scores(new)
            self._known[new] = True
        found: Floats = self._scores[patterns]
        return found

    def with_anatomy(self, anatomy: Anatomy) -> Memory:
        """A controller of another anatomy with what this one has learned, as far as it has a use for it."""
        other = Memory(anatomy, self.seed, self.width)
        other._restore(self.tensors())
        return other

    @property
    def parameters(self) -> dict[str, int]:
        """Stored numbers that influence a decision, by level: of a table two a cell in use, of a habit its key, block and
        target."""
        s1 = 2 * int((self.offered > 0).sum()) if self.anatomy.s1 == "table" else 0
        if self.read_out is not None:
            s1 = self.read_out.n_parameters
        s4 = 2 * int((self.tried > 0).sum()) if self.anatomy.depth else 0
        return {"S1": s1, "S2": 3 * len(self.habits.keys), "S3": 0, "S4": s4, "S5": 0, "purple": 0}

    def tensors(self) -> dict[str, np.ndarray[Any, Any]]:
        """What is stored, by level and name; cells that were never counted are left out."""
        out: dict[str, np.ndarray[Any, Any]] = {}
        if self.read_out is not None:
            out["S1.weights"] = self.read_out.weights.astype(np.float32)
        elif self.anatomy.s1 == "table":
            cells = np.flatnonzero(self.offered)
            out["S1.patterns"] = cells.astype(np.int32)
            out["S1.offered"] = self.offered[cells].astype(np.int32)
            out["S1.chosen"] = self.chosen[cells].astype(np.int32)
        if self.anatomy.habit_table:
            out["S2.keys"] = self.habits.keys.view(np.int64)
            out["S2.habits"] = self.habits.habits.view(np.int64)
        if self.anatomy.depth:
            cells = np.flatnonzero(self.tried)
            out["S4.patterns"] = cells.astype(np.int32)
            out["S4.tried"] = self.tried[cells].astype(np.int32)
            out["S4.changed"] = self.changed[cells].astype(np.int32)
        return {name: tensor for name, tensor in out.items() if tensor.size}

    def save(self, folder: Path) -> None:
        """Write the controller to a new folder: `controller.json` and `controller.safetensors`."""
        folder.mkdir(parents=True)
        settings = {
            "format": _FORMAT,
            "seed": self.seed,
            "width": self.width,
            "anatomy": asdict(self.anatomy),
        }
        write_bytes(folder / "controller.json", (json.dumps(settings, indent=1) + "\n").encode())
        tensors = {name: torch.from_numpy(array) for name, array in self.tensors().items()}
        write_checked(tensors, folder / "controller.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Memory:
        """What `save` wrote. Raises `RunFolderError` for anything else."""
        try:
            settings = parse_json(read_regular(folder / "controller.json"))
            if settings["format"] != _FORMAT:
                raise ValueError(f"format {settings['format']}")
            tensors = load_checked(folder / "controller.safetensors")
            seed, width = settings["seed"], settings["width"]
            if type(seed) is not int or not 0 <= seed < 1 << 64:
                raise ValueError(f"a seed is 64 bits, not {seed!r}")
            if type(width) is not int or not 0 <= width <= _MAX_WIDTH:
                raise ValueError(f"a width is 0 to {_MAX_WIDTH}, not {width!r}")
            stored = {name: tensor.numpy() for name, tensor in tensors.items()}
            _check_stored(stored, width)
            memory = cls(stored_anatomy(settings["anatomy"]), seed, width)
            memory._restore(stored)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RunFolderError(
                "a winner's folder holds a controller of this version",
                problem=f"{folder} cannot be read ({type(error).__name__}: {error})",
                remedy="Run the search again.",
            ) from error
        return memory

    def _restore(self, stored: dict[str, np.ndarray[Any, Any]]) -> None:
        if "S1.patterns" in stored:
            self.offered[stored["S1.patterns"]] = stored["S1.offered"]
            self.chosen[stored["S1.patterns"]] = stored["S1.chosen"]
        if "S4.patterns" in stored:
            self.tried[stored["S4.patterns"]] = stored["S4.tried"]
            self.changed[stored["S4.patterns"]] = stored["S4.changed"]
        if "S1.weights" in stored:
            weights = stored["S1.weights"].astype(np.float64)
            self.read_out = CrystalReadOut(self.width, self.seed, weights)
        self.compile()
        if "S2.keys" in stored:
            self.habits.keys = stored["S2.keys"].view(np.uint64)
            self.habits.habits = stored["S2.habits"].view(np.uint64)
