"""`shared-pg`: policy gradient (REINFORCE, Williams 1992) with one small network for all actions.

It sees of every action the facts that a controller of space `vsm` counts by, practises by the same curriculum, and so
works with any number of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from clso.baselines.control.play import Turn, play, streams
from clso.worlds.batched import Bools, Ints
from clso.worlds.draws import uniform_array
from clso.worlds.facts import N_BITS
from clso.worlds.practice import curriculum
from clso.worlds.problems import draw_problems

__all__ = ["SharedPolicy", "train_shared"]

_WIDTH = 32
_DISCOUNT = 0.95
_ENTROPY = 0.01


class SharedPolicy:
    """A softmax over the scores of all actions. It is drawn from, or with `greedy` the best action is taken."""

    def __init__(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(N_BITS, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, 1))
        self.greedy = False

    def act(self, turn: Turn) -> Ints:
        with torch.no_grad():
            scores = self.scores(turn.facts).numpy().astype(np.float64)
        if self.greedy:
            best: Ints = scores.argmax(axis=1)
            return best
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        sums = np.cumsum(weights, axis=1)
        draws = uniform_array(turn.episodes.stream, turn.episodes.step)
        drawn: Ints = (sums <= draws[:, None] * sums[:, -1:]).sum(axis=1)
        drawn = np.minimum(drawn, scores.shape[1] - 1)  # draw x sum may round to the sum
        return drawn

    def scores(self, facts: Ints) -> Tensor:
        """(B, A) logits of facts (B, A)."""
        bits = facts[:, :, None] >> np.arange(N_BITS) & 1
        out: Tensor = self.net(torch.from_numpy(bits.astype(np.float32))).squeeze(-1)
        return out


def train_shared(blocks: int, episodes: int, *, rate: float, batch: int, seed: int) -> SharedPolicy:
    """A policy after so many episodes of practice, `batch` of them between two steps of Adam."""
    policy = SharedPolicy(seed)
    optimizer = torch.optim.Adam(policy.net.parameters(), lr=rate)
    first = 0
    for n, count in curriculum(blocks, episodes):
        problems = draw_problems(n, count, "practice", seed)
        for start in range(0, count, batch):
            part = problems[start : start + batch]
            trace: list[tuple[Ints, Ints, Ints]] = []

            def remember(
                turn: Turn, actions: Ints, done: Bools, trace: list[tuple[Ints, Ints, Ints]] = trace
            ) -> None:
                trace.append((turn.at, turn.facts, actions))

            solved, steps = play(policy, part, streams(seed, first + start, len(part)), remember)
            _improve(policy, optimizer, trace, solved, steps)
        first += count
    return policy


def _improve(
    policy: SharedPolicy,
    optimizer: torch.optim.Optimizer,
    trace: Sequence[tuple[Ints, Ints, Ints]],
    solved: Bools,
    steps: Ints,
) -> None:
    """One step along the gradient of the discounted chance to solve."""
    at = np.concatenate([a for a, _, _ in trace])
    turn = np.concatenate([np.full(len(a), i) for i, (a, _, _) in enumerate(trace)])
    facts = np.concatenate([f for _, f, _ in trace])
    actions = torch.from_numpy(np.concatenate([a for _, _, a in trace]))
    returns = np.where(solved[at], _DISCOUNT ** (steps[at] - 1 - turn), 0.0)
    spread = float(returns.std())
    if spread == 0.0:
        return
    advantage = torch.from_numpy(((returns - returns.mean()) / spread).astype(np.float32))
    logs = torch.log_softmax(policy.scores(facts), dim=1)
    chosen = logs.gather(1, actions[:, None]).squeeze(1)
    entropy = -(logs.exp() * logs).sum(dim=1).mean()
    loss = -(advantage * chosen).mean() - _ENTROPY * entropy
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
