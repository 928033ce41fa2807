"""Problems with the blocks' names removed: two have the same form exactly if renaming turns one into the other."""

from __future__ import annotations

from clso.worlds.blocks import State, above

__all__ = ["Form", "canonical_form"]

Form = tuple[tuple[int, ...], ...]


def canonical_form(start: State, goal: State) -> Form:
    """The form of a problem: what stands on what, of each group of connected blocks, in order.

    From one block the relations "under it" and "on it", in start and goal, reach its whole group in
    an order that no name has a part in; the least text over all first blocks is the group's.
    """
    relations = (start, goal, above(start), above(goal))
    groups: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for block in range(len(start)):
        if block not in seen:
            group = _order(block, relations)
            seen.update(group)
            groups.append(min(_text(_order(first, relations), start, goal) for first in group))
    return tuple(sorted(groups))


def _order(first: int, relations: tuple[list[int] | State, ...]) -> list[int]:
    order, known = [first], {first}
    for block in order:  # grows as it is walked
        for relation in relations:
            other = relation[block]
            if other >= 0 and other not in known:
                known.add(other)
                order.append(other)
    return order


def _text(order: list[int], start: State, goal: State) -> tuple[int, ...]:
    rank = {block: i for i, block in enumerate(order)}
    rank[-1] = -1
    return tuple(rank[relation[block]] for block in order for relation in (start, goal))
