"""Settings of workers, how they share GPUs, and their account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clso.cli import cli
from clso.config import RunConfig
from clso.energy import open_meter
from clso.energy.ledger import Ledger
from clso.energy.usage import Accounts, Report, Usage
from clso.errors import ConfigError
from clso.evaluation.execution import ExecutionBackend
from clso.evaluation.opening import open_execution
from clso.evaluation.ray_session import RayBackend, _share
from clso.evaluation.workers import Workers


def test_a_recipe_sets_them_and_the_command_line_wins(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('gens = 3\n[workers]\nn = 4\nray = "auto"\ntimeout_s = 60\n')
    assert RunConfig.from_toml(recipe).gens == 3
    workers = Workers.from_toml(recipe)
    assert (workers.n, workers.ray, workers.timeout_s) == (4, "auto", 60.0)
    unchanged = workers.with_options(n=None, ray=None, gpus=None, timeout_s=5.0)
    assert (unchanged.n, unchanged.ray, unchanged.timeout_s) == (4, "auto", 5.0)
    assert not workers.with_options(n=0, ray=None, gpus=None, timeout_s=None)
    assert workers.with_options(n=None, ray="10.0.0.1:6379", gpus=None, timeout_s=None).n == 0
    assert Workers.of(workers.to_json()) == workers


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": -1}, "workers.n is at least 0"),
        ({"gpus": 1.5}, "a share of one GPU, or whole ones"),
        ({"gpus": -1.0}, "a share of one GPU"),
        ({"timeout_s": 0.0}, "positive number of seconds"),
        ({"attempts": 0}, "at least 1"),
        ({"m": 1}, "unknown configuration key"),
        ({"n": "two"}, "of type int"),
    ],
)
def test_bad_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Workers.of(values)


@pytest.mark.parametrize(
    ("n", "asked", "n_gpus", "share"),
    [
        (1, 0.0, 1, 1.0),
        (2, 0.0, 2, 1.0),
        (1, 0.0, 4, 1.0),
        (4, 0.0, 2, 0.5),
        (2, 0.5, 2, 1.0),  # Ray would put both on the first
        (4, 0.25, 2, 0.5),
        (2, 2.0, 4, 2.0),
    ],
)
def test_gpus_are_shared_evenly(n: int, asked: float, n_gpus: int, share: float) -> None:
    assert _share(Workers(n=n, gpus=asked), n_gpus) == share


@pytest.mark.parametrize(
    ("n", "asked", "n_gpus"), [(3, 0.0, 2), (1, 0.0, 0), (4, 1.0, 2), (4, 0.6, 2), (2, 2.0, 2)]
)
def test_what_does_not_fit_on_the_gpus_is_refused(n: int, asked: float, n_gpus: int) -> None:
    with pytest.raises(ConfigError):
        _share(Workers(n=n, gpus=asked), n_gpus)


def test_a_part_of_a_gpu_has_no_energy_account_of_its_own() -> None:
    place = RayBackend.__new__(RayBackend)  # without a Ray
    place.gpus = 0.5
    place.check_energy(measured=False)
    with pytest.raises(ConfigError, match="whole GPUs"):
        place.check_energy(measured=True)
    place.gpus = 2.0
    place.check_energy(measured=True)


def test_without_workers_there_is_this_process() -> None:
    with open_execution(Workers(), "cpu") as place:
        assert type(place) is ExecutionBackend
        assert place.devices == ("cpu",)


def test_a_cluster_that_is_not_there_is_one_line_and_leaves_no_folder(tmp_path: Path) -> None:
    arguments = [
        "evolve",
        "--ray",
        "127.0.0.1:9",
        "--out",
        str(tmp_path / "run"),
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, ConfigError)
    assert "no Ray cluster answers at 127.0.0.1:9" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_a_malformed_address() -> None:
    with pytest.raises(ConfigError, match="no Ray cluster answers at"):
        RayBackend(Workers(ray="nowhere"), "cpu")


def report(unit: str, energy_j: float | None, cpu_time_s: float = 0.0) -> Report:
    return Report(unit, Usage(energy_j, cpu_time_s, None if energy_j is not None else "no counter"))


def test_workers_joules_are_summed_and_each_card_counts_once() -> None:
    accounts = Accounts(known={"own card"})
    accounts.update(1, report("card a", 10.0, 1.0))
    accounts.update(2, report("card b", 20.0, 1.0))
    accounts.update(3, report("card b", 20.0, 1.0))  # shares it
    accounts.update(4, report("own card", 40.0, 1.0))  # the driver's meter has it
    assert accounts.total() == Usage(30.0, 4.0)
    accounts.update(1, report("card a", 15.0, 2.0))
    assert accounts.total() == Usage(35.0, 5.0)


def test_joules_that_a_worker_took_with_it_are_not_guessed() -> None:
    accounts = Accounts(known={"own card"})
    accounts.update(1, report("own card", 1.0))
    accounts.died(1)
    assert accounts.total().energy_j == 0.0
    accounts.update(2, report("card a", 10.0))
    accounts.died(2)
    assert accounts.total() == Usage(None, 0.0, "a worker died with the account of its energy")
    never_heard_of = Accounts()
    never_heard_of.died(1)
    assert never_heard_of.total().energy_j is None


def test_a_source_that_is_missing_has_its_reason() -> None:
    accounts = Accounts()
    accounts.update(1, report("a", None))
    accounts.update(2, report("b", 3.0))
    assert accounts.total() == Usage(None, 0.0, "no counter")


def test_a_phase_is_charged_what_was_spent_elsewhere_in_it() -> None:
    spent = Usage(100.0, 7.0)
    with open_meter("null") as meter:
        ledger = Ledger(meter)
        with ledger.phase("library"):  # a worker is born in it
            ledger.include(lambda: spent)
        spent = Usage(150.0, 8.5)  # between the phases
        before = ledger.phases()["library"]["cpu_time_s"]
        with ledger.phase("search"):
            spent = Usage(175.0, 9.5)
        assert before >= 7.0
        assert 1.0 <= ledger.phases()["search"]["cpu_time_s"] < 2.0
        assert ledger.phases()["search"]["energy_j"] is None  # the driver's own was not measured


def test_joules_elsewhere_are_added_to_measured_ones() -> None:
    from clso.energy.meter import EnergyMeter

    class Counter:
        source, reason, resolution_s, n_units = "counter", None, 0.0, 1

        def begin(self) -> None: ...

        def end(self) -> float:
            return 5.0

        def close(self) -> None: ...

    spent = Usage(100.0, 0.0)
    ledger = Ledger(EnergyMeter(Counter()))
    ledger.include(lambda: spent)
    with ledger.phase("search"):
        spent = Usage(130.0, 0.0)
    with ledger.phase("validate"):
        spent = Usage(None, 0.0, "a worker died with the account of its energy")
    phases = ledger.phases()
    assert phases["search"]["energy_j"] == 35.0
    assert phases["search"]["energy_net_j"] is None
    assert phases["validate"]["energy_j"] is None
    assert ledger.summary()["energy_reason"] == "a worker died with the account of its energy"
