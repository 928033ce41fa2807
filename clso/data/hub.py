"""WikiText from the Hugging Face hub: parquet files -> text (optional extra `hub`).

The word-level configurations (`wikitext-*-v1`, with `<unk>` and ` @-@ `) are read: they are what
the published word-level figures and this project's reference figures were measured on."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from clso.errors import DataError, MissingDependencyError

__all__ = ["HUB_CONFIGS", "read_hub", "read_parquet_text"]

_REPOSITORY = "Salesforce/wikitext"
HUB_CONFIGS = {"wikitext-103": "wikitext-103-v1", "wikitext-2": "wikitext-2-v1"}
_PREFIXES = {"train": "train-", "valid": "validation-", "test": "test-"}


def read_hub(name: str) -> dict[str, bytes]:
    """Text of each split ("train", "valid", "test") of `wikitext-103` or `wikitext-2`, UTF-8.

    Raises:
        MissingDependencyError: huggingface_hub or pyarrow is not installed.
        DataError: the hub cannot be reached and holds no local copy, or its files are not as
        expected.
    """
    try:
        import pyarrow.parquet  # noqa: F401  (a missing reader must show before a long download)
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} needs huggingface_hub and pyarrow", remedy="Run: pip install 'clso[hub]'"
        ) from error
    config = HUB_CONFIGS[name]
    try:
        folder = snapshot_download(
            _REPOSITORY, repo_type="dataset", allow_patterns=[f"{config}/*.parquet"]
        )
    # the hub's client lets through its own, the HTTP library's and the system's errors
    except Exception as error:
        raise DataError(
            f"{name} comes from the Hugging Face hub",
            problem=f"the hub gave {type(error).__name__}",
            remedy="Use --data text:PATH with a copy of the text",
        ) from error
    files = sorted(Path(folder, config).glob("*.parquet"))
    return {
        role: read_parquet_text([path for path in files if path.name.startswith(prefix)])
        for role, prefix in _PREFIXES.items()
    }


def read_parquet_text(paths: Iterable[Path]) -> bytes:
    """The `text` column of parquet files in the order given, as UTF-8; every non-empty row is a
    line.

    Raises:
        DataError: no files, a damaged file, or no `text` column.
    """
    out = io.BytesIO()
    n_files = 0
    for path in paths:
        n_files += 1
        for row in _rows(path):
            if row:
                out.write(row.encode())
                if not row.endswith("\n"):
                    out.write(b"\n")
    if n_files == 0:
        raise DataError(
            "a split has no parquet file", remedy="Use --data text:PATH with a copy of the text"
        )
    return out.getvalue()


def _rows(path: Path) -> Iterator[str | None]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise DataError("a parquet file needs a 'text' column", got=str(path))
            for batch in file.iter_batches(columns=["text"]):
                yield from batch.column(0).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            "the parquet file cannot be read", got=str(path), remedy=str(error).split("\n")[0]
        ) from error
