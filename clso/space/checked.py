"""A search space as the search sees it: what it raises is named, what it returns is checked and
plain.

A space is a user's code. Whatever part of the search calls it, calls it through here.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from operator import lt
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.conversion import as_float, as_floats, as_json, in_order
from clso.errors import GenomeError, PluginError
from clso.plugins import as_plugin_error
from clso.space import Gene, Genome, Measure, SearchSpace
from clso.space.conditions import Conditions
from clso.space.genome import draw
from clso.space.measures import as_measures

__all__ = ["CheckedSpace"]

_INT = frozenset((int,))


class CheckedSpace:
    """Calls a space's functions for the search.

    Each raises `PluginError` if the space's own raises (`sys.exit` included) or returns
    something else than its contract says; a `ClsoError` of its own passes.

    Attributes:
        space: the space itself.
        sizes: number of alleles of each gene.
        is_free: whether every genome is feasible as far as the space goes.
        repairs, samples_itself: whether it has a `repair`, a `sample` of its own.
        conditions: which genes make no difference, as they declare it.
        is_keyed_by_genome: whether no two genomes stand for the same, as far as is declared.
        ordered: places of the genes whose alleles lie on a scale.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        with self._calling("genes"):
            genes = in_order(space.genes, "the genes of a space")
        if not genes or not all(isinstance(gene, Gene) for gene in genes):
            raise PluginError(
                f"the genes of space {space.name!r} are a tuple of one Gene or more", got=genes
            )
        names = [gene.name for gene in genes]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise PluginError(
                f"the genes of space {space.name!r} have names of their own",
                problem=f"two genes are named {twice!r}",
            )
        self.sizes = tuple(len(gene) for gene in genes)
        if not all(self.sizes):
            raise PluginError("every gene has an allele", got=names[self.sizes.index(0)])
        Conditions.check(genes)
        self.conditions = Conditions(genes)
        self.ordered = tuple(i for i, gene in enumerate(genes) if gene.ordered)
        self._finds_inactive = not _is_default(space, "inactive")
        self._declares_all = _is_default(space, "key") and not self._finds_inactive
        self.is_keyed_by_genome = self._declares_all and not self.conditions.rules
        self.is_free = _is_default(space, "constraints")
        self.repairs = not _is_default(space, "repair")
        self.samples_itself = not _is_default(space, "sample")

    @cached_property
    def count(self) -> int:
        """How many candidates there are at most."""
        return self.conditions.count

    def sample(self, rng: random.Random) -> Genome:
        """A random genome."""
        if not self.samples_itself:
            return draw(self.sizes, rng)
        with self._calling("sample"):
            genome = self.space.sample(rng)
        return self._genome(genome, "sample")

    def repair(self, genome: Genome, rng: random.Random) -> Genome:
        """A genome near `genome` that is feasible if the space can make it so."""
        if not self.repairs:
            return genome
        with self._calling("repair"):
            repaired = self.space.repair(genome, rng)
        return self._genome(repaired, "repair")

    def key(self, genome: Genome) -> Hashable:
        """What `genome` stands for: candidates of equal keys are measured once."""
        if self.is_keyed_by_genome:  # as most are
            return genome
        if self._declares_all:
            return self.conditions.canonical(genome)
        with self._calling("key"):
            key = self.space.key(genome)
            try:
                hash(key)
            except TypeError as error:
                rule = f"`key` of space {self.space.name!r} gives something that hashes"
                raise PluginError(rule, got=key) from error
        return key

    def canonical(self, genome: Genome) -> Genome:
        """The genome that stands for all of the same key, if the space's genes say which do."""
        if self.is_keyed_by_genome or not self._declares_all:
            return genome
        return self.conditions.canonical(genome)

    def off(self, genome: Genome) -> Collection[int]:
        """Places of the inactive genes."""
        if not self._finds_inactive:
            return self.conditions.inactive(genome)
        names = set(self.inactive(genome))
        return [i for i, gene in enumerate(self.space.genes) if gene.name in names]

    @property
    def mask(self) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]] | None:
        """Tells the inactive genes of genomes (n, genes) -> (n, genes); None if all are active."""
        if self._finds_inactive:
            return self._mask
        return self.conditions.mask if self.conditions.rules else None

    def _mask(self, genomes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        off = np.zeros(genomes.shape, dtype=np.bool_)
        for row, genome in zip(off, genomes.tolist(), strict=True):
            row[list(self.off(tuple(genome)))] = True
        return off

    def every(self) -> Iterable[Genome]:
        """All candidates of a small space, of those that stand for the same one at least."""
        if self._declares_all:
            return self.conditions.every()
        return itertools.product(*map(range, self.sizes))

    def constraints(self, genome: Genome) -> tuple[float, ...]:
        """Feasible if all are <= 0."""
        if self.is_free:
            return ()
        with self._calling("constraints"):
            values = self.space.constraints(genome)
        return as_floats(values, f"constraints of space {self.space.name!r}", PluginError)

    def costs(self, genome: Genome) -> dict[str, float]:
        """The value of each of the space's `cost_names`."""
        with self._calling("costs"):
            costs = self.space.costs(genome)
        if not isinstance(costs, Mapping):
            raise PluginError(f"costs of space {self.space.name!r} are a dict, by name", got=costs)
        named = f"costs of space {self.space.name!r}"
        found = {
            name: as_float(costs.get(name, math.nan), named, PluginError)
            for name in self.space.cost_names
        }
        for name, value in found.items():
            if not math.isfinite(value):
                raise PluginError(f"{named} have a finite {name}", got=costs.get(name))
        return found

    def seeds(self) -> list[Genome]:
        """Genomes to try first."""
        with self._calling("seeds"):
            seeds = in_order(self.space.seeds(), "seeds")
        return [self._genome(seed, "seeds") for seed in seeds]

    def descriptors(self) -> list[Any] | None:
        """For each gene an array about its alleles, or None."""
        with self._calling("descriptors"):
            found = self.space.descriptors()
            return None if found is None else list(found)

    def measures(self) -> tuple[Measure, ...]:
        """What an evaluation's values are. Raises `PluginError` if costs have one of their
        names."""
        with self._calling("measures"):
            measures = as_measures(self.space.measures, f"measures of space {self.space.name!r}")
        for measure in measures:
            if measure.name in self.space.cost_names:
                raise PluginError(
                    f"what space {self.space.name!r} measures and its costs have different names",
                    got=measure.name,
                )
        return measures

    def inactive(self, genome: Genome) -> list[str]:
        """Names of the genes that `genome` has for nothing, in the order of the genes."""
        with self._calling("inactive"):
            named = frozenset(self.space.inactive(genome))
        return [gene.name for gene in self.space.genes if gene.name in named]

    def chosen(self, genome: Genome) -> dict[str, str]:
        """The genome in words, without the genes that it has for nothing."""
        off = self.inactive(genome)
        return {name: label for name, label in self.describe(genome).items() if name not in off}

    def describe(self, genome: Genome) -> dict[str, str]:
        """The genome in words."""
        with self._calling("describe"):
            return {str(name): str(label) for name, label in self.space.describe(genome).items()}

    def optimum(self) -> float | None:
        """The least value of any genome, if it is known."""
        with self._calling("optimum"):
            found = self.space.optimum
        return (
            None
            if found is None
            else as_float(found, f"the optimum of space {self.space.name!r}", PluginError)
        )

    def conclude(self, genome: Genome, folder: Any) -> dict[str, Any]:
        """What the space adds to result.json, in JSON's types."""
        with self._calling("conclude"):
            found = self.space.conclude(genome, folder)
        more = as_json(found, f"what `conclude` of space {self.space.name!r} returns", PluginError)
        if not isinstance(more, dict) or not isinstance(more.get("best", {}), dict):
            raise PluginError(
                f"`conclude` of space {self.space.name!r} returns a dict, and so is its `best`",
                got=found,
            )
        return more

    def _calling(self, function: str) -> AbstractContextManager[None]:
        return as_plugin_error(f"`{function}` of space {self.space.name!r} can be called")

    def validate(self, genome: Sequence[int]) -> Genome:
        """`genome` as a tuple of plain ints, as the space's `validate` gives it. Raises
        `GenomeError`."""
        is_plain = (
            type(genome) is tuple
            and len(genome) == len(self.sizes)
            and _INT.issuperset(map(type, genome))
        )
        if is_plain and min(genome) >= 0 and all(map(lt, genome, self.sizes)):  # as most are
            return tuple(genome)
        return self.space.validate(genome)

    def _genome(self, returned: Sequence[int], function: str) -> Genome:
        """`returned` by the space's `function` as a genome of the space."""
        try:
            return self.validate(returned)
        except GenomeError as error:
            rule = f"`{function}` of space {self.space.name!r} gives genomes of the space"
            raise PluginError(rule, got=returned, remedy=str(error)) from error


def _is_default(space: SearchSpace, function: str) -> bool:
    """Whether `space` leaves a function as the base class has it; an instance may have one of its
    own, too."""
    return getattr(getattr(space, function), "__func__", None) is getattr(SearchSpace, function)
