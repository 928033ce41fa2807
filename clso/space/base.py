"""Search spaces: what a genome may be, and what it means.

A genome is a tuple of allele indices, one for each gene. A space says which alleles there are
(`genes`), what they build (`decode`) and how a built candidate is measured (`objective`). Spaces
live outside `clso` and are found through the entry-point group `clso.search_spaces`; `clso.testing`
ships the suite that each of them passes."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from clso.errors import GenomeError
from clso.space.conditions import Conditions
from clso.space.genome import Gene, Genome, draw
from clso.space.measures import Measure
from clso.space.options import NoOptions

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from clso.space.context import SpaceContext
    from clso.space.results import Evaluation

__all__ = ["Objective", "SearchSpace", "Startable"]


class Objective(Protocol):
    """Measures genomes where the work runs (this process, or a worker's).

    `fidelities` lists the cost of each rung in rising order (tokens for a language model, 1 for a
    plain function)."""

    fidelities: tuple[int, ...]

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """One `Evaluation` a genome, in order; a candidate's failure is a status, never an
        exception."""
        ...


@runtime_checkable
class Startable(Protocol):
    """What an objective may offer besides, if a device works while this process goes on."""

    def begin(self, genomes: Sequence[Genome], fidelity: int) -> Callable[[], list[Evaluation]]:
        """Set the device to work on `evaluate(genomes, fidelity)`; what is returned waits for its
        answer."""
        ...


class SearchSpace(ABC):
    """Base class of every space. Subclasses implement `genes`, `decode` and `objective`; the other
    methods have defaults.

    Examples
    --------
    A bit string whose ones are to be few, as a plain function of all genomes:

    >>> import numpy as np
    >>> from clso import Gene, SearchSpace, minimize
    >>> from clso.space.functions import FunctionObjective
    >>> class Ones(SearchSpace):
    ...     name = "ones"
    ...     genes = tuple(Gene(f"bit {i}", ("0", "1")) for i in range(12))
    ...     def decode(self, genome):
    ...         return "".join(map(str, genome))
    ...     def objective(self):
    ...         return FunctionObjective(lambda genomes: np.array([sum(g) for g in genomes], float))
    >>> space = Ones()
    >>> space.describe(space.validate([1] + [0] * 11))["bit 0"]
    '1'
    >>> minimize(lambda bits: bits.count("1"), space, 120, seed=0).x
    '000000000000'
    """

    name: str = ""
    measures: tuple[Measure, ...] = (Measure("fitness"),)
    """The values that `evaluate` returns, in their order. Each of them can be an objective of a
    search; the first is, if nothing else is asked for."""
    cost_names: tuple[str, ...] = ()
    """Costs of a genome that are known without measuring it, such as "flops"."""
    work_unit: ClassVar[str] = ""
    """What an evaluation's `n_tokens` counts, if not tokens; result.json then holds its sum as `counts.<unit>`."""
    takes_tasks: ClassVar[bool] = False
    """Whether `from_context` builds a space for a sequence task if `context.task` names one."""
    Options: ClassVar[type] = NoOptions
    """What a user may set: a frozen dataclass whose fields are str, int, float or bool and have
    defaults. A space that declares one is built with `make_options(cls.Options,
    context.options)`."""

    @classmethod
    def from_context(cls, context: SpaceContext) -> SearchSpace:
        """Build the space for a run. A space that needs nothing of the context keeps this
        default."""
        return cls()

    @property
    @abstractmethod
    def genes(self) -> tuple[Gene, ...]:
        """The genes, in genome order."""

    @abstractmethod
    def decode(self, genome: Genome) -> Any:
        """What `genome` stands for (a model specification, a bit string, ...). Raises
        `GenomeError`."""

    @abstractmethod
    def objective(self) -> Objective:
        """The object that measures genomes of this space."""

    def costs(self, genome: Genome) -> dict[str, float]:
        """The value of each of `cost_names`, finite; less is better. The search asks for it
        often."""
        return {}

    def sample(self, rng: random.Random) -> Genome:
        """A genome drawn uniformly with `rng`."""
        sizes = list(map(len, self.genes))
        if not all(sizes):
            raise GenomeError(
                "every gene has an allele", got=[g.name for g in self.genes if not len(g)]
            )
        return draw(sizes, rng)

    @property
    def optimum(self) -> float | None:
        """The least value that any genome has, if it is known exactly."""
        return None

    def seeds(self) -> list[Genome]:
        """Genomes that a search tries first, such as a default. None by default."""
        return []

    def prepare(self) -> None:
        """Do the costly set-up (build the library); its time and energy are charged to the run."""

    def conclude(self, genome: Genome, folder: Path) -> dict[str, Any]:
        """What result.json says of the winner besides, for a space that is no language model; its
        key `best` joins the result's own. A model is written to the new folder `folder` and
        measured from there, on data that no selection saw."""
        return {}

    def validate(self, genome: Sequence[int]) -> Genome:
        """`genome` as a tuple of plain ints. Raises `GenomeError` if it does not belong to the
        space."""
        genes = self.genes
        try:
            alleles = tuple(genome)
        except TypeError as error:
            raise GenomeError(
                f"a genome of space {self.name!r} is a sequence", got=genome
            ) from error
        if len(alleles) != len(genes):
            raise GenomeError(
                f"a genome of space {self.name!r} has {len(genes)} genes", got=len(alleles)
            )
        out = []
        for gene, allele in zip(genes, alleles, strict=True):
            try:
                index = int(allele)
            except (TypeError, ValueError, OverflowError):
                index = -1
            if index != allele or not 0 <= index < len(gene):
                raise GenomeError(f"gene {gene.name!r} takes 0 to {len(gene) - 1}", got=allele)
            out.append(index)
        return tuple(out)

    def constraints(self, genome: Genome) -> tuple[float, ...]:
        """Constraint values, feasible if all are <= 0. None by default.

        If feasible genomes are rare, a search walks down the sum of those above 0: let them say by
        how much."""
        return ()

    def repair(self, genome: Genome, rng: random.Random) -> Genome:
        """A feasible genome near `genome`; the identity by default."""
        return genome

    def descriptors(self) -> list[np.ndarray[Any, Any] | None] | None:
        """For each gene an array (n_choices, n_features) that tells a surrogate about its alleles,
        or None."""
        return None

    def inactive(self, genome: Genome) -> frozenset[str]:
        """Names of the genes that make no difference to what `genome` stands for, such as those of
        a part that another gene switches off. They are not shown as the winner's. By default
        what the genes say themselves (`Gene.when`, `Gene.unless`)."""
        genes = self.genes
        off = Conditions(genes).inactive(self.validate(genome))
        return frozenset(genes[i].name for i in off)

    def key(self, genome: Genome) -> Hashable:
        """What `genome` stands for, as something that hashes: genomes of equal keys are one
        candidate, which is measured once.

        By default the genome with -1 for the allele of each inactive gene. Override it if genomes
        stand for the same otherwise, by a symmetry of the space, say."""
        off = self.inactive(genome)
        if not off:
            return genome
        return tuple(
            -1 if gene.name in off else allele
            for gene, allele in zip(self.genes, genome, strict=True)
        )

    def chosen(self, genome: Genome) -> dict[str, str]:
        """`describe` without the genes that are inactive: what there is to be shown."""
        off = self.inactive(genome)
        return {name: label for name, label in self.describe(genome).items() if name not in off}

    def describe(self, genome: Genome) -> dict[str, str]:
        """Gene name -> label of the allele picked, whether it makes a difference or not."""
        return {
            g.name: g.choices[a] for g, a in zip(self.genes, self.validate(genome), strict=True)
        }
