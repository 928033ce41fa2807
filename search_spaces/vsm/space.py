"""The search space: a genome is a controller's anatomy, measured by a lifetime of practice and exams.

Fitness is 1 - SPL. The first rung is one life, examined on the split `exam`; the second is two, on `valid`. The winner is
raised once more, saved, read back and measured on `test`, which no selection has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from clso.energy import open_meter
from clso.errors import ConfigError
from clso.search_spaces.vsm.costs import COST_NAMES, bounds
from clso.search_spaces.vsm.exam import examined, joules, sizes_table, speed
from clso.search_spaces.vsm.genes import DEFAULT, GENES, Anatomy, anatomy, genome_of
from clso.search_spaces.vsm.lifetime import Rules, raise_controller
from clso.search_spaces.vsm.memory import Memory
from clso.search_spaces.vsm.shapley import coalition_key, coalitions, shapley_values
from clso.space import Gene, Genome
from clso.space.functions import measure_batch
from clso.space.options import make_options, require_library
from clso.space.results import Evaluation
from clso.worlds.blocks import MAX_BLOCKS, MIN_BLOCKS
from clso.worlds.controllers import ControllerSpace, Request
from clso.worlds.draws import mix
from clso.worlds.problems import draw_problems, read_problems, write_plans

if TYPE_CHECKING:
    from clso.space.context import SpaceContext

__all__ = ["VSMSpace"]

_EXAMS = (64, 128)
"""Problems in an exam, by rung."""
_LIVES = (1, 2)
_TEST = 200
_TEST_SIZES = range(3, 11)
_COALITION_EXAM = 64
_MAX_PARAMETERS = 4_000_000
_MAX_PRACTICE = 1_000_000


class VSMSpace(ControllerSpace):
    """Controllers of Blocks World. With `--library random` nothing is counted: the control."""

    name = "vsm"
    cost_names = COST_NAMES
    work_unit = "episodes"

    @dataclass(frozen=True)
    class Options:
        blocks: int = 5
        """In exams, 3 to 20. Practice has 3 to 5 of them, the more the later."""
        practice: int = 400
        """Episodes of practice in a lifetime; 0: what is wired in."""
        parameters: int = 0
        """Of S1's crystal read-out, about; 0: 64 features."""
        shapley: bool = False
        """Whether the winner's levels are weighed, by raising each of their 64 coalitions."""
        goal: str = "shown"
        """shown, or hidden from the controller: the control."""
        credit: str = "true"
        """true, or shuffled: what was done gets no more credit than any other action. The control."""
        library: str = "grown"
        """grown (what is counted in practice), or random: nothing is counted. The control."""
        window_s: float = 2.0
        """Seconds of each of the windows in which the winner's decisions are timed."""

        def __post_init__(self) -> None:
            _within("blocks", self.blocks, MIN_BLOCKS, MAX_BLOCKS)
            _within("practice", self.practice, 0, _MAX_PRACTICE)
            _within("parameters", self.parameters, 0, _MAX_PARAMETERS)
            for name, words in (("goal", ("shown", "hidden")), ("credit", ("true", "shuffled"))):
                if getattr(self, name) not in words:
                    raise ConfigError(f"{name} is {' or '.join(words)}", got=getattr(self, name))
            require_library(self.library, "grown", "random")
            if not 0.0 < self.window_s <= 60.0:
                raise ConfigError("window_s is above 0 and at most 60 seconds", got=self.window_s)

        @property
        def rules(self) -> Rules:
            return Rules(
                self.blocks,
                self.practice,
                self.parameters,
                goal_shown=self.goal == "shown",
                credit_true=self.credit == "true",
            )

    def __init__(self, options: Options | None = None, *, seed: int = 0) -> None:
        self.options = options or self.Options()
        self._counts = self.options.library == "grown"
        self.rules, self._seed = self.options.rules, mix(seed)

    @classmethod
    def from_context(cls, context: SpaceContext) -> VSMSpace:
        return cls(make_options(cls.Options, context.options), seed=context.seed)

    @property
    def genes(self) -> tuple[Gene, ...]:
        return GENES

    def seeds(self) -> list[Genome]:
        """The hand-set genome."""
        return [genome_of(DEFAULT)]

    def decode(self, genome: Genome) -> Anatomy:
        """Levels and settings. Without counting, S1's scores are random and nothing is learned."""
        alleles = self.describe(genome)
        if not self._counts:
            learned = {"table", "crystal"} & {alleles["s1"]}
            alleles |= {"habits": "off", "model": "off", **({"s1": "random"} if learned else {})}
        return anatomy(alleles)

    def costs(self, genome: Genome) -> dict[str, float]:
        return bounds(self.decode(genome), self.rules)

    def objective(self) -> LifetimeObjective:
        return LifetimeObjective(self)

    def raised(self, settings: Anatomy, life: int = 0) -> Memory:
        """The controller of one of the run's lives."""
        return raise_controller(settings, self.rules, mix(self._seed, life))

    def fitness(self, genome: Genome, rung: int) -> float:
        """1 - SPL, over the lives of a rung. With more than ten blocks by the lower bound on the least moves."""
        settings, split = self.decode(genome), ("exam", "valid")[rung]
        problems = draw_problems(self.rules.blocks, _EXAMS[rung], split, self._seed)
        lives = [self.raised(settings, life) for life in range(_LIVES[rung])]
        return 1.0 - fmean(examined(m, problems, self.rules).score.spl_low for m in lives)

    def conclude(self, genome: Genome, folder: Path) -> dict[str, Any]:
        """Raise the winner, save it, and measure what is read back."""
        settings, rules = self.decode(genome), self.rules
        self.raised(settings).save(folder)
        memory = Memory.load(folder)
        sizes = sorted({*_TEST_SIZES, rules.blocks})
        table = sizes_table(memory, rules, sizes, _TEST)
        own = table[str(rules.blocks)]
        exam = examined(memory, draw_problems(rules.blocks, _TEST, "test", 0), rules)
        with open_meter("auto", "cpu") as meter:
            spent = joules(memory, rules, rules.blocks, meter, self.options.window_s)
        parameters = memory.parameters
        n_bytes = {p.name: p.stat().st_size for p in sorted(folder.iterdir())}
        by_level = dict.fromkeys(parameters, 0)
        for name, tensor in memory.tensors().items():
            by_level[name.split(".")[0]] += tensor.nbytes
        episodes = rules.practice + _TEST * (len(sizes) + 1)
        found: dict[str, Any] = {
            "parameters": {**parameters, "total": sum(parameters.values())},
            "n_bytes": {**n_bytes, "total": sum(n_bytes.values()), "by_level": by_level},
            "per_decision": exam.tally.per_decision(),
            "decisions_per_s": speed(memory, rules, rules.blocks, self.options.window_s),
            "joules_per_1000_decisions": spent,
        }
        if self.options.shapley:
            found["shapley"] = self.shapley(settings)
            episodes += 64 * (rules.practice + _COALITION_EXAM)
        names = {"success": "test_success", "spl": "test_spl", "plan_ratio": "plan_ratio"}
        best = {new: own[old] for old, new in names.items()}
        return {"best": {**best, "by_blocks": table}, "counts": {"episodes": episodes}, **found}

    def shapley(self, settings: Anatomy, life: int = 0) -> dict[str, Any]:
        """SPL and operations of each coalition of levels, raised anew, and the levels' Shapley values of SPL."""
        problems = draw_problems(self.rules.blocks, _COALITION_EXAM, "test", 0)
        found: dict[str, dict[str, float]] = {}
        for levels in coalitions():
            exam = examined(self.raised(settings.only(levels), life), problems, self.rules)
            operations = exam.tally.per_decision()["operations"]
            found[coalition_key(levels)] = {"spl": exam.score.spl_low, "operations": operations}
        return {
            "coalitions": found,
            "spl": shapley_values({key: row["spl"] for key, row in found.items()}),
        }

    def evaluate_winner(self, folder: Path, request: Request) -> dict[str, Any]:
        """Measure the saved controller, with levels switched off if asked for."""
        memory = Memory.load(folder)
        if request.without:
            settings = memory.anatomy.without(request.without)
            memory = self.raised(settings) if request.raise_again else memory.with_anatomy(settings)
        blocks = request.blocks or self.rules.blocks
        if request.problems is not None:
            problems = read_problems(request.problems)
        else:
            problems = list(draw_problems(blocks, _TEST, request.split, 0))
        exam = examined(memory, problems, self.rules)
        if request.plans is not None:
            write_plans(request.plans, exam.plans)
        operations = exam.tally.per_decision()["operations"]
        split = request.split if request.problems is None else None
        return {**exam.score.to_json(), "operations": operations, "split": split}


class LifetimeObjective:
    """Measures genomes by lifetimes. A fidelity's cost is its number of episodes."""

    def __init__(self, space: VSMSpace) -> None:
        self._space = space
        practice = space.rules.practice
        self.fidelities = tuple(
            lives * (practice + exams) for lives, exams in zip(_LIVES, _EXAMS, strict=True)
        )

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """One `Evaluation` a genome, in order; `n_tokens` counts episodes."""

        def values(batch: Sequence[Genome]) -> list[float]:
            return [self._space.fitness(genome, fidelity) for genome in batch]

        return measure_batch(values, genomes, fidelity, n_tokens=self.fidelities[fidelity])


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {low:,} to {high:,}", got=value)
