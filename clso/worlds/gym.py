"""Blocks World as a gymnasium environment: `BlocksEnv`. Needs the extra `rl`.

An observation is what stands on what, now and in the goal: 2 n numbers, 0 to n - 1 for a block and n for the table.
Action b (n + 1) + t puts block b on block t, or on the table with t = n. A step costs 1; the goal ends an
episode and pays 4 n, so that solving is always worth it.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, MissingDependencyError
from clso.worlds.batched import action_move, n_actions
from clso.worlds.blocks import State, check_blocks, is_legal, move, step_limit
from clso.worlds.practice import curriculum
from clso.worlds.problems import SPLITS, Problem, draw_problem

try:
    import gymnasium
except ImportError as error:
    raise MissingDependencyError(
        "BlocksEnv needs gymnasium", got=error.name, remedy="Run: pip install 'clso[rl]'"
    ) from error

__all__ = ["BlocksEnv"]

Observation = npt.NDArray[np.int64]


class BlocksEnv(gymnasium.Env):  # type: ignore[misc]
    """One problem an episode, drawn from a split.

    >>> env = BlocksEnv(blocks=3)
    >>> observation, info = env.reset(seed=0)
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, blocks: int = 5, split: str = "practice", episodes: int = 0) -> None:
        """With `episodes`, problems rise from three blocks to `blocks` as in practice over so many; the spaces
        are those of `blocks`, and blocks that are not there yet stand on the table in their final position.

        Raises `DataError` for a number of blocks, `ConfigError` for a split, that there is not.
        """
        self.n_blocks = check_blocks(blocks)
        if split not in SPLITS:
            raise ConfigError(
                "an unknown split of problems", got=split, remedy=f"{', '.join(SPLITS)}."
            )
        self._split = split
        self._stages = curriculum(blocks, episodes) if episodes else []
        self._episode = 0
        n = blocks
        self.observation_space = gymnasium.spaces.MultiDiscrete([n + 1] * 2 * n)
        self.action_space = gymnasium.spaces.Discrete(n_actions(n))
        self._state: State = (-1,) * n
        self._goal: State = (-1,) * n
        self._steps = self._limit = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """The next episode. `options["problem"]`, a `Problem` of `blocks` blocks, sets it."""
        super().reset(seed=seed)
        problem: Problem | None = (options or {}).get("problem")
        if problem is None:
            rng = random.Random(int(self.np_random.integers(1 << 62)))
            problem = draw_problem(self._size(), self._split, rng)
        absent = (-1,) * (self.n_blocks - problem.n_blocks)
        self._state, self._goal = problem.start + absent, problem.goal + absent
        self._steps, self._limit = 0, step_limit(problem.n_blocks)
        self._episode += 1
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Put a block somewhere; an illegal action changes nothing and costs a step."""
        self._state = move(self._state, *action_move(int(action), self.n_blocks))
        self._steps += 1
        solved = self._state == self._goal
        reward = float(step_limit(self.n_blocks) if solved else -1)
        return self._observation(), reward, solved, not solved and self._steps >= self._limit, {}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(A,): the legal actions, for algorithms that are told them."""
        n = self.n_blocks
        moves = (action_move(action, n) for action in range(n_actions(n)))
        return np.array([is_legal(self._state, *chosen) for chosen in moves])

    def _size(self) -> int:
        first = 0
        for size, count in self._stages:
            first += count
            if self._episode < first:
                return size
        return self.n_blocks

    def _observation(self) -> Observation:
        n = self.n_blocks
        both = (*self._state, *self._goal)
        return np.array([n if t < 0 else t for t in both], dtype=np.int64)
