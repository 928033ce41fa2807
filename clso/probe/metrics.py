"""Every metric of the framework by name: its group, its unit, which way is better, and what it is.

`docs/probe.md` shows this table, and every record has a row for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GROUPS", "METRICS", "Metric", "names_of"]

Better = Literal["less", "more", ""]


@dataclass(frozen=True)
class Metric:
    """`better` is empty where neither way is."""

    name: str
    group: str
    unit: str
    better: Better
    text: str


def _group(name: str, *rows: tuple[str, str, Better, str]) -> tuple[Metric, ...]:
    return tuple(Metric(metric, name, *rest) for metric, *rest in rows)  # type: ignore[arg-type]


METRICS: tuple[Metric, ...] = (
    *_group(
        "task",
        ("accuracy", "", "more", "Share of right answers on all of test."),
        ("loss", "nats", "less", "Mean cross-entropy of the answers on all of test."),
        ("chance", "", "", "Accuracy of the answer that is most frequent in train."),
        ("parameters", "", "less", "Trainable numbers, shared ones once."),
        ("training_steps", "", "less", "Steps up to the weights that were best on valid."),
        ("training_time_s", "s", "less", "Seconds of all training steps, without scoring."),
        ("training_tokens", "", "less", "Tokens that were trained on, without padding."),
    ),
    *_group(
        "inference",
        ("time_per_sequence_s", "s", "less", "Mean time of a forward pass over one test sequence."),
        ("time_per_token_s", "s", "less", "The same time, by tokens of the sequences."),
        ("latency_p50_s", "s", "less", "Median time of a forward pass over one test sequence."),
        ("latency_p95_s", "s", "less", "95th percentile of those times."),
        ("latency_p99_s", "s", "less", "99th percentile of those times."),
        ("tokens_per_s", "1/s", "more", "Tokens of test in a second, in batches of training's."),
        ("step_time_s", "s", "less", "Median time of a training step: forward, backward, AdamW."),
        ("static_bytes", "B", "less", "Weights and buffers in memory."),
        (
            "peak_bytes",
            "B",
            "less",
            "Most memory alive in a forward pass over the longest test sequence, weights included.",
        ),
        ("step_peak_bytes", "B", "less", "Most memory alive in a training step on one batch."),
        ("disk_bytes", "B", "less", "Size of the saved model: weights and configuration."),
        (
            "energy_per_inference_j",
            "J",
            "less",
            "Gross joules of one test sequence, one at a time.",
        ),
        ("energy_per_step_j", "J", "less", "Gross joules of a training step."),
    ),
)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(metric.group for metric in METRICS))


def names_of(group: str) -> tuple[str, ...]:
    """The metrics of a group, in order."""
    return tuple(metric.name for metric in METRICS if metric.group == group)
