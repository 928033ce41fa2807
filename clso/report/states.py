"""The states of a Neural State Machine that won: which of them are used, and how much they move
along a text."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clso.report.style import COLOURS, GREY, OWN, ROUND, RULE, TEST, Margins, add_axes, new_figure
from clso.report.traced import States

__all__ = ["draw_states"]

_COLOURS = (OWN, TEST, *COLOURS)


def draw_states(states: States) -> Figure:
    """Left, the share of all routed weight by state; right, by chunk, the states' change as a share
    of their size."""
    layers = [
        f"Layer {i}: routing entropy {entropy:.2f} of 1; {sparsity:.0%} of routing weights under 0.01; {used:.1f} states in "
        f"effect; states are {reading:.0%} of reading."
        for i, (entropy, sparsity, used, reading) in enumerate(
            zip(states.entropy, states.sparsity, states.used, states.reading, strict=True)
        )
    ]
    figure, head = new_figure(9.6, 3.4, "States of the winner, on valid text", layers[:6])
    bars = add_axes(figure, Margins(0.8, 0.75, 5.4, head + 0.25))
    lines = add_axes(figure, Margins(5.4, 0.75, 0.9, head + 0.25))
    n_layers, n_states = states.utilisation.shape
    width = 0.8 / n_layers
    for i, (share, change) in enumerate(zip(states.utilisation, states.change, strict=True)):
        colour = _COLOURS[i % len(_COLOURS)]
        bars.bar(np.arange(n_states) + (i - (n_layers - 1) / 2) * width, share, width, color=colour)
        lines.plot(
            np.arange(1, len(change) + 1),
            change,
            color=colour,
            lw=1.8,
            marker="o",
            ms=3,
            label=f"layer {i}",
        )
    bars.axhline(1 / n_states, color=GREY, lw=1, ls=":")
    bars.set_xlabel("state (dotted: all alike)")
    bars.set_ylabel("share of routed weight")
    lines.set_xlabel("chunk of the text")
    lines.set_ylabel("change over the chunk / size")
    lines.set_ylim(bottom=0)
    for axes in (bars, lines):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=ROUND, min_n_ticks=1))
        axes.grid(axis="y", color=RULE, lw=0.7)
    lines.legend(loc="upper right", frameon=False, fontsize=9)
    return figure
