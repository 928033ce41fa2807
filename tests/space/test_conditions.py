"""Conditional genes: what is declared, what follows from it, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from clso import Gene, Optimizer, SearchSpace
from clso.errors import ClsoError, ConfigError
from clso.space.conditions import Conditions

KERNEL = Gene("kernel", ("linear", "poly", "rbf", "spline"))
GENES = (
    Gene("degree", (1, 2, 3), when=("kernel", ("poly", "spline"))),
    KERNEL,
    Gene("knots", ("few", "many"), when=(("kernel", "spline"), ("degree", ("2", "3")))),
    Gene("knots.at", ("even", "data"), unless=(("knots", "few"),)),
    Gene("c", (1, 10)),
)


class Declared(SearchSpace):
    name = "declared"

    def __init__(self, *genes: Gene) -> None:
        self._genes = genes

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def decode(self, genome: Any) -> Any:
        return self.chosen(genome)

    def objective(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("kernel", "poly"), (("kernel", ("poly",)),)),
        (("kernel", ("poly", "rbf")), (("kernel", ("poly", "rbf")),)),
        ([["kernel", ["poly", 2]]], (("kernel", ("poly", "2")),)),
        ((("a", "x"), ("b", ("y", "z"))), (("a", ("x",)), ("b", ("y", "z")))),
    ],
    ids=["pair", "labels", "lists", "pairs"],
)
def test_conditions_are_written_in_several_ways(given: Any, found: Any) -> None:
    assert Gene("g", ("0", "1"), when=given).when == found
    flat = tuple((name, label) for name, labels in found for label in labels)
    assert Gene("g", ("0", "1"), unless=given).unless == flat


@pytest.mark.parametrize(
    "given", ["kernel", ("kernel",), (("kernel", "poly", 1),), 3, [1]], ids=repr
)
def test_conditions_of_another_form_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="another gene's name"):
        Gene("g", ("0", "1"), when=given)


def active(genome: tuple[int, ...]) -> set[str]:
    """By hand, what the genes above declare."""
    alleles = {g.name: g.choices[a] for g, a in zip(GENES, genome, strict=True)}
    found = {"kernel", "c"}
    if alleles["kernel"] in ("poly", "spline"):
        found.add("degree")
    if alleles["kernel"] == "spline" and alleles["degree"] in "23":
        found.add("knots")
        if alleles["knots"] != "few":
            found.add("knots.at")
    return found


def test_a_gene_whose_gene_is_inactive_is_inactive() -> None:
    space, conditions = Declared(*GENES), Conditions(GENES)
    every = list(itertools.product(*(range(len(g)) for g in GENES)))
    masks = conditions.mask(np.array(every))
    names = {g.name for g in GENES}
    for genome, mask in zip(every, masks, strict=True):
        assert space.inactive(genome) == names - active(genome)
        assert {GENES[i].name for i in np.flatnonzero(mask)} == names - active(genome)
        assert set(space.chosen(genome)) == active(genome)
    keys = {space.key(genome) for genome in every}
    canonical = {conditions.canonical(genome) for genome in every}
    assert len(keys) == len(canonical) == conditions.count == len(conditions.every())
    assert set(conditions.every()) == canonical
    for genome in every:
        assert space.key(conditions.canonical(genome)) == space.key(genome)


@pytest.mark.parametrize(
    ("gene", "message"),
    [
        (Gene("g", ("0", "1"), when=("kernle", "poly")), "no gene 'kernle'.*Did you mean 'kernel'"),
        (Gene("g", ("0", "1"), when=("kernel", "ploy")), "no choice 'ploy'.*Did you mean 'poly'"),
        (Gene("g", ("0", "1"), unless=("kernel", "off")), "no choice 'off'"),
        (Gene("g", ("0", "1"), when=("g", "1")), "circle among 'g'"),
    ],
    ids=["gene", "label", "unless", "circle"],
)
def test_bad_declarations_are_one_clear_error(gene: Gene, message: str) -> None:
    with pytest.raises(ClsoError, match=message) as caught:
        Optimizer(Declared(KERNEL, gene))
    assert "\n" not in str(caught.value)


def test_a_longer_circle_is_found() -> None:
    a = Gene("a", ("0", "1"), when=("b", "1"))
    b = Gene("b", ("0", "1"), unless=("c", "0"))
    c = Gene("c", ("0", "1"), when=("a", "1"))
    with pytest.raises(ConfigError, match="circle among 'a', 'b', 'c'"):
        Optimizer(Declared(KERNEL, a, b, c))


def test_many_genes_that_others_depend_on_are_not_counted_out() -> None:
    genes = [Gene(f"s{i}", ("off", "on")) for i in range(40)]
    genes += [Gene(f"x{i}", ("0", "1"), when=(f"s{i}", "on")) for i in range(40)]
    assert Conditions(genes).count == 2**80
