"""What the site needs besides the pages in docs/: hooks of MkDocs, named in mkdocs.yml.

README.md, ARCHITECTURE.md, CONTRIBUTING.md, SECURITY.md and CHANGELOG.md become pages of the site,
so that nothing has to be written twice. Links are written as the repository's own, so that they
work in a clone and on a web page of the repository; here they are turned into the site's.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

from command_options import fill_in
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["ROOT_PAGES", "on_files", "on_page_markdown", "site_links"]

ROOT: Final = Path(__file__).parents[2]

ROOT_PAGES: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages outside docs/, and where they stand on the site."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_WHOLE_LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for source, target in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links into the site's, and fill in the options of the commands."""
    uri = page.file.src_uri
    text = fill_in(markdown) if uri == "cli.md" else markdown
    return site_links(text, uri)


def site_links(text: str, uri: str) -> str:
    """A page whose relative links lead to pages of the site.

    Links to files that are no part of the site, such as the licence, become plain text.

    Parameters
    ----------
    text
        Markdown as it stands in the repository.
    uri
        The page's place on the site, as ``reference/search.md``.
    """
    source = next((root for root, site in ROOT_PAGES.items() if site == uri), f"docs/{uri}")
    folder = posixpath.dirname(source)

    def target_of(link: str) -> str | None:
        if re.match(r"[a-z]+:|#", link):
            return link
        path, _, anchor = link.partition("#")
        inside = posixpath.normpath(posixpath.join(folder, path))
        if inside not in ROOT_PAGES and not inside.startswith("docs/"):
            return None
        target = ROOT_PAGES.get(inside, inside.removeprefix("docs/"))
        relative = posixpath.relpath(target, posixpath.dirname(uri) or ".")
        return f"{relative}#{anchor}" if anchor else relative

    def without_strangers(link: re.Match[str]) -> str:
        return link[0] if target_of(link[2]) else link[1]

    kept = _WHOLE_LINK.sub(without_strangers, text)
    return _LINK.sub(lambda link: f"]({target_of(link[1]) or link[1]})", kept)
