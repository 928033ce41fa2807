"""All that is charged to a run: library, search, and the winner chosen on `valid`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from clso.energy.ledger import Ledger
from clso.evaluation.execution import ExecutionBackend
from clso.run.context import RunContext
from clso.run.finish import Winner, pick_winner
from clso.run.folder import RunFolder
from clso.search.earlier import Earlier
from clso.search.generations import Interrupted, Search
from clso.search.steady_state import SteadySearch
from clso.space.language import LanguageModelSpace
from clso.space.objectives import Objectives

__all__ = ["train"]

_WINDOW_S = 1.0
# a checkpoint takes about as long as a small generation, and what a kill loses is computed again
_SAVE_EVERY_S = 0.1
_SAVE_SHARE = 0.1  # of the time goes into checkpoints at most, however slow the disk is


def train(
    folder: RunFolder,
    context: RunContext,
    objectives: Objectives,
    ledger: Ledger,
    place: ExecutionBackend,
    state: dict[str, Any] | None = None,
    earlier: Earlier | None = None,
) -> tuple[Search, Winner]:
    """From the unprepared space of `objectives`, or from the `state` of a checkpoint, to the winner.

    Raises `Interrupted` if the context says stop; the state is then on disk."""
    config, listener, space = context.config, context.listener, objectives.space
    plugin, surrogate = context.space_plugin, context.surrogate_plugin
    listener.phase(
        "building the library" if isinstance(space, LanguageModelSpace) else "preparing the space"
    )
    kind = SteadySearch if config.asynchronous else Search
    with ledger.phase("library"):
        with plugin.as_plugin_error("be prepared"):
            space.prepare()
            objectives.check()
            evaluator = place.evaluator(config, objectives)
            ledger.include(evaluator.usage)
        with plugin.as_plugin_error("be searched"):
            search = kind(
                space,
                evaluator,
                surrogate.value if surrogate else None,
                config,
                listener,
                objectives,
                earlier or Earlier(),
            )
    if state:
        search.load_state(state, folder.records())
    listener.phase("searching")
    _search(search, folder, ledger, context.stop)
    return search, pick_winner(folder, search, ledger, listener)


def _search(search: Search, folder: RunFolder, ledger: Ledger, stop: Callable[[], bool]) -> None:
    """Generations until the end, saved as they come. A window is closed about once a second, so
    that a kill loses little of the energy account and no joules drown in the counter's
    resolution."""
    clock = ledger.meter.clock

    def save(*, clean: bool) -> float:
        """The seconds until the next one."""
        begin_s = time.monotonic()
        folder.save_checkpoint({**search.state_dict(), "ledger": ledger.phases(), "clean": clean})
        return max(_SAVE_EVERY_S, (time.monotonic() - begin_s) / _SAVE_SHARE)

    saved, pause_s = -math.inf, 0.0
    earlier = ledger.phases().get("search")
    start = clock() - (earlier["time_s"] if earlier else 0.0)
    while not search.done:
        if stop():
            save(clean=True)
            raise Interrupted(str(folder.path))
        with ledger.phase("search"):
            begin = clock()
            while not search.done and clock() - begin < _WINDOW_S and not stop():
                folder.append(search.generation())
                folder.note_time(search.n_generations, clock() - start)
                if clock() - saved >= pause_s or search.done:
                    pause_s = save(clean=False)
                    saved = clock()
