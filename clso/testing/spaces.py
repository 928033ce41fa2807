"""What every search space keeps to, as a pytest class to subclass."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from clso.engine import Engine, EngineConfig
from clso.errors import GenomeError
from clso.screening.encoding import Encoder
from clso.space import Genome, Objective, SearchSpace
from clso.space.conditions import Conditions
from clso.space.results import Evaluation
from clso.testing.properties import feasible, for_all, genomes, random_states, untouched_randomness

__all__ = ["SpaceConformance"]

# set in the process that runs under another hash seed: the file for what it finds
_PROBE = "CLSO_TESTING_PROBE"
_DRAWS = 64  # genomes among which two of one key are looked for


class SpaceConformance:
    """Subclass as `class TestMySpace(SpaceConformance)` and give `make_space`; pytest runs the
    rest."""

    max_examples = 20
    """Examples a property."""
    tolerance = 0.0
    """By how much a value may differ between equal measurements. 0 (exact) unless hardware forbids
    it."""
    other_process = True
    """Whether the space is also built under another PYTHONHASHSEED, in a process of its own."""

    def make_space(self) -> SearchSpace:
        """A new space as a run would get it. Two of them must be equal."""
        raise NotImplementedError("a subclass of SpaceConformance gives make_space")

    def same(self, first: Any, second: Any) -> bool:
        """Whether two decoded genomes are equal. Override it for types whose == does not say so."""
        try:
            np.testing.assert_equal(first, second)  # goes into dicts, lists and arrays
        except AssertionError:
            return False
        return True

    @property
    def space(self) -> SearchSpace:
        """The space under test: one for all tests of the class, since some are costly."""
        return self._made()[0]

    @property
    def objective(self) -> Objective:
        return self._made()[1]

    def _made(self) -> tuple[SearchSpace, Objective]:
        made: tuple[SearchSpace, Objective] | None = type(self).__dict__.get("_shared")
        if made is None:
            space = self.make_space()
            space.prepare()
            made = space, space.objective()
            type(self)._shared = made  # type: ignore[attr-defined]
        return made

    def _same_results(self, first: Sequence[Evaluation], second: Sequence[Evaluation]) -> bool:
        def close(a: Evaluation, b: Evaluation) -> bool:
            return (a.genome, a.fidelity, a.status, a.n_tokens) == (
                b.genome,
                b.fidelity,
                b.status,
                b.n_tokens,
            ) and all(abs(x - y) <= self.tolerance for x, y in zip(a.values, b.values, strict=True))

        return all(close(a, b) for a, b in zip(first, second, strict=True))

    # Genes and genomes

    def test_genes_have_names_and_choices(self) -> None:
        genes = self.space.genes
        assert self.space.name, "the space's name is empty; error messages show it"
        assert genes, "a space has at least one gene"
        assert all(isinstance(gene.name, str) and gene.name for gene in genes)
        assert len({gene.name for gene in genes}) == len(genes), (
            "the names of the genes are distinct"
        )
        for gene in genes:
            assert isinstance(gene.choices, tuple), gene.name
            assert gene.choices, f"gene {gene.name!r} has a choice"
            assert all(isinstance(choice, str) for choice in gene.choices), (
                f"labels of {gene.name!r} are text"
            )
        assert self.space.genes == genes, "the genes are the same at every look"

    def test_samples_belong_to_the_space_and_follow_the_generator(self) -> None:
        space = self.space

        def check(seed: int) -> None:
            with untouched_randomness():
                genome = space.sample(random.Random(seed))
            assert type(genome) is tuple
            assert all(type(allele) is int for allele in genome), "a genome holds plain ints"
            assert space.validate(genome) == genome
            assert space.sample(random.Random(seed)) == genome, (
                "equal generators give equal genomes"
            )
            assert set(space.describe(genome)) == {gene.name for gene in space.genes}

        for_all(self.max_examples, check, random_states)
        if math.prod(map(len, space.genes)) > 1:
            assert len({space.sample(random.Random(seed)) for seed in range(64)}) > 1, (
                "samples vary"
            )

    def test_validate_takes_integers_in_any_sequence(self) -> None:
        space = self.space

        def check(genome: Genome) -> None:
            spellings: tuple[Any, ...] = (
                genome,
                list(genome),
                np.array(genome),
                tuple(map(np.int32, genome)),
            )
            for spelling in spellings:
                found = space.validate(spelling)
                assert found == genome
                assert type(found) is tuple
                assert all(type(allele) is int for allele in found), "validate gives plain ints"

        for_all(self.max_examples, check, genomes(space))

    def test_validate_refuses_what_is_no_genome(self) -> None:
        space = self.space
        sizes = [len(gene) for gene in space.genes]
        foreign = st.sampled_from([-1, "size", 10**30, 0.5, math.nan, math.inf, "0", None])

        def check(genome: Genome, at: int, allele: Any) -> None:
            allele = sizes[at] if allele == "size" else allele
            for wrong in ((*genome[:at], allele, *genome[at + 1 :]), (*genome, 0), genome[:-1]):
                with pytest.raises(GenomeError):
                    space.validate(wrong)

        for_all(self.max_examples, check, genomes(space), st.integers(0, len(sizes) - 1), foreign)

    def test_decode_is_deterministic_and_refuses_foreign_genomes(self) -> None:
        space = self.space

        def check(genome: Genome) -> None:
            with untouched_randomness():
                first = space.decode(genome)
            assert self.same(first, space.decode(genome)), "decoding twice gives the same"
            for wrong in (genome[:-1], (len(space.genes[0]), *genome[1:])):
                with pytest.raises(GenomeError):
                    space.decode(wrong)

        for_all(self.max_examples, check, genomes(space))

    def test_repair_gives_feasible_genomes(self) -> None:
        space = self.space
        n_constraints = len(space.constraints(space.sample(random.Random(0))))
        repairs = type(space).repair is not SearchSpace.repair

        def check(seed: int) -> None:
            genome = space.sample(random.Random(seed))
            constraints = space.constraints(genome)
            assert len(constraints) == n_constraints, "every genome has as many constraints"
            assert all(map(math.isfinite, constraints))
            assert space.constraints(genome) == constraints
            with untouched_randomness():
                repaired = space.repair(genome, random.Random(seed))
            assert type(repaired) is tuple
            assert space.validate(repaired) == repaired
            assert space.repair(genome, random.Random(seed)) == repaired, (
                "equal generators give equal repairs"
            )
            if repairs:
                assert feasible(space, repaired), "repair leaves a constraint above 0"
                assert feasible(space, space.repair(repaired, random.Random(seed))), (
                    "repair spoils what is feasible"
                )

        for_all(self.max_examples, check, random_states)

    def test_seeds_are_feasible_genomes(self) -> None:
        seeds = self.space.seeds()
        assert [self.space.validate(seed) for seed in seeds] == seeds
        assert len(set(seeds)) == len(seeds), "seeds are distinct"
        assert all(feasible(self.space, seed) for seed in seeds)
        assert self.space.seeds() == seeds

    def test_descriptors_are_finite_and_one_row_a_choice(self) -> None:
        descriptors = self.space.descriptors()
        sizes = [len(gene) for gene in self.space.genes]
        # raises if a shape is wrong or a number is not finite
        encoder = Encoder(sizes, descriptors)
        assert np.isfinite(encoder.encode([self.space.sample(random.Random(0))])).all()

    # Measuring

    def test_fidelities_rise(self) -> None:
        rungs = self.objective.fidelities
        assert rungs
        assert all(isinstance(cost, int) and cost > 0 for cost in rungs)
        assert list(rungs) == sorted(set(rungs)), "each rung costs more than the one before"

    def test_one_evaluation_a_genome_in_order(self) -> None:
        def check(batch: list[Genome], fidelity: int) -> None:
            found = self.objective.evaluate(batch, fidelity)
            assert [e.genome for e in found] == batch
            assert all(e.fidelity == fidelity and e.n_tokens >= 0 for e in found)
            assert len({len(e.values) for e in found if e.ok}) == 1 or not any(e.ok for e in found)
            assert [
                Evaluation.from_json(json.loads(json.dumps(e.to_json()))) for e in found
            ] == found

        for_all(self.max_examples, check, self._batches(), self._rungs())

    def test_company_and_order_change_nothing(self) -> None:
        def check(batch: list[Genome], fidelity: int) -> None:
            with untouched_randomness():
                found = self.objective.evaluate(batch, fidelity)
            assert self._same_results(
                self.objective.evaluate(batch[::-1], fidelity)[::-1], found
            ), "order matters"
            alone = [self.objective.evaluate([genome], fidelity)[0] for genome in batch]
            assert self._same_results(alone, found), "company matters"

        for_all(self.max_examples, check, self._batches(), self._rungs())

    def test_inactive_genes_make_no_difference(self) -> None:
        """What is not shown as the winner's has no part in its value."""
        names = [gene.name for gene in self.space.genes]

        def check(genome: Genome) -> None:
            off = self.space.inactive(genome)
            assert off <= set(names), "an inactive gene is one of the space's"
            if not off:
                return
            rng = random.Random(0)
            other = tuple(
                rng.randrange(len(gene)) if gene.name in off else allele
                for gene, allele in zip(self.space.genes, genome, strict=True)
            )
            if feasible(self.space, other):
                found, again = (self.objective.evaluate([g], 0)[0] for g in (genome, other))
                assert found.status == again.status
                assert found.values == pytest.approx(again.values, rel=1e-4, abs=1e-4)

        for_all(self.max_examples, check, genomes(self.space))

    def test_conditions_name_genes_and_choices(self) -> None:
        """Every condition can be met or not, and no gene depends on itself."""
        Conditions.check(self.space.genes)
        Conditions(self.space.genes)

    def test_keys_hash_and_follow_from_the_genome(self) -> None:
        space = self.space
        other = self.make_space()

        def check(genome: Genome) -> None:
            with untouched_randomness():
                key = space.key(genome)
            hash(key)
            assert space.key(genome) == key, "a genome has one key"
            assert other.key(genome) == key, "equal spaces give equal keys"

        for_all(self.max_examples, check, genomes(space))

    def test_equal_keys_have_equal_values(self) -> None:
        """A search measures one of the genomes that have a key, and takes its values for all."""
        space = self.space

        def check(seed: int) -> None:
            for genome, other in _twins(space, random.Random(seed)):
                assert space.key(genome) == space.key(other), "inactive genes are in the key"
                found, again = (self.objective.evaluate([g], 0)[0] for g in (genome, other))
                said = f"{genome} and {other} have one key and"
                assert found.status == again.status, f"{said} {found.status}, {again.status}"
                assert found.values == pytest.approx(again.values, rel=1e-4, abs=1e-4), said
                assert space.costs(genome) == pytest.approx(space.costs(other)), f"{said} two costs"

        for_all(self.max_examples, check, random_states)

    def test_nothing_to_evaluate(self) -> None:
        for fidelity in range(len(self.objective.fidelities)):
            assert list(self.objective.evaluate([], fidelity)) == []

    def test_costs_are_those_named(self) -> None:
        """Only for spaces with `cost_names`, which are searched for several objectives."""
        space: Any = self.space
        names: tuple[str, ...] = getattr(space, "cost_names", ())
        if not names:
            pytest.skip("the space names no costs")
        assert len(set(names)) == len(names)

        def check(genome: Genome) -> None:
            found = space.costs(genome)
            assert set(found) == set(names)
            assert all(math.isfinite(value) for value in found.values())
            assert space.costs(genome) == found

        for_all(self.max_examples, check, genomes(self.space))

    def test_a_search_finds_something(self) -> None:
        """By its first measure, as a search is that asks for nothing else."""
        engine = Engine(self.space, EngineConfig(pop_size=8), seed=0, seeds=self.space.seeds())
        first = self.space.measures[0]
        for _ in range(3):
            batch = engine.ask(8)
            assert all(feasible(self.space, genome) for genome in batch)
            for found in self.objective.evaluate(batch, 0):
                value = (first.as_minimised(found.values[0]),) if found.ok else ()
                engine.tell([replace(found, values=value)])
        assert engine.n_evaluated, "no feasible genome was found"
        assert engine.best is not None, "of the genomes tried, none could be measured"

    # Twice the same

    def test_a_second_space_is_equal(self) -> None:
        other = self.make_space()
        other.prepare()
        assert other.genes == self.space.genes
        assert other.seeds() == self.space.seeds()
        first, second = (_features(space) for space in (self.space, other))
        assert np.array_equal(first, second), "descriptors differ"
        batch = self._few()
        assert self._few(other) == batch
        again = other.objective()
        assert again.fidelities == self.objective.fidelities
        for fidelity in range(len(again.fidelities)):
            # of what a higher rung adds, four genomes show as much as all
            some = batch if fidelity == 0 else batch[:4]
            found = self.objective.evaluate(some, fidelity)
            assert self._same_results(again.evaluate(some, fidelity), found), (
                "two equal spaces measure differently"
            )

    def test_another_hash_seed_changes_nothing(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """This test again, in a process with another PYTHONHASHSEED, which writes down what it
        found."""
        if not self.other_process:
            pytest.skip("other_process is off")
        found: dict[str, Any] = {
            "genes": [[gene.name, *gene.choices] for gene in self.space.genes],
            "seeds": [list(genome) for genome in self.space.seeds()],
            "genomes": [list(genome) for genome in self._few()],
            "keys": [repr(self.space.key(genome)) for genome in self._few()],
            "evaluations": [e.to_json() for e in self.objective.evaluate(self._few(), 0)],
        }
        if probe := os.environ.get(_PROBE):
            Path(probe).write_text(json.dumps(found))
            return
        path = tmp_path / "found.json"
        hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-o",
                "addopts=",
                "-p",
                "no:cacheprovider",
                request.node.nodeid,
            ],
            cwd=request.config.rootpath,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, _PROBE: str(path)},
            capture_output=True,
            text=True,
        )
        assert path.exists(), done.stdout + done.stderr
        other = json.loads(path.read_text())
        for what in ("genes", "seeds", "genomes", "keys"):
            assert other[what] == found[what], f"{what} depend on PYTHONHASHSEED"
        first, second = (
            [Evaluation.from_json(row) for row in side["evaluations"]] for side in (found, other)
        )
        assert self._same_results(first, second), "evaluations depend on PYTHONHASHSEED"

    def _batches(self) -> st.SearchStrategy[list[Genome]]:
        return st.lists(genomes(self.space), min_size=1, max_size=5, unique=True)

    def _rungs(self) -> st.SearchStrategy[int]:
        return st.integers(0, len(self.objective.fidelities) - 1)

    def _few(self, space: SearchSpace | None = None) -> list[Genome]:
        """Some feasible genomes, without repetition: the seeds, and samples."""
        space = space or self.space
        drawn = [space.repair(space.sample(rng), rng) for rng in map(random.Random, range(16))]
        return list(
            dict.fromkeys(
                [*space.seeds(), *(genome for genome in drawn if feasible(space, genome))]
            )
        )


def _twins(space: SearchSpace, rng: random.Random) -> Iterator[tuple[Genome, Genome]]:
    """Pairs of feasible genomes of one key: two that differ in inactive genes, and, of a space with
    keys of its own, two of those drawn that happen to share one."""
    drawn = [space.sample(rng) for _ in range(_DRAWS)]
    first: dict[Hashable, Genome] = {}
    for genome in drawn:
        off = space.inactive(genome)
        other = tuple(
            rng.randrange(len(gene)) if gene.name in off else allele
            for gene, allele in zip(space.genes, genome, strict=True)
        )
        for twin in (other, first.setdefault(space.key(genome), genome)):
            if twin != genome and feasible(space, genome) and feasible(space, twin):
                yield genome, twin
                return


def _features(space: SearchSpace) -> Any:
    genes = space.genes
    every_choice = [tuple(min(i, len(g) - 1) for g in genes) for i in range(max(map(len, genes)))]
    return Encoder([len(g) for g in genes], space.descriptors()).encode(every_choice)
