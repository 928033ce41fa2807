"""Position patterns: where a head looks, written into true GPT-2 position, query and key weights.

Two circles of position codes, a slow one (half a turn over the context) and a fast one (16
positions a turn), make every score  amp_slow cos(w_slow (t - s) + phase_slow) + amp_fast cos(w_fast
(t - s) + phase_fast)  a query-key product. Aligned on a distance k they are sharply peaked there (a
previous-token head); the slow circle alone, turned by a phase, falls with the distance (a decaying
average). The fast circle keeps the amplitudes near 160, where the slow one alone would need 40,000
to tell neighbours apart, so that patterns survive low-precision arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["N_POSITION_DIMS", "PositionPattern", "decaying", "lag", "position_codes"]

N_POSITION_DIMS = 4
_FAST_TURN = 16  # positions a turn of the fast circle
_PEAK = 12.0  # logits between the wanted distance and its best rival: e^-12 of the attention leaks
_PHASE = math.pi / 3  # of a decaying pattern: the slow circle falls over two thirds of the context


def _speeds(n_positions: int) -> tuple[float, float]:
    return math.pi / n_positions, 2 * math.pi / _FAST_TURN


def position_codes(n_positions: int) -> Tensor:
    """Unit codes on both circles: (n_positions, 4)."""
    t = torch.arange(n_positions, dtype=torch.float64)
    slow, fast = _speeds(n_positions)
    return torch.stack(
        [torch.cos(slow * t), torch.sin(slow * t), torch.cos(fast * t), torch.sin(fast * t)], 1
    )


@dataclass(frozen=True)
class PositionPattern:
    """Scores amp_c cos(speed_c (t - s) + phase_c), summed over the slow and the fast circle."""

    name: str
    amps: tuple[float, float]
    phases: tuple[float, float]
    n_positions: int

    def query(self) -> Tensor:
        """Matrix (4, 4) that turns a position code into the query whose product with a key's code
        is the score."""
        out = torch.zeros(4, 4, dtype=torch.float64)
        for c, (amp, phase) in enumerate(zip(self.amps, self.phases, strict=True)):
            cos, sin = amp * math.cos(phase), amp * math.sin(phase)
            # cos(a + phase) cos b + sin(a + phase) sin b, from the code (cos a, sin a)
            out[2 * c : 2 * c + 2, 2 * c : 2 * c + 2] = torch.tensor(
                [[cos, -sin], [sin, cos]], dtype=torch.float64
            )
        return out

    def weights(self, n: int | None = None) -> Tensor:
        """Causal attention weights (n, n), rows sum to one: what the head does to any text."""
        n = self.n_positions if n is None else n
        distance = np.subtract.outer(np.arange(n), np.arange(n))
        scores = np.where(distance >= 0, self._scores(n)[np.abs(distance)], -np.inf)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        return torch.from_numpy(weights / weights.sum(1, keepdims=True)).float()

    def reach(self, leak: float) -> int:
        """How many of the latest tokens, the current one among them, get all but a share `leak` of the
        attention, wherever in the context."""
        scores = self._scores(self.n_positions)
        within = np.cumsum(np.exp(scores - scores.max()))
        # more is left out the more there is: most at the last position
        return 1 + int(np.searchsorted(within, (1 - leak) * within[-1]))

    def _scores(self, n: int) -> np.ndarray[Any, Any]:
        """Of keys at the distances below `n`."""
        waves = zip(self.amps, self.phases, _speeds(self.n_positions), strict=True)
        at = np.arange(n)
        scores = np.zeros(n)
        for amp, phase, speed in waves:
            scores += amp * np.cos(speed * at + phase)
        return scores


def lag(k: int, n_positions: int, peak: float = _PEAK) -> PositionPattern:
    """Attend to the token `k` back; e^-`peak` of that goes to each rival. The first `k` positions attend to whatever is
    nearest."""
    slow, fast = _speeds(n_positions)
    # Rivals: the neighbours, told apart by the fast circle, and the fast circle's next turn, told
    # apart by the slow one; a short context ends before that.
    fast_amp = peak / (1 - math.cos(fast))
    has_next_turn = n_positions > _FAST_TURN
    slow_amp = peak / (1 - math.cos(slow * _FAST_TURN)) if has_next_turn else 0.0
    return PositionPattern(f"lag-{k}", (slow_amp, fast_amp), (-slow * k, -fast * k), n_positions)


def decaying(tau: float, n_positions: int) -> PositionPattern:
    """A decaying average: weights fall by e over `tau` positions near the current one, which is
    included."""
    slow, _ = _speeds(n_positions)
    return PositionPattern(
        f"decay-{tau:g}", (1 / (tau * slow * math.sin(_PHASE)), 0.0), (_PHASE, 0.0), n_positions
    )
