"""What a pass costs, of models whose bytes and joules are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from probed import Constant, Late, context

from clso.energy import EnergyMeter
from clso.energy.replay import ReplayClock, ReplayPower
from clso.probe import hardware, inference, scaling
from clso.probe.context import mean_energy
from clso.probe.hardware import MovedBytes
from clso.probe.metrics import names_of
from clso.profiling.scaling import best_form


def test_inference_of_a_model_that_takes_its_time() -> None:
    found = inference.measure(context(Late(), n=8))
    assert set(found) == set(names_of("inference"))
    for name in ("time_per_sequence_s", "latency_p50_s", "latency_p95_s", "latency_p99_s"):
        assert found[name].value is not None
        assert found[name].value >= 0.005  # type: ignore[operator]
    per_token, per_sequence = found["time_per_token_s"], found["time_per_sequence_s"]
    tokens = per_token.detail["tokens"] / per_token.detail["sequences"]
    assert per_token.value == pytest.approx(per_sequence.value / tokens)  # type: ignore[operator]
    assert found["static_bytes"].value == 16 * 4 * 4
    assert found["peak_bytes"].value > 16 * 4 * 4 + 10 * 4  # type: ignore[operator]
    assert found["disk_bytes"].value > 16 * 4 * 4  # type: ignore[operator]
    assert found["energy_per_step_j"].value is None
    assert found["energy_per_step_j"].reason == "switched off"


def test_joules_of_known_power() -> None:
    clock = ReplayClock()
    power = ReplayPower([(t / 10, 100.0) for t in range(1000)], clock)
    meter = EnergyMeter(power, clock=clock, sleep=clock.advance)
    joules, why = mean_energy(lambda: clock.advance(0.5), meter, 3.0)
    assert why is None
    assert joules == pytest.approx(50.0)


def test_growth_is_named() -> None:
    n = [8, 16, 32, 64, 128]
    logs = [x * float(np.log(x)) for x in n]
    assert best_form(n, [3 + 2 * x for x in n])[0] == "n"
    assert best_form(n, [5 + x for x in logs])[0] == "n log n"
    assert best_form(n, [100 + x * x for x in n])[0] == "n^2"
    assert best_form([1, 2], [1, 4])[0] is None


def test_memory_grows_with_the_tokens_that_are_held() -> None:
    class Wide(Constant):
        """Holds a square of the length."""

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            n = tokens.shape[1]
            square = (self.weights[0, 0] + torch.zeros(len(tokens), n, n)).exp()
            return square.mean() + torch.zeros(len(tokens), 10)

    found = scaling.measure(context(Wide(), n=8))
    assert set(found) == set(names_of("scaling"))
    assert found["memory_by_length"].value == pytest.approx(2.0, abs=0.1)
    assert found["memory_by_length"].detail["form"] == "n^2"
    assert [x for x, _ in found["time_by_batch"].detail["points"]] == [1, 2, 4, 8, 16]
    if torch.cuda.device_count() < 2:
        assert "two are compared" in (found["time_by_gpus"].reason or "")


def test_bytes_of_operators() -> None:
    x, y = torch.ones(10, 10), torch.ones(10, 10)
    with MovedBytes() as moved:
        (x + y).view(100)
    assert moved.n_bytes == 3 * 400  # the view moves nothing
    with MovedBytes() as moved:
        x.add_(y)
    assert moved.n_bytes == 3 * 400  # written in place


def test_a_cpu_has_no_gpu() -> None:
    found = hardware.measure(context(Constant(), n=8))
    assert set(found) == set(names_of("hardware"))
    assert found["bytes_moved_per_step"].value > 0  # type: ignore[operator]
    assert found["cpu_utilisation"].value > 0  # type: ignore[operator]
    assert found["gpu_utilisation"].reason == "there is no GPU at work"
