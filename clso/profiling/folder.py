"""A profile on disk.

profile.json   settings, models, rows, exponents (and claims), and the manifest again, so that it stands alone
profile.csv    the rows
profile.png    time and memory by length
manifest.json  hardware and software
claims.md      the verdicts, if they were asked for
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.disk import shape
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.errors import RunFolderError
from clso.profiling.measure import Row
from clso.profiling.run import Profile
from clso.profiling.settings import ProfileSettings
from clso.profiling.table import to_csv
from clso.run.folder import RunFolder

__all__ = ["read_profile", "write_profile", "write_rows"]


def write_rows(path: Path, profile: Profile, document: dict[str, Any]) -> None:
    """Create the folder, or replace what it holds of the profile so far; `document` is what
    profile.json holds."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_json("manifest.json", profile.manifest)
    folder.write_text("profile.csv", to_csv(profile.rows))
    folder.write_json("profile.json", document)


def write_profile(
    path: Path,
    profile: Profile,
    document: dict[str, Any],
    picture: bytes | None,
    claims: str | None,
) -> None:
    """The whole folder, with the picture and the verdicts if there are any."""
    write_rows(path, profile, document)
    if picture is not None:
        (path / "profile.png").write_bytes(picture)
    if claims is not None:
        RunFolder(path).write_text("claims.md", claims)


def read_profile(path: Path) -> Profile:
    """The profile in a profile.json, or in the folder of one. Raises `RunFolderError` for anything
    else."""
    file = path / "profile.json" if path.is_dir() else path
    try:
        found = parse_json(read_regular(file))
    except OSError as error:
        raise RunFolderError(
            "a profile is read from its folder or profile.json",
            problem=f"{file} cannot be read ({error})",
        ) from error
    except ValueError as error:
        raise RunFolderError(f"{file} is a profile", problem=f"it is no JSON ({error})") from error
    try:
        _PROFILE(found, "it")
    except ValueError as error:
        raise RunFolderError(f"{file} is a profile", problem=str(error)) from error
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in found["settings"].items()
    }
    rows = [Row(**row) for row in found["rows"]]
    parts = found["models"], rows, found["manifest"], found["interrupted"]
    return Profile(ProfileSettings(**settings), *parts)


_HARDWARE = {
    "gpu": shape.table({"name": shape.text}),
    "cpu": shape.text,
    "torch_threads": shape.count,
}
_PROFILE = shape.table(
    {
        "settings": shape.of_dataclass(ProfileSettings),
        "models": shape.list_of(shape.table({"name": shape.text, "d_model": shape.count})),
        "rows": shape.list_of(shape.of_dataclass(Row)),
        "manifest": shape.table(
            {
                "hardware": shape.table({}, _HARDWARE),
                "software": shape.table({"torch": shape.text}),
                "memory": shape.text,
            }
        ),
        "interrupted": shape.flag,
    }
)
