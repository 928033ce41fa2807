"""Genomes that stand for the same are one candidate: measured once, wherever they come from."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable
from typing import Any

import pytest
from toys import Toy

from clso import Gene, Optimizer, SearchSpace
from clso.engine import Engine, EngineConfig, ParetoEngine
from clso.errors import PluginError
from clso.space import Genome
from clso.space.checked import CheckedSpace
from clso.space.functions import FunctionObjective
from clso.space.results import Evaluation

_PARTS = ("a", "b", "c", "d")


class Branches(SearchSpace):
    """A part of four, each with two genes of its own, and one gene of all."""

    name = "branches"
    genes = (
        Gene("part", _PARTS),
        *(Gene(f"{p}{i}", range(4), when=("part", p)) for p in _PARTS for i in range(2)),
        Gene("all", ("0", "1", "2")),
    )

    def decode(self, genome: Genome) -> tuple[int, ...]:
        part = genome[0]
        return part, *genome[1 + 2 * part : 3 + 2 * part], genome[-1]

    def value(self, genome: Genome) -> float:
        part, x, y, z = self.decode(genome)
        return float((x - part) ** 2 + (y - 1) ** 2 + z + (part != 2))

    def objective(self) -> FunctionObjective:
        return FunctionObjective(lambda genomes: [self.value(g) for g in genomes])  # type: ignore[arg-type,return-value]


class Necklace(Toy):
    """The order of the genes makes no difference."""

    def key(self, genome: Genome) -> Hashable:
        return frozenset((a, genome.count(a)) for a in genome)


N_BRANCHES = 4 * 4 * 4 * 3


def told(engine: Engine, space: Any, genomes: list[Genome]) -> None:
    score = space.value if isinstance(space, Branches) else lambda g: float(sum(g))
    engine.tell([Evaluation(g, 0, (score(g),)) for g in genomes])


@pytest.mark.parametrize("revisit", [False, True], ids=["varied", "revisited"])
def test_no_two_proposals_stand_for_the_same(revisit: bool) -> None:
    space = Branches()
    engine = Engine(space, EngineConfig(pop_size=8, revisit=revisit), seed=1)
    seen: list[Genome] = []
    while asked := engine.ask(16):
        told(engine, space, asked)
        seen += asked
    assert len(seen) == len({space.decode(g) for g in seen}) == N_BRANCHES
    assert engine.n_evaluated == N_BRANCHES
    assert engine.shortfall is not None
    assert engine.shortfall.is_proven
    assert engine.best is not None
    assert engine.best.value == 0


def test_a_key_of_its_own_counts_and_a_small_space_is_searched_to_its_end() -> None:
    space = Necklace([4] * 3)
    engine = Engine(space, EngineConfig(pop_size=4), seed=0)
    seen: list[Genome] = []
    while asked := engine.ask(5):
        told(engine, space, asked)
        seen += asked
    assert len(seen) == 20  # multisets of 3 of 4
    assert len({tuple(sorted(g)) for g in seen}) == 20
    assert engine.shortfall is not None
    assert engine.shortfall.reason == "all 64 genomes are measured"


def test_a_twin_of_what_was_measured_is_refused_and_known() -> None:
    space = Branches()
    engine = Engine(space, seed=0)
    first, twin = (0, 1, 2, 0, 0, 0, 0, 0, 0, 1), (0, 1, 2, 3, 3, 3, 3, 3, 3, 1)
    told(engine, space, [first])
    with pytest.raises(ValueError, match="which is the same"):
        told(engine, space, [twin])
    with pytest.raises(ValueError, match="measured before"):
        told(engine, space, [(1,) * 10, (1, 0, 0, 1, 1, 0, 0, 0, 0, 1)])
    known = engine.lookup(twin)
    assert known is not None
    assert known.genome == first


def test_seeds_and_what_is_out_count_by_what_they_stand_for() -> None:
    twins = [(0, 1, 2, i, 0, 0, 0, 0, 0, 1) for i in range(3)]
    engine = Engine(Branches(), seed=0, seeds=twins)
    assert engine.ask(4)[0] == twins[0]
    engine = Engine(Branches(), seed=0, seeds=twins)
    assert not {CheckedSpace(Branches()).key(g) for g in engine.ask(8, pending=[twins[2]])} & {
        CheckedSpace(Branches()).key(twins[0])
    }


def test_a_twin_answers_for_what_was_asked() -> None:
    space, rng = Branches(), random.Random(0)
    optimizer = Optimizer(space, seed=0)
    for _ in range(12):
        for genome in optimizer.ask(8):
            off = space.inactive(genome)
            twin = tuple(
                rng.randrange(len(gene)) if gene.name in off else allele
                for gene, allele in zip(space.genes, genome, strict=True)
            )
            optimizer.tell(twin, space.value(twin))
            with pytest.raises(ValueError, match="measured before"):
                optimizer.tell(genome, 0.0)
    assert not optimizer.pending
    assert optimizer.n_evaluated == 96
    assert optimizer.screener.n_audits > 0


def test_a_search_goes_on_bit_for_bit() -> None:
    space = Branches()

    def search(optimizer: Optimizer, n: int) -> list[Genome]:
        out = []
        for _ in range(n):
            (genome,) = optimizer.ask()
            optimizer.tell(genome, space.value(genome))
            out.append(genome)
        return out

    whole, first, second = (Optimizer(space, seed=3) for _ in range(3))
    expected = search(whole, 70)
    head = search(first, 45)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [*head, *search(second, 25)] == expected


def test_records_of_before_may_hold_twins() -> None:
    space = Branches()
    rows = [Evaluation((0, 1, 2, i, 0, 0, 0, 0, 0, 1), 0, (1.0,)) for i in range(3)]
    engine, other = Engine(space, seed=0), Engine(space, seed=0)
    engine.load_state_dict(other.state_dict(with_cache=False), rows)
    assert engine.n_evaluated == 1
    assert engine.measured == rows[:1]


def test_several_objectives_count_by_what_they_stand_for() -> None:
    space = Branches()
    engine = ParetoEngine(space, EngineConfig(pop_size=8), upper=(9e9, 9e9), seed=0)
    seen: list[Genome] = []
    for _ in range(8):
        asked = engine.ask(12)
        engine.tell([Evaluation(g, 0, (space.value(g), float(g[0]))) for g in asked])
        seen += asked
    assert len({space.decode(g) for g in seen}) == len(seen)


def test_a_key_that_does_not_hash_is_named() -> None:
    class Lists(Toy):
        def key(self, genome: Genome) -> Hashable:
            return list(genome)  # type: ignore[return-value]

    with pytest.raises(PluginError, match="`key` of space"):
        Engine(Lists([3, 3]), seed=0).ask(2)


def test_changes_are_made_where_they_make_a_difference() -> None:
    space = Branches()
    engine = Engine(space, EngineConfig(pop_size=4), seed=0)
    told(engine, space, [(0, 1, 2, 0, 0, 0, 0, 0, 0, 1)])
    woken = set()
    for _ in range(400):
        child = list(engine.population[0])
        engine.toolbox.flip(child)
        changed = space.decode(tuple(child))
        assert changed != (0, 1, 2, 1)
        if child[0] == 3:
            woken.add(tuple(child[7:9]))
    assert len(woken) > 10  # of 16
