"""What a genome can cost at most, by arithmetic: operations a decision and bytes of what is learned."""

from __future__ import annotations

from clso.search_spaces.vsm.genes import Anatomy
from clso.search_spaces.vsm.lifetime import Rules
from clso.search_spaces.vsm.s1 import width_for
from clso.worlds.facts import LOCAL_BITS

__all__ = ["COST_NAMES", "bounds"]

COST_NAMES = ("operations", "n_bytes")

_CELL_BYTES = 12  # a pattern and two counts, as int32
_ROW_BYTES = 24  # a key and two colours
_LOCAL_CELLS, _FINAL_CELLS = (
    252,
    360,
)  # patterns that exist, without and with S5's facts; a test counts them
_MOVE_FACTS = 3  # S2's facts: an undoing move returns, so three of four combinations exist


def bounds(anatomy: Anatomy, rules: Rules) -> dict[str, float]:
    """Upper bounds, finite and the same in every process."""
    n = rules.blocks
    n_actions = n * (n + 1)
    operations = n_actions * (LOCAL_BITS + 2 * anatomy.move_facts + 2 * anatomy.final_fact)
    n_bytes = 0
    if anatomy.s1 != "off":
        operations += n_actions
    if anatomy.s1 == "table" and anatomy.habits:
        cells = _FINAL_CELLS if anatomy.final_fact else _LOCAL_CELLS
        n_bytes += _CELL_BYTES * cells * (_MOVE_FACTS if anatomy.move_facts else 1)
    if anatomy.s1 == "crystal":
        n_bytes += 4 * width_for(rules.parameters)
    if anatomy.habit_table:
        operations += 4 * n * n + 1
        n_bytes += _ROW_BYTES * anatomy.s2_rows if anatomy.habits else 0
    if anatomy.depth:
        wide = 1 + (anatomy.depth - 1) * anatomy.s4_beam
        operations += n_actions * (1 + wide)
        n_bytes += _CELL_BYTES * _LOCAL_CELLS if anatomy.model else 0
    return {"operations": float(operations), "n_bytes": float(n_bytes)}
