"""The tables of README and docs are made from the committed records."""

from __future__ import annotations

import json

import pytest
from closeness import assert_same_page

from benchmarks.nsm_tables import PROFILES, profiles
from benchmarks.pages import PAGES, ROOT, rewritten


@pytest.mark.parametrize("page", PAGES)
def test_tables_follow_from_the_records(page: str) -> None:
    """To make them anew: python -m benchmarks.pages."""
    assert_same_page(rewritten(page), (ROOT / page).read_text())


def test_the_profiles_are_whole() -> None:
    found = profiles()
    assert "CPU" in found
    for device, profile in found.items():
        assert not profile.interrupted
        assert len(profile.rows) == len(profile.models) * len(profile.settings.lengths)
        assert {32768, 1024} <= set(profile.settings.lengths)
        statuses = {row.status for row in profile.rows}
        assert statuses <= {"ok", "skipped", "out-of-memory"}
        recorded = json.loads((ROOT / "runs" / PROFILES[device] / "profile.json").read_text())
        assert recorded["settings"]["models"] == [model["name"] for model in profile.models]
        for row in profile.rows:  # what is counted is what the models state
            if row.flops_difference is not None:
                assert abs(row.flops_difference) < 1e-9, (device, row.model, row.length)
