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
        (
            "training_time_s",
            "s",
            "less",
            "Seconds of all training steps, without scoring; with --jobs beside other trainings.",
        ),
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
    *_group(
        "scaling",
        (
            "time_by_length",
            "",
            "less",
            "Exponent b of n^b fitted to the time of a forward and backward pass over n tokens, batch "
            "1, from half to eight times the task's longest sequence; the best of n, n log n and n^2.",
        ),
        ("memory_by_length", "", "less", "The same of the most memory alive."),
        ("time_by_batch", "", "less", "The same of the time, over batches of 1 to 16 sequences."),
        (
            "time_by_size",
            "",
            "less",
            "The same of the time, over parameters, d_model up to fourfold.",
        ),
        (
            "time_by_gpus",
            "",
            "less",
            "Time of a batch's gradient on two GPUs over that on one; one half would be ideal.",
        ),
    ),
    *_group(
        "hardware",
        (
            "bytes_moved_per_step",
            "B",
            "less",
            "Bytes of all operators' arguments and results in a training step, views left out.",
        ),
        ("cpu_utilisation", "", "", "CPU seconds by wall-clock seconds over training steps."),
        (
            "gpu_utilisation",
            "",
            "more",
            "Share of time in which a kernel ran, by NVML, over steps.",
        ),
        (
            "memory_busy_share",
            "",
            "",
            "Share of time in which the card's memory was used, by NVML.",
        ),
        (
            "memory_bandwidth_share",
            "",
            "more",
            "Bytes moved per second of a step, by the card's greatest bandwidth (NVML); caches can "
            "take it above 1.",
        ),
        (
            "transfer_time_share",
            "",
            "less",
            "Share of steps that fetch their batch in which host and device copy, by torch's profiler.",
        ),
    ),
    *_group(
        "robustness",
        ("accuracy_2x", "", "more", "Accuracy on sequences drawn twice as long as training's."),
        ("accuracy_4x", "", "more", "Accuracy on sequences drawn four times as long."),
        ("loss_4x", "nats", "less", "Loss on sequences drawn four times as long."),
        ("extrapolation", "", "more", "Accuracy at four times the length over that at training's."),
        (
            "degradation_slope",
            "",
            "more",
            "Accuracy gained (lost, if negative) with each doubling of the length, by least squares.",
        ),
        (
            "noise_drop",
            "",
            "less",
            "Accuracy lost when 10 % of tokens are dropped (1 to 30 % in the record), against the "
            "clean sequences' answers, which noise can change.",
        ),
        ("noise_swap", "", "less", "The same when 10 % of tokens change places with the next."),
        ("noise_replace", "", "less", "The same when 10 % of tokens become others."),
        (
            "adversarial",
            "",
            "less",
            "Accuracy lost after up to four flips of single tokens, each the worst for the loss of 32 "
            "drawn; if the task can tell (ListOps), only flips that keep the answer.",
        ),
    ),
    *_group(
        "sensitivity",
        ("seed_sensitivity", "", "less", "Deviation over seeds of valid accuracy."),
        (
            "lr_sensitivity",
            "",
            "less",
            "Range of valid accuracy over a third of, once and three times the learning rate.",
        ),
    ),
    *_group(
        "states",
        (
            "states_allocated",
            "",
            "",
            "States, mean over layers, that were sent at least one token's weight by a sequence's end.",
        ),
        (
            "complexity_correlation",
            "",
            "more",
            "Spearman's correlation of allocated states with the complexity of sequences (ListOps: depth).",
        ),
        (
            "assignment_stability",
            "",
            "",
            "How often two occurrences of a token in a sequence have the same heaviest state, above "
            "chance (Cohen's kappa).",
        ),
        (
            "pruning_error",
            "",
            "less",
            "Greatest change of a logit when states of importance zero are added and pruned again.",
        ),
        (
            "pruning_loss",
            "nats",
            "less",
            "Loss added by pruning the less important half of states.",
        ),
        (
            "random_pruning_loss",
            "nats",
            "",
            "The control: half of states pruned at random, mean of 5.",
        ),
        (
            "pruning_memory_saved",
            "",
            "more",
            "Share of peak memory that pruning half of states saves.",
        ),
    ),
    *_group(
        "interpretability",
        ("routing_sparsity", "", "", "Share of routing weights under 0.01."),
        ("routing_entropy", "", "", "Mean entropy of a token's routing, by that of even routing."),
        ("states_per_token", "", "", "exp of that entropy: the states that a token is sent to."),
        (
            "consistency",
            "",
            "more",
            "Overlap of routing with the same sequence under other names (stories) or digits (ListOps), "
            "above that with another sequence, as a share of what that leaves.",
        ),
        (
            "state_clusters",
            "",
            "",
            "Silhouette of k-means on final states, with the best k from 2 to 8.",
        ),
        (
            "smoothness",
            "",
            "",
            "Mean cosine of a state's successive changes: 1 a straight line, 0 a random walk, -1 to and fro.",
        ),
        (
            "feature_r2",
            "",
            "more",
            "R^2 of ridge regression from a token's routing to the task's feature of it (ListOps: open "
            "brackets), on sequences that it was not fitted on.",
        ),
    ),
)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(metric.group for metric in METRICS))


def names_of(group: str) -> tuple[str, ...]:
    """The metrics of a group, in order."""
    return tuple(metric.name for metric in METRICS if metric.group == group)
