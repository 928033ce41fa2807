"""The end of a run: choose the winner on `valid`, write it to disk, read it back, and only then
state its loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clso.energy.ledger import Ledger
from clso.engine import ParetoEngine
from clso.errors import EvaluationError
from clso.evaluation.evaluator import Evaluator
from clso.models.gpt2 import LanguageModel, n_targets, text_loss
from clso.models.nsm_trace import summary
from clso.models.sequence import SequenceModel
from clso.models.store import load_model, save_model
from clso.run.failures import failure_reasons
from clso.run.folder import RunFolder
from clso.search.generations import Listener, Search
from clso.search.promotion import KEPT, Promotion
from clso.space import Genome
from clso.space.build import all_options
from clso.space.language import LanguageModelSpace
from clso.space.objectives import Objectives
from clso.space.results import Evaluation

__all__ = [
    "Choice",
    "Winner",
    "choose_winner",
    "finish",
    "pick_winner",
    "remeasure",
    "states_of",
    "successive_halving",
]

_TRACED = 16  # blocks that a winner's states are looked at on


def successive_halving(
    evaluator: Evaluator,
    measured: Sequence[Evaluation],
    finalists: int,
    promotion: Promotion | None = None,
) -> list[list[Evaluation]]:
    """Measure the best candidates on the higher rungs: each rung's evaluations, best first,
    `measured` not included.

    Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943); the last rung leaves at least
    `finalists`. Whom the search promoted is not measured again, and stands as it did there."""
    standing = {} if promotion is None else promotion.standing()
    best = sorted((e for e in measured if e.ok), key=lambda e: standing.get(e.genome, e.value))
    n_rungs = len(evaluator.fidelities)
    rungs = []
    for rung in range(1, n_rungs):
        genomes = [e.genome for e in best[: finalists * KEPT ** (n_rungs - rung)]]
        known = {} if promotion is None else {g: promotion.lookup(rung, g) for g in genomes}
        new = evaluator.evaluate([g for g in genomes if known.get(g) is None], rung)
        found = known | {e.genome: e for e in new}
        evaluations = [e for g in genomes if (e := found[g]) is not None]
        best = sorted((e for e in evaluations if e.ok), key=lambda e: e.value)
        rungs.append(evaluations)
    return rungs


@dataclass(frozen=True)
class Choice:
    """The winner, chosen among finalists on tokens of `valid`, and its loss on them, read from
    disk.

    `model` is what was read from there. `losses` are the finalists' batched ones, in their order.
    """

    genome: Genome
    model: LanguageModel
    valid_loss: float
    losses: tuple[float, ...]
    n_tokens: int


def choose_winner(
    space: LanguageModelSpace, finalists: Sequence[Genome], folder: Path, n_tokens: int
) -> Choice:
    """Choose by one batched pass over `n_tokens` of `valid`, write the model to `folder`,
    re-measure it from there.

    The stated loss is the float32 model's, whatever precision the batched pass used. Raises
    `EvaluationError` if no finalist has a finite loss."""
    sample = space.text("valid", n_tokens)
    losses = space.losses(finalists, sample).tolist()
    finite = [
        (loss, genome)
        for loss, genome in zip(losses, finalists, strict=True)
        if math.isfinite(loss)
    ]
    if not finite:
        raise EvaluationError("at least one finalist has a finite loss on valid", got=losses)
    _, genome = min(finite)
    save_model(space.final_model(genome), folder)
    model = load_model(folder, device=space.context.device, trim=True)
    valid_loss = text_loss(model, sample)
    n_forward = n_targets(sample) * (len(finalists) + 1)
    return Choice(genome, model, valid_loss, tuple(losses), n_forward)


def remeasure(space: LanguageModelSpace, model: LanguageModel) -> dict[str, Any]:
    """The losses of a model that was read from disk, on all of `valid` and `test`."""
    valid, test = space.text("valid"), space.text("test")
    losses = {"valid_loss": text_loss(model, valid), "test_loss": text_loss(model, test)}
    return {**losses, "n_test_tokens": n_targets(test)}


def states_of(space: LanguageModelSpace, model: LanguageModel, folder: Path) -> dict[str, Any]:
    """What goes on in the states of a model, on some blocks of `valid`
    (`clso.models.nsm_trace.summary`): as it lies in `folder`, with its silent layers.

    Empty for a model that has none.
    """
    if not isinstance(model, SequenceModel):
        return {}
    whole = load_model(folder, device=space.context.device)
    assert isinstance(whole, SequenceModel)
    return summary(whole.trace(space.blocks("valid", _TRACED * space.config.n_positions)[:, :-1]))


@dataclass(frozen=True)
class Winner:
    """The outcome of a search. `best` is {"valid_loss": ...} on `valid_tokens`, or {"fitness": ...}
    of other spaces. `model` is a language model's winner as it was read from disk."""

    genome: Genome
    best: dict[str, Any]
    tokens_forward: int
    model: LanguageModel | None = None


def pick_winner(folder: RunFolder, search: Search, ledger: Ledger, listener: Listener) -> Winner:
    """Measure finalists on the higher rungs, and choose among them on `valid`; record both."""
    space, config = search.space, search.config
    tokens_forward = search.tokens_forward
    best: dict[str, Any]
    model: LanguageModel | None = None
    is_noisy = search.optimizer.repeats is not None
    if isinstance(space, LanguageModelSpace) or (
        len(search.evaluator.fidelities) > 1 and not is_noisy
    ):
        listener.phase("measuring the finalists")
    with ledger.phase("validate"):
        promotion, rungs = search.promotion, []
        if not is_noisy:
            rungs = successive_halving(
                search.evaluator, search.contenders, config.finalists, promotion
            )
        new = [
            e
            for rung in rungs
            for e in rung
            if promotion is None or promotion.lookup(e.fidelity, e.genome) is None
        ]
        last = sorted(
            (e for e in (rungs or [search.contenders])[-1] if e.ok), key=lambda e: e.value
        )
        if not last:
            raise EvaluationError(
                "at least one candidate can be measured on the highest rung", got=0
            )
        rows: list[dict[str, Any]] = [
            {"type": "evaluation", "generation": None, **e.to_json()} for e in new
        ]
        tokens_forward += sum(e.n_tokens for e in new)
        if isinstance(space, LanguageModelSpace):
            finalists = [e.genome for e in last[: config.finalists]]
            choice = choose_winner(space, finalists, folder.path / "best", config.valid_tokens)
            tokens_forward += choice.n_tokens
            rows += [
                {
                    "type": "finalist",
                    "genome": list(g),
                    "valid_loss": v if math.isfinite(v) else None,
                }
                for g, v in zip(finalists, choice.losses, strict=True)
            ]
            winner = choice.genome
            best, model = {"valid_loss": choice.valid_loss}, choice.model
        else:
            winner = last[0].genome
            best = {"fitness": last[0].value, "values": _values_of(winner, search)}
            if is_noisy:
                best |= _certainty(winner, search)
    folder.append(rows)
    return Winner(winner, best, tokens_forward, model)


def _certainty(genome: Genome, search: Search) -> dict[str, Any]:
    """How often the winner was measured, and where its mean lies, as it was measured; None if no
    genome was measured twice."""
    found = search.optimizer.estimate(genome)
    ends = [search.objectives.shown((end,))[0] for end in (found.low, found.high)]
    is_known = all(map(math.isfinite, ends))
    return {"n_measured": found.n, "interval": sorted(ends) if is_known else None}


def _values_of(genome: Genome, search: Search) -> dict[str, float]:
    """The winner's objectives by name, as they were measured on the first rung."""
    objectives = search.objectives
    evaluation = search.engine.lookup(genome)
    assert evaluation is not None
    return dict(zip(objectives.names, objectives.shown(evaluation.values), strict=True))


def finish(
    folder: RunFolder, search: Search, winner: Winner, ledger: Ledger, listener: Listener
) -> dict[str, Any]:
    """Re-measure the winner on all of `valid` and `test`, write and return result.json."""
    space, config, best = search.space, search.config, winner.best
    more: dict[str, Any]
    if isinstance(space, LanguageModelSpace):
        assert winner.model is not None
        listener.phase("re-measuring the winner from disk")
        with ledger.phase("test"):
            best = best | remeasure(space, winner.model)
            states = states_of(space, winner.model, folder.path / "best")
            more = {"states": states} if states else {}
    else:
        with ledger.phase("test"):
            more = search.objectives.checked.conclude(winner.genome, folder.path / "best")
            best = best | more.pop("best", {})
    counts, objectives = search.counts, search.objectives
    if space.work_unit:
        spent = more.pop("counts", {}).get(space.work_unit, 0)
        counts = {**counts, space.work_unit: winner.tokens_forward + spent}
    result = {
        "best": {
            "genome": list(winner.genome),
            "alleles": search.objectives.checked.describe(winner.genome),
            "inactive": search.objectives.checked.inactive(winner.genome),
            **best,
        },
        "counts": counts,
        "failures": failure_reasons(search.evaluations),
        "tokens_forward": winner.tokens_forward,
        **ledger.summary(),
        "surrogate": search.surrogate_summary,
        "space": config.space,
        **{k: v for k, v in all_options(config).items() if k == "library"},
        "seed": config.seed,
        "measure": objectives.measure,
        **more,
    }
    if search.earlier.runs:
        result["warm_from"] = search.warm_summary
    if search.pareto is not None:
        result |= front_summary(search.pareto, search.objectives)
    if isinstance(space, LanguageModelSpace):
        result["log_vocabulary"] = math.log(space.corpus.vocab_size)
    else:
        result["optimum"] = search.objectives.checked.optimum()
    return folder.write_result(result)


def front_summary(engine: ParetoEngine, objectives: Objectives) -> dict[str, Any]:
    """For result.json: the front's genomes with their values, true evaluations all."""
    names = list(objectives.names)
    if isinstance(objectives.space, LanguageModelSpace):
        # The loss on the fitness text's first rung: the search's own, and no result of a model.
        names[0] = "fitness_loss"
    front = [
        {
            "genome": list(e.genome),
            "alleles": objectives.checked.describe(e.genome),
            "inactive": objectives.checked.inactive(e.genome),
            "values": dict(zip(names, objectives.shown(e.values), strict=True)),
        }
        for e in engine.front
    ]
    return {
        "objectives": names,
        "directions": list(objectives.directions),
        "front": front,
        "hypervolume": engine.hypervolume,
        "hypervolume_reference": dict(
            zip(names, objectives.shown(engine.reference or ()), strict=True)
        ),
    }
