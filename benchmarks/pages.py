"""The pages whose tables come from the committed records: each table lies between two comments with its name.

    python -m benchmarks.pages            # after a record in runs/ was added or changed

A test holds the pages to their records.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import (
    field,
    memory_tables,
    neuron_tables,
    nsm_tables,
    probe_tables,
    results,
    scalability_tables,
)
from benchmarks.field import goals, suite_tables

__all__ = ["PAGES", "rewritten"]

ROOT = Path(__file__).parents[1]
PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"headline": results.headline},
    "docs/results.md": {
        "headline": results.headline,
        "losses": results.losses,
        "scale": results.scale,
        "scalability": scalability_tables.scalability,
        "scalability-supports": scalability_tables.supported,
        "scalability-published": scalability_tables.projections,
        "nsm": nsm_tables.summary,
    },
    "docs/field.md": {
        "goals": partial(goals.goals, field.RECORD),
        "field": partial(suite_tables.page, field.RECORD),
    },
    "docs/grown.md": {"neurons": neuron_tables.curves},
    "docs/memory.md": {
        "memory-runs": memory_tables.runs,
        "memory-adamw": memory_tables.adamw,
        "memory-disk": memory_tables.disk,
        "memory-experts": memory_tables.experts,
        "memory-phases": memory_tables.phases,
        "memory-orders": memory_tables.orders,
        "memory-pruning": memory_tables.pruning,
        "memory-sizes": memory_tables.sizes,
        "memory-genome": memory_tables.genome,
        "memory-search": memory_tables.search,
        "memory-samples": memory_tables.samples,
    },
    "docs/nsm.md": {
        "claims": nsm_tables.claims,
        "by-length": nsm_tables.by_length,
        "in-c": nsm_tables.in_c,
        "on-cuda": nsm_tables.on_cuda,
        "spent": nsm_tables.spent,
        "scans": nsm_tables.scans,
        "listops": nsm_tables.listops,
        "language": nsm_tables.language,
    },
    "docs/probe.md": {
        "metrics": probe_tables.metrics,
        "tasks": probe_tables.tasks,
        "by-task": probe_tables.by_task,
    },
}


def rewritten(page: str) -> str:
    """The text of `page` with its tables made anew."""
    text = (ROOT / page).read_text()
    for name, make in PAGES[page].items():
        mark, end = f"<!-- {name}: python -m benchmarks.pages -->\n", f"\n<!-- /{name} -->"
        before, *inside = text.split(mark)
        if len(inside) != 1 or end not in inside[0]:
            raise SystemExit(f"{page} has one place for {name}")
        text = before + mark + make() + end + inside[0].partition(end)[2]
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(rewritten(page))
