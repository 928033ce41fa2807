"""Which source a device gets, and what happens where none can be read."""

from __future__ import annotations

import subprocess
import sys

import pynvml
import pytest

from clso.energy import open_meter
from clso.errors import EnergyError

NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_auto_takes_the_counter_of_a_cuda_device(driver):
    meter = open_meter("auto", "cuda", nvml=driver)
    assert (meter.source, meter.reason) == ("nvml", None)


def test_auto_samples_where_the_card_has_no_counter(driver):
    driver.cards[0].energy_mj = NOT_SUPPORTED
    meter = open_meter("auto", "cuda", nvml=driver)
    assert (meter.source, meter.reason) == ("nvml-sampled", None)
    assert driver.users == 1


def test_auto_says_why_neither_works(driver):
    driver.cards[0].energy_mj = NOT_SUPPORTED
    driver.cards[0].power_mw = pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
    meter = open_meter("auto", "cuda", nvml=driver)
    assert meter.source == "null"
    assert "energy counter cannot be read (NVMLError_NotSupported" in str(meter.reason)
    assert "power reading cannot be read (NVMLError_NoPermission" in str(meter.reason)
    assert driver.users == 0


def test_auto_without_a_driver_gives_one_reason(driver):
    driver.init_error = pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    meter = open_meter("auto", "cuda", nvml=driver)
    assert meter.source == "null"
    assert str(meter.reason).count("NVML cannot be started") == 1


def test_auto_refuses_mig_with_a_reason(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    meter = open_meter("auto", "cuda", nvml=driver)
    assert meter.source == "null"
    assert "MIG" in str(meter.reason)


def test_auto_on_a_cpu_without_rapl(tmp_path):
    meter = open_meter("auto", "cpu", rapl_root=tmp_path)
    with meter.window("search") as window:
        pass
    assert meter.source == window.source == "null"
    assert window.energy_j is None
    assert window.reason == meter.reason
    assert "RAPL" in str(meter.reason)
    assert not window.short


def test_auto_on_this_machine_measures_or_says_why():
    for device in ("cpu", "cuda"):
        with open_meter("auto", device) as meter:
            assert meter.source in {"rapl", "nvml", "nvml-sampled"} or (
                meter.source == "null" and meter.reason
            )


def test_auto_on_another_kind_of_device():
    assert open_meter("auto", "mps").reason == "no energy source is known for mps"


@pytest.mark.parametrize("source", ["nvml", "nvml-sampled"])
def test_source_asked_for_by_name_must_work(driver, source):
    driver.init_error = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    with pytest.raises(EnergyError, match="NVML cannot be started"):
        open_meter(source, "cuda", nvml=driver)


def test_counter_asked_for_by_name_does_not_fall_back(driver):
    driver.cards[0].energy_mj = NOT_SUPPORTED
    with pytest.raises(EnergyError, match="energy counter"):
        open_meter("nvml", "cuda", nvml=driver)
    assert driver.users == 0


def test_nvml_needs_a_cuda_device(driver):
    with pytest.raises(EnergyError, match="none was named"):
        open_meter("nvml", "cpu", nvml=driver)


def test_null_by_name():
    assert open_meter("null").reason == "energy measurement was switched off"


@pytest.mark.parametrize(
    ("source", "device"), [("battery", "cpu"), ("auto", "cuda:x"), ("auto", "")]
)
def test_bad_names(source, device):
    with pytest.raises(EnergyError, match="got"):
        open_meter(source, device)


def test_bare_cuda_is_torchs_current_device(driver, monkeypatch):
    from types import SimpleNamespace

    cuda = SimpleNamespace(
        is_initialized=lambda: True, current_device=lambda: 1, synchronize=lambda index: None
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    meter = open_meter("nvml", "cuda", nvml=driver)
    driver.cards[1].energy_mj = 4_000
    assert meter.counter is not None
    assert meter.counter.read_j() == [4.0]


def test_importing_and_measuring_loads_no_heavy_package():
    code = (
        "import sys; from clso.energy import open_meter\n"
        "with open_meter('null').window('x'): pass\n"
        "print(sorted({'torch', 'ray', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
