"""The straight line: config -> corpus -> library -> search -> winner, re-measured from disk ->
result.json.

    result = evolve(RunConfig(gens=50), Path("runs/local/demo"))

`evolve` starts a run, `resume` continues one; both go through the same code, so that an interrupted
run ends like an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clso import plugins
from clso.config import RunConfig
from clso.device import quiet_host, resolve_device
from clso.energy import open_meter
from clso.energy.ledger import Ledger
from clso.errors import ClsoError, ConfigError, RunFolderError
from clso.evaluation.execution import ExecutionBackend
from clso.evaluation.opening import open_execution
from clso.evaluation.workers import Workers
from clso.run.consent import remember, require_agreed
from clso.run.context import RunContext, workers_to_resume
from clso.run.finish import Winner, finish
from clso.run.folder import RunFolder
from clso.run.manifest import make_manifest
from clso.run.mirror import Mirror, mirrored
from clso.run.training import train
from clso.run.warm import earlier_runs
from clso.search.earlier import EarlierRun
from clso.search.generations import Listener
from clso.space.build import build_space
from clso.space.language import LanguageModelSpace
from clso.space.objectives import ENERGY, Objectives

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = ["Trained", "evolve", "resume", "train_on"]


def evolve(
    config: RunConfig,
    out: Path,
    *,
    listener: Listener | None = None,
    stop: Callable[[], bool] | None = None,
    cache_dir: Path | None = None,
    workers: Workers | None = None,
    sync: str = "",
) -> dict[str, Any]:
    """Run a search in the new folder `out`.

    Parameters
    ----------
    config
        All that the run's outcome depends on.
    out
        The run folder; nothing may be there.
    listener
        Is told of every generation.
    stop
        Asked after every generation; if it says so, the state is on disk and `Interrupted` is
        raised.
    cache_dir
        Where token files are kept, if not in the user's cache.
    workers
        Where candidates are measured; in this process by default.
    sync
        A URL at which a copy of the folder is kept (`clso.run.mirror`).

    Returns
    -------
    dict
        What result.json holds.

    Raises
    ------
    ClsoError
        Bad settings or data, an existing folder, or a search of which every candidate failed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> config = RunConfig(gens=4, pop=8, space="nk", energy="null", device="cpu")
    >>> with TemporaryDirectory() as folder:
    ...     result = evolve(config, Path(folder, "run"))
    >>> result["counts"]["evaluated"]
    32
    """
    # Everything that can be wrong with the settings is found before the folder is made.
    device = resolve_device(config.device)
    with plugins.files_pass(remember):
        context = RunContext.load(
            config, device, listener=listener, stop=stop, cache_dir=cache_dir, workers=workers
        )
    runs = [EarlierRun.read(Path(path)) for path in config.warm_from]
    if sync:
        Mirror(out, sync).require_new()
    folder = RunFolder.create(out, config)
    try:
        with mirrored(folder, sync):
            return _execute(folder, context, runs=runs)
    except BaseException:
        if not (out / "checkpoint.json").exists():
            folder.discard()
        raise
    finally:
        folder.close()


def resume(
    out: Path,
    *,
    listener: Listener | None = None,
    stop: Callable[[], bool] | None = None,
    cache_dir: Path | None = None,
    workers: Workers | None = None,
    sync: str = "",
    trust: bool = False,
    gens: int | None = None,
) -> dict[str, Any]:
    """Continue an interrupted run, with other `workers` if they are given. A finished run is
    returned as it is, unless it is to have more generations, `gens` in all: then it is searched
    further, and has another winner. Its energy is then not known: some of it was spent after the
    last generation.

    A folder that came from others runs nothing of its own and joins no cluster, unless you `trust`
    it: of plugin files only those run that a run of yours has recorded (`clso.run.consent`). Raises
    `RunFolderError` for a folder that holds no evolved run, a damaged or foreign checkpoint, or
    something that it is not trusted with. The folder is then as it was."""
    folder = RunFolder.open(out)
    if (out / "manifest.json").exists() and "baseline" in folder.read_json("manifest.json").get(
        "plugins", ()
    ):
        raise RunFolderError(
            "only evolved runs are resumed", got=str(out), remedy="Run the baseline again."
        )
    config = folder.config
    more = gens is not None and gens > config.gens
    if gens is not None and not more and gens != config.gens:
        raise ConfigError(
            "a run goes on to more generations than it has",
            got=gens,
            remedy=f"It has {config.gens}.",
        )
    if folder.finished and not more:
        return folder.read_result()
    if more:
        if folder.finished:
            folder.require_written("config.toml", "records.jsonl")
        config = config.with_options(gens=gens)
    folder.lock()
    try:
        before = folder.heads()
        state = folder.load_checkpoint()
        device = resolve_device(config.device)
        workers = workers_to_resume(folder, trust=trust) if workers is None else workers
        with plugins.files_pass(remember if trust else require_agreed), mirrored(folder, sync):
            try:
                context = RunContext.load(
                    config,
                    device,
                    listener=listener,
                    stop=stop,
                    cache_dir=cache_dir,
                    workers=workers,
                )
                reopen = partial(folder.reopen, config) if more else None
                return _execute(folder, context, state, resumed=True, reopen=reopen)
            except ClsoError as error:
                if error.exit_code == 2:  # it was refused, and has measured nothing
                    folder.put_back(before)
                raise
    finally:
        folder.close()


@dataclass(frozen=True)
class Trained:
    """What one run of `train_on` did. `best` has `valid_loss`; `account` is the time by phase, as
    in result.json."""

    winner: Winner
    counts: dict[str, int]
    account: dict[str, Any]


def train_on(corpus: Corpus, context: RunContext, out: Path) -> Trained:
    """One whole run in the new folder `out`, from tokens to the winner scored on `valid`; `test`
    stays unread.

    Nothing is loaded or tokenized and no energy is read here: `clso prove` repeats it inside
    windows of its own. It is the same line as `evolve`, bookkeeping included, in this process."""
    with quiet_host(context.device):  # around all that a run makes, so that all of it goes
        return _train_on(corpus, context, out)


def _train_on(corpus: Corpus, context: RunContext, out: Path) -> Trained:
    """Apart, so that what it makes is no longer named when the host looks for garbage."""
    config, device = context.config, context.device
    with open_meter("null", device) as meter:
        ledger = Ledger(meter)
        folder = RunFolder.create(out, config)
        try:
            space = build_space(context.space_plugin, config, device, corpus=corpus)
            objectives = Objectives.of(config, space, meter)
            search, winner = train(folder, context, objectives, ledger, ExecutionBackend(device))
        finally:
            folder.close()
        return Trained(winner, search.counts, ledger.summary())


def _require_same_plugins(folder: RunFolder, plugins: dict[str, dict[str, str]]) -> None:
    recorded = folder.read_json("manifest.json").get("plugins")
    if recorded != plugins:
        raise RunFolderError(
            f"a run goes on with the plugins that it began with, {recorded}",
            got=plugins,
            remedy="Put them back, or start a new run.",
        )


def _execute(
    folder: RunFolder,
    context: RunContext,
    state: dict[str, Any] | None = None,
    *,
    resumed: bool = False,
    runs: Sequence[EarlierRun] = (),
    reopen: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """The whole line, from the begin or from the `state` of a checkpoint; what result.json holds.

    A new run starts from `runs`, and one that is resumed from its copy of them. `reopen` is called
    once nothing more can be refused, before anything is written."""
    config, device, listener = context.config, context.device, context.listener
    if state:
        _require_same_plugins(folder, context.plugins)
    if workers := context.workers:
        listener.phase(f"joining Ray at {workers.ray}" if workers.ray else "starting Ray")
    # The run's meter has its window open while candidates are measured, so they have one of their
    # own.
    candidates = config.energy if ENERGY in config.objective else "null"
    with (
        open_execution(context.workers, device) as place,
        open_meter(config.energy, place.devices) as meter,
        open_meter(candidates, device) as candidate_meter,
    ):
        place.check_energy(measured=meter.reason is None)
        ledger = Ledger(meter, state["ledger"] if state else None)
        if resumed and not (state and state["clean"]):
            ledger.lost("search" if state else "library")
        listener.started(ledger)
        if config.idle_s and meter.reason is None:
            listener.phase("measuring idle power")
            meter.measure_idle(config.idle_s)
        with ledger.phase("data"):
            space = build_space(context.space_plugin, config, device, context.cache_dir)
            objectives = Objectives.of(config, space, candidate_meter)
            if config.noise and isinstance(space, LanguageModelSpace):
                raise ConfigError(
                    "noise is drawn by an objective",
                    problem=f"space {config.space} measures each genome on one text, without any",
                    remedy="Leave noise out: the winner is measured on another text in any case.",
                )
            if isinstance(space, LanguageModelSpace):
                listener.phase("reading the text")
                for split in ("fitness", "valid", "test"):
                    # a text that is too short shows now, not after the search
                    space.text(split, 1)
        earlier = earlier_runs(folder, space, objectives.names[0], runs)
        if reopen is not None:
            reopen()
        if state and state["clean"]:
            folder.save_checkpoint({**state, "clean": False})  # from here on a kill loses joules
        with context.space_plugin.as_plugin_error("say what its genes are"):
            manifest = make_manifest(context, space, meter)
        folder.write_json("manifest.json", manifest)
        with quiet_host(device):
            search, winner = train(folder, context, objectives, ledger, place, state, earlier)
        result = finish(folder, search, winner, ledger, listener)
    listener.finished(result)
    return result
