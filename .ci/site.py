"""mkdocs hook: what the pages link to outside `docs/` is on the site, under `repository/`.

On GitHub `../runs/x/report.md` leads to the file. The site has no such folder above it, so linked
files are copied (pages among them are rendered, and theirs followed), and links to folders become
their text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COPIES = PurePosixPath("repository")
# Code is matched first, so that what looks like a link in it stays as it is.
_CODE_OR_LINK = re.compile(r"```.*?```|`[^`\n]+`|(\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    copied: set[Path] = set()
    while waiting:
        page = waiting.pop()
        for path in _linked(page):
            if path.is_file() and not path.is_relative_to(DOCS) and path not in copied:
                copied.add(path)
                source = str(COPIES / path.relative_to(ROOT).as_posix())
                files.append(File.generated(config, source, abs_src_path=str(path)))
                if path.suffix == ".md":
                    waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    source = page.file.abs_src_path
    if source is None:
        return markdown
    here = PurePosixPath(page.file.src_uri).parent

    def rewritten(match: re.Match[str]) -> str:
        label, target, anchor = match.groups()
        path = _resolved(Path(source), target) if target else None
        if path is None or (path.is_relative_to(DOCS) and Path(source).is_relative_to(DOCS)):
            return match[0]
        if path.is_dir():
            return str(label[1:-1])
        inside = path.is_relative_to(DOCS)
        there = path.relative_to(DOCS) if inside else COPIES / path.relative_to(ROOT)
        return f"{label}({os.path.relpath(there, here)}{anchor or ''})"

    return _CODE_OR_LINK.sub(rewritten, markdown)


def _linked(page: Path) -> Iterator[Path]:
    for match in _CODE_OR_LINK.finditer(page.read_text(encoding="utf-8")):
        path = _resolved(page, match[2]) if match[2] else None
        if path is not None:
            yield path


def _resolved(page: Path, target: str) -> Path | None:
    """The file or folder of the repository that a link leads to, if it leads to one."""
    if "://" in target or target.startswith("mailto:"):
        return None
    path = (page.parent / target).resolve()
    return path if path.exists() and path.is_relative_to(ROOT) else None
