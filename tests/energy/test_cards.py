"""Which cards stand behind CUDA's device numbers."""

from __future__ import annotations

import pynvml
import pytest

from clso.energy.cards import open_cards, visible_ordinals
from clso.errors import EnergyError

UUIDS = ["GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"]


@pytest.mark.parametrize(
    ("visible", "ordinals"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,-1,2", [0]),
        ("0,7,2", [0]),
        ("1,x", [1]),
        ("1,1", []),
        ("GPU-cccc-3,GPU-aaaa-1", [2, 0]),
        ("gpu-AABB", [1]),
        ("GPU-aa", []),  # fits two cards
        ("GPU-dddd", []),
        ("NoDevFiles", []),
        ("-1", []),
        ("-1,GPU-cccc-3", []),
        ("GPU-cccc-3,-1,0", [2]),
        ("GPU-cccc-3,GPU-dddd,0", [2]),
        ("GPU-aaaa,GPU-aaaa-1", []),  # twice the same
        ("1st,+2", [1, 2]),
        ("0,", [0]),
    ],
)
def test_cuda_visible_devices(visible, ordinals):
    assert visible_ordinals(visible, UUIDS) == ordinals


@pytest.mark.parametrize("visible", ["0,GPU-cccc-3", "GPU-cccc-3,0", "GPU-cccc,2", "0,GPU-cc,-1"])
def test_ordinals_beside_uuids_are_refused(visible):
    with pytest.raises(EnergyError, match="by ordinal or by UUID, not by both; got"):
        visible_ordinals(visible, UUIDS)


def test_a_list_of_both_is_refused_whatever_the_cards_are(driver):
    for name in ("H100", "T4"):  # CUDA's ordinal 0 is the fastest card, NVML's the first on the bus
        driver.cards[0].name = name
        with pytest.raises(EnergyError, match="not by both"):
            open_cards([0], driver, {"CUDA_VISIBLE_DEVICES": "0,GPU-bbbb"})
    assert driver.users == 0


@pytest.mark.parametrize(
    "visible", ["MIG-1234", "mig-1234", "MIG-GPU-aaaa-1/3/0", "0,MIG-1234", "GPU-aaaa,MIG-1"]
)
def test_mig_slice_is_refused(visible):
    with pytest.raises(EnergyError, match="MIG slice"):
        visible_ordinals(visible, UUIDS)


def test_energy_comes_from_the_visible_cards_and_each_counts_once(driver):
    driver.cards[0].energy_mj, driver.cards[1].energy_mj = 1_500, 2_500
    assert open_cards([0], driver, {"CUDA_VISIBLE_DEVICES": "1"}).energy_j() == [2.5]
    assert open_cards([0, 1], driver, {}).energy_j() == [1.5, 2.5]
    assert open_cards([1, 1], driver, {}).energy_j() == [2.5]
    assert open_cards([0], driver, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}).energy_j() == [2.5]


def test_card_in_mig_mode_is_refused_and_nvml_given_back(driver):
    driver.cards[1].mig = pynvml.NVML_DEVICE_MIG_ENABLE
    with pytest.raises(EnergyError, match="MIG slice"):
        open_cards([1], driver, {})
    assert driver.users == 0
    open_cards([0], driver, {})


def test_cards_from_before_mig_are_fine_and_other_errors_are_not(driver):
    driver.cards[0].mig = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    open_cards([0], driver, {}).close()
    driver.cards[0].mig = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    with pytest.raises(EnergyError, match="GPU is lost"):
        open_cards([0], driver, {})
    assert driver.users == 0


def test_index_beyond_the_visible_cards(driver):
    with pytest.raises(EnergyError, match=r"below the number of visible cards, 1; got 1"):
        open_cards([1], driver, {"CUDA_VISIBLE_DEVICES": "0"})


def test_unequal_cards_need_an_order_that_both_sides_share(driver):
    driver.cards[1].name = "T4"
    with pytest.raises(EnergyError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        open_cards([0], driver, {})
    open_cards([0], driver, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    open_cards([0], driver, {"CUDA_VISIBLE_DEVICES": "GPU-bbbb"})


def test_what_a_card_is_busy_with_and_its_bandwidth(driver):
    driver.cards[1].busy_percent = (80, 25)
    cards = open_cards([0, 1], nvml=driver, environ={})
    assert cards.utilisation() == [(0.0, 0.0), (0.8, 0.25)]
    assert cards.bandwidth_bytes_per_s()[0] == pytest.approx(3.352e12, rel=1e-3)  # as NVIDIA states
    cards.close()
