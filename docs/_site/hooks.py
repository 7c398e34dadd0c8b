"""For the site alone: a link from a page to a file of the repository becomes a page that shows the file.

In the repository `[examples/serve.py](../examples/serve.py)` opens the file. The site has no files beside its pages and there is no
address of the repository to link to, so what is linked is shown, highlighted, under `source/`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\(((?:\.\./)+[\w./-]+)(#[\w-]+)?\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for page in list(files.documentation_pages()):
        for target in sorted(_outside(page, page.content_string, root)):
            if files.get_file_from_path(_shown_at(target)) is None:
                files.append(_shown(config, root, target))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    root = Path(config.config_file_path).parent

    def shown(link: re.Match[str]) -> str:
        target = _target(page.file, link[1], root)
        if target is None:
            return link[0]
        return f"]({os.path.relpath(_shown_at(target), Path(page.file.src_uri).parent)})"

    return LINK.sub(shown, markdown)


def _outside(page: File, markdown: str, root: Path) -> set[str]:
    targets = (_target(page, link[1], root) for link in LINK.finditer(markdown))
    return {target for target in targets if target}


def _target(page: File, link: str, root: Path) -> str | None:
    """The repository's file that a page links to, where it lies outside docs/; what is not there stays a dead link."""
    path = Path(os.path.normpath(root / "docs" / Path(page.src_uri).parent / link))
    if not path.is_file() or not path.is_relative_to(root) or path.is_relative_to(root / "docs"):
        return None
    return path.relative_to(root).as_posix()


def _shown_at(target: str) -> str:
    return f"source/{target}.md"


def _shown(config: MkDocsConfig, root: Path, target: str) -> File:
    text = (root / target).read_text(encoding="utf-8")
    if target.endswith(".md"):
        content = text
    else:
        fence = "`" * (2 + max((len(run) for run in re.findall("`+", text)), default=1))
        content = f"# {target}\n\n{fence}{LANGUAGES.get(Path(target).suffix, 'text')}\n{text}\n{fence}\n"
    content = f"---\nsearch: {{exclude: true}}\n---\n\n{content}"
    return File.generated(config, _shown_at(target), content=content, inclusion=InclusionLevel.NOT_IN_NAV)
