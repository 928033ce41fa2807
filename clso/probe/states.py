"""Dynamic states: how many are in use, whether they follow the task, and what pruning does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
import torch

from clso.models.nsm import SimpleNSM
from clso.models.nsm_states import allocate_states, prune_states
from clso.probe.context import Context, peak_bytes
from clso.probe.figure import Figure, Figures, missing
from clso.probe.traces import NO_TRACE, Floats, Trace, sequences, trace_of
from clso.tasks.scoring import score

__all__ = ["allocated", "measure", "pruning", "stability"]

_TRACED = ("states_allocated", "complexity_correlation", "assignment_stability")
_PRUNED = (
    *("pruning_error", "pruning_loss", "random_pruning_loss"),
    "pruning_memory_saved",
)
_ALLOCATED_AT = 1.0  # tokens' worth of weight sent to a state
_PARTS = 10
_RANDOM = 5


def measure(context: Context) -> Figures:
    """The group "states"."""
    traces = trace_of(context.model, sequences(context.examples), context.device)
    found = (
        missing(_TRACED, NO_TRACE)
        if traces is None
        else {
            "states_allocated": allocated(traces),
            "complexity_correlation": _complexity(context, traces),
            "assignment_stability": stability(traces),
        }
    )
    if not isinstance(context.model, SimpleNSM):
        return found | missing(_PRUNED, "states are pruned of a SimpleNSM")
    return found | pruning(context, context.model)


def _n_allocated(trace: Trace, n_tokens: int) -> float:
    """States, mean over layers, that were sent at least a token's worth by the first `n_tokens`."""
    mass = trace.routing[:, :n_tokens].sum(axis=1)
    return float((mass >= _ALLOCATED_AT).sum(axis=1).mean())


def allocated(traces: Sequence[Trace]) -> Figure:
    """At the end of a sequence, mean; `points` over its course."""
    points = [
        [
            part / _PARTS,
            float(np.mean([_n_allocated(t, round(part * len(t.tokens) / _PARTS)) for t in traces])),
        ]
        for part in range(_PARTS + 1)
    ]
    return Figure(points[-1][1], detail={"points": points, "states": traces[0].n_states})


def _complexity(context: Context, traces: Sequence[Trace]) -> Figure:
    """Spearman's correlation over sequences, with that of length beside it."""
    features = [context.task.token_features(trace.tokens) for trace in traces]
    name = next(iter(features[0]))
    complexity = np.array([feature[name].max() for feature in features])
    counts = np.array([_n_allocated(trace, len(trace.tokens)) for trace in traces])
    lengths = np.array([len(trace.tokens) for trace in traces])
    if len(set(counts.tolist())) == 1:
        return Figure(None, f"every sequence allocates {counts[0]:g} states")
    if len(set(complexity.tolist())) == 1:
        return Figure(None, f"every sequence has the {name} {complexity[0]:g}")
    rho, p = scipy.stats.spearmanr(counts, complexity)
    detail: dict[str, object] = {"feature": name, "p": float(p), "n": len(traces)}
    if len(set(lengths.tolist())) > 1:
        detail["correlation_with_length"] = float(scipy.stats.spearmanr(counts, lengths)[0])
    return Figure(float(rho), detail=detail)


def stability(traces: Sequence[Trace]) -> Figure:
    """How often two occurrences of a token in one sequence have the same heaviest state, above
    chance, as a share of what chance leaves (Cohen 1960): 1 if the token decides, 0 if it does not
    matter."""
    same = pairs = 0.0
    n_layers, n_states = len(traces[0].routing), traces[0].n_states
    used = np.zeros((n_layers, n_states))
    for trace in traces:
        heaviest = trace.routing.argmax(axis=2)
        for layer, states in enumerate(heaviest):
            used[layer] += np.bincount(states, minlength=n_states)
            for token in np.unique(trace.tokens):
                counts = np.bincount(states[trace.tokens == token])
                n = int(counts.sum())
                pairs += n * (n - 1) / 2
                same += float((counts * (counts - 1) / 2).sum())
    if not pairs:
        return Figure(None, "no token occurs twice in a sequence")
    shares = used / used.sum(axis=1, keepdims=True)
    chance = float((shares**2).sum(axis=1).mean())
    share = same / pairs
    detail = {"same": share, "chance": chance, "pairs": pairs}
    if chance > 1 - 1e-9:
        return Figure(None, "all tokens have the same heaviest state", detail=detail)
    return Figure((share - chance) / (1 - chance), detail=detail)


@torch.no_grad()
def pruning(context: Context, model: SimpleNSM) -> Figures:
    """Half of the states dropped by importance, beside half dropped at random; and that dropping
    states of importance zero changes nothing."""
    batch, n = context.batch(), model.config.n_states
    more = allocate_states(model, max(1, n // 2), torch.Generator().manual_seed(0))
    clean: Floats = model(batch.tokens, batch.mask).double().cpu().numpy()
    back = prune_states(more, n)
    again: Floats = back(batch.tokens, batch.mask).double().cpu().numpy()
    left = max(1, n // 2)
    generator = torch.Generator().manual_seed(0)
    shape = (model.config.n_layers, n)
    losses = {
        "before": _loss(context, model),
        "after": _loss(context, prune_states(model, left)),
    }
    at_random = [
        _loss(
            context,
            prune_states(
                model,
                left,
                ranking=torch.rand(shape, generator=generator).to(batch.tokens.device),
            ),
        )
        for _ in range(_RANDOM)
    ]
    small = prune_states(model, left)
    peaks = [_peak(context, one) for one in (model, small)]
    detail = {"states": n, "kept": left, **losses}
    return {
        "pruning_error": Figure(float(np.abs(again - clean).max())),
        "pruning_loss": Figure(losses["after"] - losses["before"], detail=detail),
        "random_pruning_loss": Figure(
            float(np.mean(at_random)) - losses["before"], detail={**detail, "random": at_random}
        ),
        "pruning_memory_saved": Figure(
            1 - peaks[1] / peaks[0], detail={"before_bytes": peaks[0], "after_bytes": peaks[1]}
        ),
    }


def _loss(context: Context, model: SimpleNSM) -> float:
    return score(model, context.examples, batch=context.settings.batch, device=context.device).loss


def _peak(context: Context, model: SimpleNSM) -> int:
    batch = context.batch()
    held = [*model.parameters(), *model.buffers(), batch.tokens, batch.mask]
    return peak_bytes(lambda: model(batch.tokens, batch.mask), held, context.device)
