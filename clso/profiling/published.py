"""Figures that were published for Neural State Machines without a reproducible measurement.

Neither code, nor sizes, nor length, batch or hardware came with them. They are kept here only so
that a measured profile can be held against them; nothing else reads them."""

from __future__ import annotations

__all__ = ["FASTER", "MEMORY_GB", "NSM", "PEERS", "TABLE"]

NSM = "simple-nsm"
PEERS = ("transformer", "linformer", "performer", "rwkv", "mamba")

TABLE: dict[str, dict[str, float]] = {
    "parameters": {
        "simple-nsm": 174_218,
        "advanced-hybrid": 447_820,
        "sequential-hybrid": 1_203_456,
        "lstm": 98_304,
        "transformer": 262_144,
    },
    "flops_forward": {
        "simple-nsm": 2_834_944,
        "advanced-hybrid": 7_289_344,
        "sequential-hybrid": 19_567_104,
        "lstm": 1_259_520,
        "transformer": 3_407_872,
    },
    "forward_time_s": {
        "simple-nsm": 1.23e-3,
        "advanced-hybrid": 2.67e-3,
        "sequential-hybrid": 4.89e-3,
        "lstm": 0.89e-3,
        "transformer": 3.45e-3,
    },
    "backward_time_s": {
        "simple-nsm": 2.45e-3,
        "advanced-hybrid": 5.34e-3,
        "sequential-hybrid": 9.78e-3,
        "lstm": 1.78e-3,
        "transformer": 6.89e-3,
    },
    "peak_bytes": {
        "simple-nsm": 45.2e6,
        "advanced-hybrid": 78.5e6,
        "sequential-hybrid": 156.3e6,
        "lstm": 32.1e6,
        "transformer": 89.7e6,
    },
    "gradient_norm": {
        "simple-nsm": 0.0234,
        "advanced-hybrid": 0.0456,
        "sequential-hybrid": 0.0678,
        "lstm": 0.0345,
        "transformer": 0.0567,
    },
}
"""Field of a row -> model -> figure, at one unstated length."""

MEMORY_GB: dict[str, dict[int, float]] = {
    "transformer": {1024: 2.1, 4096: 8.4, 8192: 16.8, 16384: 33.6, 32768: 67.2},
    "linformer": {1024: 1.8, 4096: 3.6, 8192: 7.2, 16384: 14.4, 32768: 28.8},
    "performer": {1024: 1.5, 4096: 3.0, 8192: 6.0, 16384: 12.0, 32768: 24.0},
    "rwkv": {1024: 1.2, 4096: 2.4, 8192: 4.8, 16384: 9.6, 32768: 19.2},
    "mamba": {1024: 1.0, 4096: 2.0, 8192: 4.0, 16384: 8.0, 32768: 16.0},
    NSM: {1024: 0.8, 4096: 1.2, 8192: 2.0, 16384: 3.2, 32768: 5.6},
}
"""Model -> tokens -> gigabytes."""

FASTER = 0.66
"""Training was "66 % faster than transformers"."""
