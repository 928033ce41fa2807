"""What the routing and the states of a model can be read as."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from clso.models.nsm_trace import NEGLIGIBLE
from clso.probe.context import Context
from clso.probe.figure import Figure, Figures, missing
from clso.probe.metrics import names_of
from clso.probe.traces import NO_TRACE, Floats, Trace, sequences, trace_of
from clso.tasks.base import Task

__all__ = ["clusters", "consistency", "features_read", "measure", "routing_figures", "smoothness"]

_MOST_CLUSTERS = 8
_MOST_POINTS = 1_000
_FOLDS = 4
_ALPHAS = (1e-3, 1e-1, 1e1, 1e3)


def measure(context: Context) -> Figures:
    """The group "interpretability"."""
    rows = sequences(context.examples)
    traces = trace_of(context.model, rows, context.device)
    if traces is None:
        return missing(names_of("interpretability"), NO_TRACE)
    rng = random.Random(0)
    alike = [context.task.alike(row, rng) for row in rows]
    known = [row for row in alike if row is not None]
    if len(known) == len(rows):
        variants = trace_of(context.model, known, context.device)
        assert variants is not None
        consistent = consistency(traces, variants)
    else:
        consistent = Figure(None, f"the task {context.task.name} has no sequences that are alike")
    return {
        **routing_figures(traces),
        "consistency": consistent,
        "state_clusters": clusters(traces),
        "smoothness": smoothness(traces),
        "feature_r2": features_read(context.task, traces),
    }


def routing_figures(traces: Sequence[Trace]) -> Figures:
    """Sparsity, entropy and states per token, over all layers, heads and tokens."""
    weights = np.concatenate(
        [t.by_head.reshape(-1, t.n_states) for t in traces]
    )  # (layers heads tokens, S)
    n = weights.shape[1]
    terms = np.where(weights > 0, -weights * np.log(np.clip(weights, 1e-300, None)), 0.0)
    entropy = terms.sum(axis=1)
    return {
        "routing_sparsity": Figure(float((weights < NEGLIGIBLE).mean()), detail={"states": n}),
        "routing_entropy": Figure(float(entropy.mean()) / np.log(max(n, 2))),
        "states_per_token": Figure(float(np.exp(entropy).mean()), detail={"states": n}),
    }


def consistency(traces: Sequence[Trace], variants: Sequence[Trace]) -> Figure:
    """Overlap of a token's routing with that of its counterpart, above the overlap with the token at
    the same place of the next sequence, as a share of what that leaves."""
    own = np.mean([_overlap(a, b) for a, b in zip(traces, variants, strict=True)])
    others = [*traces[1:], traces[0]]
    chance = np.mean([_overlap(a, b) for a, b in zip(traces, others, strict=True)])
    detail = {"overlap": float(own), "with_others": float(chance)}
    if chance > 1 - 1e-9:
        return Figure(None, "all tokens are routed alike", detail=detail)
    return Figure(float((own - chance) / (1 - chance)), detail=detail)


def _overlap(one: Trace, other: Trace) -> float:
    """Weight that both send to the same states, 1 minus the total variation, mean over tokens."""
    n = min(len(one.tokens), len(other.tokens))
    return float(np.minimum(one.by_head[:, :, :n], other.by_head[:, :, :n]).sum(axis=-1).mean())


def clusters(traces: Sequence[Trace]) -> Figure:
    """Silhouette (Rousseeuw 1987) of the final states of all sequences, of k-means with the k from 2
    to 8 that has the highest; mean over layers."""
    from sklearn.cluster import KMeans  # slow to import, and no other group's
    from sklearn.metrics import silhouette_score

    if traces[0].states is None:
        return Figure(None, "the model shows no states, only where tokens are sent")
    best: list[tuple[float, int]] = []
    for layer in range(len(traces[0].states)):
        points = np.concatenate([t.states[layer, -1] for t in traces if t.states is not None])
        kept = np.random.default_rng(0).permutation(len(points))[:_MOST_POINTS]
        points = np.unique(points[kept].round(6), axis=0)
        ks = [k for k in range(2, _MOST_CLUSTERS + 1) if k < len(points)]
        if not ks:
            return Figure(None, "fewer than three states differ")
        best.append(
            max(
                (
                    float(
                        silhouette_score(
                            points, KMeans(k, n_init=4, random_state=0).fit_predict(points)
                        )
                    ),
                    k,
                )
                for k in ks
            )
        )
    return Figure(
        float(np.mean([value for value, _ in best])), detail={"clusters": [k for _, k in best]}
    )


def smoothness(traces: Sequence[Trace]) -> Figure:
    """Mean cosine of a state's successive changes, from chunk to chunk: 1 is a straight line, 0 a
    random walk, -1 going to and fro."""
    cosines: list[Floats] = []
    for trace in traces:
        if trace.states is None:
            return Figure(None, "the model shows no states, only where tokens are sent")
        change = np.diff(trace.states, axis=1)
        norm = np.linalg.norm(change, axis=-1)
        a, b = change[:, :-1], change[:, 1:]
        moved = (norm[:, :-1] > 1e-9) & (norm[:, 1:] > 1e-9)
        product = (a * b).sum(-1)[moved] / (norm[:, :-1] * norm[:, 1:])[moved]
        cosines.append(product.ravel())
    found = np.concatenate(cosines)
    if not len(found):
        return Figure(None, "no sequence has two chunks")
    return Figure(float(found.mean()), detail={"steps": len(found)})


def features_read(task: Task, traces: Sequence[Trace]) -> Figure:
    """R^2 of ridge regression from a token's routing (all layers and heads) to the task's first
    feature of that token, on sequences that it was not fitted on."""
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([_rows(trace) for trace in traces])
    known = [task.token_features(trace.tokens) for trace in traces]
    group = np.repeat(np.arange(len(traces)), [len(trace.tokens) for trace in traces])
    found: dict[str, float] = {}
    for name in known[0]:
        y = np.concatenate([features[name] for features in known])
        if y.min() == y.max():
            continue
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=_ALPHAS))
        folds = GroupKFold(n_splits=min(_FOLDS, len(traces)))
        predicted = cross_val_predict(model, x, y, groups=group, cv=folds)
        found[name] = float(r2_score(y, predicted))
    first = next(iter(known[0]))
    if first not in found:
        return Figure(None, f"every token has the same {first}")
    return Figure(found[first], detail={"feature": first, "by_feature": found})


def _rows(trace: Trace) -> Floats:
    """(T, layers heads states)."""
    rows: Floats = np.moveaxis(trace.by_head, 2, 0).reshape(len(trace.tokens), -1)
    return rows
