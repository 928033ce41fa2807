from __future__ import annotations

from pathlib import Path

import pytest
from profiled import MODELS, settings, spec

from clso.errors import ConfigError, DeviceError, PluginError
from clso.profiling import ProfileSettings
from clso.profiling.flops import _cudnn, _onednn_layer, _twice
from clso.profiling.models import find_models
from clso.profiling.run import run_profile


def test_equal_parameters_are_within_five_percent() -> None:
    found = find_models(
        settings("Bigram", "Lstm", "Transformer", equal_parameters=200_000, n_heads=2)
    )
    counts = [m.n_parameters() for m in found]
    assert all(abs(n - 200_000) <= 10_000 for n in counts), counts
    assert len({m.d_model for m in found}) == 3
    assert all(m.d_model % 4 == 0 for m in found)


def test_equal_parameters_out_of_reach_say_what_is_near() -> None:
    with pytest.raises(ConfigError, match=r"nearest d_model, 8, gives"):
        find_models(settings("Transformer", equal_parameters=100, n_heads=4))


def test_a_model_has_positions_for_the_longest_length() -> None:
    (found,) = find_models(settings("Bigram", lengths=(64, 16)))
    assert found.config().n_positions == 64


@pytest.mark.parametrize("name", ["NotAModel", "nothing"])
def test_what_is_no_model_is_refused(name: str) -> None:
    with pytest.raises(PluginError):
        find_models(settings(name))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(PluginError, match="unknown model"):
        find_models(ProfileSettings(models=("no-such-model",)))


def test_models_are_told_apart(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(MODELS.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigError, match="told apart"):
        find_models(ProfileSettings(models=(spec("Lstm"), f"{other}:Lstm")))


@pytest.mark.parametrize(
    "options",
    [
        {"lengths": ()},
        {"lengths": (1, 16)},
        {"batch": 0},
        {"n_classes": 1},
        {"vocab_size": 1},
        {"repeats": 0},
        {"min_time_s": float("nan")},
        {"max_time_s": 0},
        {"dtype": "float16"},
        {"equal_parameters": 0},
        {"memory_budget_bytes": -1},
    ],
)
def test_bad_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        settings("Bigram", **options)


def test_no_model_and_one_model_twice_are_refused() -> None:
    with pytest.raises(ConfigError):
        ProfileSettings(models=())
    with pytest.raises(ConfigError, match="once"):
        settings("Bigram", "Bigram")


def test_an_absent_device_is_refused() -> None:
    with pytest.raises(DeviceError):
        run_profile(settings("Bigram", device="cuda:77"))


def test_formulas_of_recurrences() -> None:
    """An LSTM of width 3 over 5 inputs, 7 steps of batch 2: 2 x 14 tokens x (12 x 5 + 12 x 3)."""
    one = 2 * 14 * (12 * 5 + 12 * 3)
    assert _onednn_layer([7, 2, 5], [12, 5], [12, 3], [12], [12]) == one
    assert _cudnn([2, 7, 5], [[12, 5], [12, 3], [12], [12]], 4, None) == one
    assert (
        _cudnn([2, 7, 5], [[12, 5], [12, 3], [12], [12], [12, 3], [12, 3], [12], [12]], 4)
        == one + 2 * 14 * 72
    )
    assert (
        _twice(_cudnn)([2, 7, 5], [[12, 5], [12, 3], [12], [12]], 4, out_shape=[2, 7, 3]) == 2 * one
    )
