"""RAPL over a powercap tree in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from clso.energy import open_meter
from clso.energy.replay import ReplayClock
from clso.errors import EnergyError

RANGE_UJ = 262_143_328_850


def write_domain(root: Path, domain: str, name: str, energy_uj: int) -> Path:
    folder = root / domain
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def open_rapl_meter(root: Path, source: str = "rapl"):
    clock = ReplayClock()
    return open_meter(source, "cpu", clock=clock, rapl_root=root), clock


def test_packages_are_summed_and_nothing_is_counted_twice(tmp_path):
    first = write_domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = write_domain(tmp_path, "intel-rapl:1", "package-1", 9_000_000)
    parts = [
        write_domain(tmp_path, "intel-rapl:0:0", "core", 0),
        write_domain(tmp_path, "intel-rapl:2", "psys", 0),
        write_domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    (tmp_path / "intel-rapl").mkdir()
    meter, clock = open_rapl_meter(tmp_path, "auto")
    with meter.window("search") as window:
        clock.advance(2.0)
        first.write_text("105000000\n")
        second.write_text("59000000\n")
        for part in parts:
            part.write_text("1000000000\n")
    assert (meter.source, meter.reason) == ("rapl", None)
    assert window.energy_j == pytest.approx(150.0)
    assert window.reason is None


def test_wraparound(tmp_path):
    energy = write_domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 30_000_000)
    meter, clock = open_rapl_meter(tmp_path)
    with meter.window("search") as window:
        clock.advance(1.0)
        energy.write_text("20000000\n")
    assert window.energy_j == pytest.approx(50.0)


def test_reset_is_not_taken_for_a_wraparound(tmp_path):
    energy = write_domain(tmp_path, "intel-rapl:0", "package-0", 100_000_000)
    meter, clock = open_rapl_meter(tmp_path)
    with meter.window("search") as window:
        clock.advance(1.0)
        energy.write_text("20000000\n")
    assert window.energy_j is None
    assert "reset or misread" in window.reason


def test_suspended_machine_is_none_with_a_reason(tmp_path):
    energy = write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter, clock = open_rapl_meter(tmp_path)
    with meter.window("search") as window:
        clock.advance(3600.0)
        energy.write_text("90000000\n")
    assert window.energy_j is None
    assert "wrapped unseen" in window.reason


@pytest.mark.parametrize("content", ["", "garbage"])
def test_unreadable_counter_mid_run(tmp_path, content):
    energy = write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter, clock = open_rapl_meter(tmp_path)
    with meter.window("search") as window:
        clock.advance(1.0)
        energy.write_text(content)
    assert window.energy_j is None
    assert "ValueError" in window.reason


def test_counter_that_vanishes_mid_run(tmp_path):
    energy = write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter, clock = open_rapl_meter(tmp_path)
    with meter.window("search") as window:
        clock.advance(1.0)
        energy.unlink()
    assert window.energy_j is None
    assert "FileNotFoundError" in window.reason


def test_permission_denied_names_the_remedy(tmp_path, monkeypatch):
    write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    read_text = Path.read_text

    def as_other_user(path: Path, *args, **kwargs) -> str:
        # File modes do not bind root, who may be running the tests.
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", as_other_user)
    with pytest.raises(EnergyError, match=r"Permission denied.*chmod o\+r"):
        open_rapl_meter(tmp_path)
    meter, _ = open_rapl_meter(tmp_path, "auto")
    assert meter.source == "null"
    assert "Permission denied" in meter.reason


def test_tree_without_packages(tmp_path):
    write_domain(tmp_path, "intel-rapl:0", "psys", 0)
    with pytest.raises(EnergyError, match="there is none"):
        open_rapl_meter(tmp_path)


def test_missing_tree(tmp_path):
    with pytest.raises(EnergyError, match="FileNotFoundError"):
        open_rapl_meter(tmp_path / "absent")
