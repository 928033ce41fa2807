from __future__ import annotations

from pathlib import Path

import pytest

from clso.disk.damage import reading
from clso.errors import ConfigError, DataError, RunFolderError


@pytest.mark.parametrize("error", [OSError("gone"), KeyError("wte"), RuntimeError("a\n b " * 900)])
def test_damage_is_one_short_line(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(
            RunFolderError, match=r"it cannot be read \(.*\): .* holds a thing"
        ) as caught,
        reading(tmp_path, "a thing"),
    ):
        raise error
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_refusals_that_were_not_named_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError), reading(tmp_path, "a thing", refusals=(ConfigError,)):
        raise ConfigError("sizes go together")
    with pytest.raises(DataError), reading(tmp_path, "a thing", refusals=(ConfigError,)):
        raise DataError("another matter")
