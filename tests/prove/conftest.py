"""A proof of seconds: a tiny model, an energy source of exactly 100 W, and one finished proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.prove import ProveConfig, prove

from .steady import SteadySource


@dataclass(frozen=True)
class Proof:
    path: Path
    verdict: dict[str, Any]
    lines: list[str]


@pytest.fixture(scope="session")
def small(tiny: RunConfig) -> RunConfig:
    """A grown GPT-2 on bytes; a run takes a third of a second."""
    return tiny.with_options(
        gens=2,
        tokenizer="bytes",
        space="gpt2",
        energy="auto",
        options={"library": "grown", "n_layers": 2, "d_model": 32},
    )


@pytest.fixture(scope="session")
def settings() -> ProveConfig:
    return ProveConfig(
        seeds=2,
        window_s=0.1,
        idle_s=0.1,
        settle_s=0.0,
        self_test_s=0.2,
        rates=(1e-3, 1e-2),
        steps_grid=(4, 8),
        score_every=2,
        reference_steps=5,
        curve_window_s=0.02,
        curve_steps=(1, 4, 8, 50),
        curve_gens=(1, 9),
        refinements=({"betas": [0.9, 0.95]},),
        front_points=2,
        memory_points=1,
        control_seeds=1,
    )


@pytest.fixture(scope="session")
def proof(
    small: RunConfig, settings: ProveConfig, tmp_path_factory: pytest.TempPathFactory
) -> Proof:
    """A finished proof over the steady source. Read it only."""
    path, lines = tmp_path_factory.mktemp("proof") / "proof", list[str]()
    say: Callable[[str], None] = lines.append
    verdict = prove(small, settings, path, progress=say, make_meter=SteadySource().meter)
    return Proof(path, verdict, lines)
