"""The folder of a proof: settings, manifest and one row for every finished piece of work, found
again by its key.

config.toml      the recipe: a run's settings and the table [prove]
manifest.json    versions, device, plugins, corpus
records.jsonl    append-only; a piece that was cut off has no row and is done again
verdict.json, report.md, *.png   written at the end
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from clso.config import RunConfig, read_toml
from clso.disk.files import writing
from clso.errors import RunFolderError
from clso.prove.config import ProveConfig
from clso.run.folder import RunFolder
from clso.space.build import all_options

__all__ = ["Evidence"]

_SAME = ("device", "corpus", "versions")  # what windows of one proof must agree in


class Evidence:
    """Open with `start`, use as a context manager (it holds the folder's lock)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._folder = RunFolder(path)

    @classmethod
    def start(cls, path: Path, config: RunConfig, settings: ProveConfig) -> Evidence:
        """Begin in a new folder, or go on in one of the same settings.

        Raises `RunFolderError` for a folder with something else in it, other settings, a damaged
        record, or one that another process writes to."""
        text = config.to_toml() + "\n" + tomli_w.dumps({"prove": settings.to_json()})
        self = cls(path)
        exists = (path / "config.toml").exists()
        if not exists:
            RunFolder.require_new(path)
        elif _settings_of(path / "config.toml") != (_spelled_out(config), settings):
            raise RunFolderError(
                "an interrupted proof goes on with the settings that it was begun with",
                got=str(path),
                remedy="Repeat the command that began it, or choose another --out.",
            )
        with writing("a proof's folder can be written", path):
            path.mkdir(parents=True, exist_ok=True)
            self._folder.lock()
            if not exists:
                self._folder.write_text("config.toml", text)
        self._load()
        return self

    @classmethod
    def read(cls, path: Path) -> Evidence:
        """A proof that was made, to write its report anew. Raises `RunFolderError` if there is
        none."""
        if not all(
            (path / name).is_file() for name in ("config.toml", "manifest.json", "records.jsonl")
        ):
            raise RunFolderError(
                "a proof's folder holds config.toml, manifest.json and records.jsonl", got=str(path)
            )
        self = cls(path)
        self._load()
        return self

    def _load(self) -> None:
        record = self.path / "records.jsonl"
        record.touch()
        data = record.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # a kill in mid-write
            os.truncate(record, len(whole))
        try:
            rows = [json.loads(line) for line in whole.splitlines()]
            self.rows = {row["key"]: row for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{record} is whole",
                problem=f"a line cannot be used ({type(error).__name__}: {error})",
            ) from error

    def manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, or hold this process against the one that began. Raises
        `RunFolderError`."""
        if not (self.path / "manifest.json").exists():
            self.write_json("manifest.json", manifest)
            return
        before = self._folder.read_json("manifest.json").get("agree")
        for name in _SAME:
            if not isinstance(before, dict) or before.get(name) != manifest["agree"][name]:
                raise RunFolderError(
                    f"all windows of one proof have the same {name}",
                    got=manifest["agree"][name],
                    remedy="Go on where it was begun, or begin anew with another --out.",
                )

    def once(self, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of this key; `work` is done, and its row kept, if there is none yet."""
        if key not in self.rows:
            self.add(key, work())
        return self.rows[key]

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row, on disk before this returns."""
        # as a resumed process reads it
        whole = json.loads(json.dumps({"key": key, **row}, allow_nan=False))
        self._folder.append([whole])
        self.rows[key] = whole

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a type, in order."""
        return [row for row in self.rows.values() if row["type"] == kind]

    def cards(self) -> dict[str, str | None]:
        """On which card each row was measured, by key: that of the session it belongs to."""
        out, card = {}, None
        for key, row in self.rows.items():
            card = row["card"] if row["type"] == "session" else card
            out[key] = card
        return out

    def read_json(self, name: str) -> dict[str, Any]:
        return self._folder.read_json(name)

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        self._folder.write_json(name, value)

    def write_text(self, name: str, text: str) -> None:
        self._folder.write_text(name, text)

    def __enter__(self) -> Evidence:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()


def _settings_of(path: Path) -> tuple[RunConfig, ProveConfig] | None:
    """A proof's; None for those of a run."""
    if "prove" not in read_toml(path):
        return None
    return _spelled_out(RunConfig.from_toml(path)), ProveConfig.from_toml(path)


def _spelled_out(config: RunConfig) -> RunConfig:
    """Two configs that mean the same are then equal: what one leaves out is the other's default."""
    return replace(config, options=all_options(config))
