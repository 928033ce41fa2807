"""The asynchronous search: another candidate takes the place of every evaluation that comes, bred
from all that came before.

Nobody waits for the slowest. Candidates are bred `pop` at a time, and evaluations told when that is
due, together: telling one costs as much as telling many. A generation is as many evaluations as one
proposal of `pop` candidates had chosen, so that a run of `gens` generations measures as many as a
generational one, and its record reads the same.

What it promises: with one worker, or none, evaluations come in the order of submission, so that
equal seeds give equal runs, interrupted or not. With several, the order in which they finish
decides what is bred next: two runs differ, by the same rules."""

from __future__ import annotations

from collections import deque
from typing import Any

from clso.errors import EvaluationError
from clso.search.generations import Round, Search, audits, expected
from clso.space import Genome
from clso.space.results import Evaluation

__all__ = ["SteadySearch"]


class SteadySearch(Search):
    """Keeps `evaluator.capacity` candidates out, until `gens` proposals are measured."""

    _n_generations = 0
    _n_out = 0  # submitted and not yet counted
    _dry = False  # the space has no more candidates

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # of candidates and of those chosen, in the order of asking
        self._proposals: deque[tuple[int, int]] = deque()
        self._waiting: deque[Genome] = deque()  # chosen and not yet to be measured
        self._ready: list[Genome] = []  # out, and submitted with the next wait, or `pop` together
        self._arrived: deque[Evaluation] = deque()  # and not yet counted
        self._untold: list[Evaluation] = []
        self._predicted: dict[Genome, float] = {}  # of audits that are out

    @property
    def n_generations(self) -> int:
        return self._n_generations

    def generation(self) -> list[dict[str, Any]]:
        rows = super().generation()
        if self.done:  # before its time, maybe: what is out was paid for
            self._waiting.clear()
            rest = [self._next() for _ in range(self._n_out)]
            self._tell()
            self.evaluations += rest
            self.tokens_forward += sum(e.n_tokens for e in rest)
            rows += [
                {"type": "evaluation", "generation": self.n_generations, **e.to_json()}
                for e in rest
            ]
        return rows

    def _measure(self) -> Round | None:
        self._fill()
        if not self._proposals:
            return None
        n_candidates, n_chosen = self._proposals[0]
        measured = []
        for _ in range(n_chosen):
            measured.append(self._next())
            self._fill()  # after each, so that it does not matter how many came at a time
        self._tell()
        self._proposals.popleft()
        self._n_generations += 1
        found = audits(self._predicted, measured)
        for evaluation in measured:
            self._predicted.pop(evaluation.genome, None)
        return Round(measured, n_candidates, found)

    def _fill(self) -> None:
        """Let as many be out as the evaluator takes."""
        while self._n_out < self.evaluator.capacity and (self._waiting or self._propose()):
            self._ready.append(self._waiting.popleft())
            self._n_out += 1
            if len(self._ready) == self.config.pop:  # workers begin while more are bred
                self._submit()

    def _submit(self) -> None:
        ready, self._ready = self._ready, []
        if ready:
            self.evaluator.submit(ready, 0)

    def _propose(self) -> bool:
        """Choose more candidates; False if there are to be no more."""
        if self._dry or self._n_generations + len(self._proposals) >= self.config.gens:
            return False
        self._tell()
        self._begin(self._n_generations + len(self._proposals))
        candidates, screening = self.optimizer.propose(self.config.pop)
        self._dry = not candidates
        if candidates:
            self._proposals.append((len(candidates), len(screening.chosen)))
            self._predicted |= expected(screening)
            self._waiting += [candidates[i] for i in screening.chosen]
        return not self._dry

    def _next(self) -> Evaluation:
        """The next evaluation."""
        if not self._arrived:
            self._submit()
            self._arrived += self.evaluator.completed()
        if not self._arrived:
            raise EvaluationError(
                "every genome is answered with an evaluation",
                problem=f"the evaluator owes {self._n_out} of them",
            )
        evaluation = self._arrived.popleft()
        self._untold.append(evaluation)
        self._n_out -= 1
        return evaluation

    def _tell(self) -> None:
        if self._untold:
            self.optimizer.tell(self._untold)
            self._untold = []

    def state_dict(self) -> dict[str, Any]:
        predicted = [[list(genome), value] for genome, value in self._predicted.items()]
        steady = {
            "n": self._n_generations,
            "proposals": list(self._proposals),
            "dry": self._dry,
            "predicted": predicted,
        }
        return {**super().state_dict(), "steady": steady}

    def _load(self, state: dict[str, Any]) -> None:
        super()._load(state)
        steady = state["steady"]
        self._n_generations, self._dry = int(steady["n"]), bool(steady["dry"])
        self._proposals.extend((int(n), int(chosen)) for n, chosen in steady["proposals"])
        self._predicted = {
            self.space.validate(genome): float(value) for genome, value in steady["predicted"]
        }
        # those that were out are measured again: nobody was told of them
        self._waiting.extend(self.optimizer.pending)
