"""Devices and the host's threads beside them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from threading import Barrier

import pytest
import torch
from threadpoolctl import threadpool_info

from clso.device import quiet_host, resolve_device, side_by_side
from clso.errors import DeviceError


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_what_a_search_beside_a_gpu_leaves_in_cycles_goes_with_it() -> None:
    class Node:
        def __init__(self) -> None:
            self.me = self

    with quiet_host("cuda:0"):
        left = weakref.ref(Node())
        assert left() is not None
    assert left() is None


@pytest.mark.usefixtures("two_threads")
def test_one_host_thread_beside_a_gpu_and_as_many_as_before_afterwards() -> None:
    before = [pool["num_threads"] for pool in threadpool_info()]
    with pytest.raises(RuntimeError, match="stop"), quiet_host("cuda:0"):
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        raise RuntimeError("stop")
    assert torch.get_num_threads() == 2
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.usefixtures("two_threads")
def test_a_cpu_run_keeps_its_threads() -> None:
    with quiet_host("cpu"):
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_work_is_shared_out_by_item_and_threads_are_as_many_as_before_afterwards() -> None:
    here, items = torch.device("cpu"), [3, 1, 2]
    together = Barrier(2, timeout=30)

    def in_pairs(item: int) -> tuple[int, int]:
        if item != 2:
            together.wait()  # breaks if the first two are not at work at once
        return item, torch.get_num_threads()

    assert side_by_side(in_pairs, items, here) == [(3, 1), (1, 1), (2, 1)]
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // (item - 1), items, here)
    assert torch.get_num_threads() == 2
    assert side_by_side(lambda _: torch.get_num_threads(), items, torch.device("meta")) == [2, 2, 2]
    assert side_by_side(in_pairs, [], here) == []


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="device is auto, cpu, cuda"):
        resolve_device("tpu")
    with pytest.raises(DeviceError, match="CUDA device"):
        resolve_device("cuda:99")
