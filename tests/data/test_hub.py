"""WikiText's parquet files are read; without the extra or the hub the user gets one line with a
remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clso.data.hub import read_hub, read_parquet_text
from clso.errors import DataError, MissingDependencyError


def write_parquet(path: Path, column: str, rows: list[str | None]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra clso[hub]")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra clso[hub]")
    parquet.write_table(pyarrow.table({column: pyarrow.array(rows, pyarrow.string())}), path)
    return path


def test_rows_become_lines_in_the_order_of_the_files(tmp_path: Path) -> None:
    first = write_parquet(
        tmp_path / "a.parquet", "text", ["", " = Title = \n", None, " Body é . \n"]
    )
    second = write_parquet(tmp_path / "b.parquet", "text", ["no line end", "", "last\n"])
    text = read_parquet_text([first, second]).decode()
    assert text == " = Title = \n Body é . \nno line end\nlast\n"


def test_bad_parquet_is_one_clear_line(tmp_path: Path) -> None:
    wrong = write_parquet(tmp_path / "wrong.parquet", "sentence", ["a"])
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(wrong.read_bytes()[:-5])
    cases = [([wrong], "'text' column"), ([damaged], "cannot be read"), ([], "no parquet file")]
    for paths, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            read_parquet_text(paths)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["pyarrow.parquet", "huggingface_hub"])
def test_missing_extra_names_the_install_line(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'clso\[hub\]'"):
        read_hub("wikitext-2")


def test_unreachable_hub_names_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra clso[hub]")
    pytest.importorskip("huggingface_hub", reason="needs the extra clso[hub]")
    code = "import clso.data as d\ntry: d.load_corpus('wikitext-2')\nexcept d.corpus.DataError as e: print(e)"
    # read when the client is imported
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
    }
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout.count("\n") == 1
    assert "text:PATH" in out.stdout
