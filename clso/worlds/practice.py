"""How practice goes in every learner here: few blocks first, and loops are erased from what is learned."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["curriculum", "loops_erased"]

_SMALLEST, _LARGEST = 3, 5  # blocks


def curriculum(blocks: int, practice: int, *, rising: bool = True) -> list[tuple[int, int]]:
    """(blocks, episodes) of `practice` episodes, in order: a quarter with three blocks, a quarter with four,
    half with five, the most that are practised with however many the exam has."""
    largest = min(blocks, _LARGEST)
    if not rising or largest == _SMALLEST:
        return [(largest, practice)]
    sizes = list(range(_SMALLEST, largest))
    each = practice // 4 if largest == _LARGEST else practice // 2
    return [*((n, each) for n in sizes), (largest, practice - each * len(sizes))]


def loops_erased(hashes: Sequence[int]) -> list[int]:
    """The steps of a walk that remain when its loops are erased, in order (Lawler 1980). `hashes` are of its states, the
    last one included; step i goes from state i to state i + 1."""
    path: list[int] = []
    place: dict[int, int] = {}
    for i, state in enumerate(hashes[:-1]):
        if state in place:
            for dropped in path[place[state] :]:
                del place[hashes[dropped]]
            del path[len(place) :]
        place[state] = len(path)
        path.append(i)
    return path
