"""Looks at the built site: every link of a page leads somewhere, nothing is fetched from another host, and links out are known.

    python docs/_site/check.py site

MkDocs has looked at the Markdown; this looks at what a browser gets, the theme's part included. Links to other sites are not fetched:
they must be https and stand in docs/_site/external-links.txt, which a person goes through when it changes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LISTED = Path(__file__).with_name("external-links.txt")
FETCHED = {"src", "srcset", "data", "poster", "action"}
CSS_URL = re.compile(r"""url\(\s*["']?((?:https?:)?//[^)"']+)|@import\s+["']((?:https?:)?//[^"']+)""")


class Html(HTMLParser):
    """The ids of a page, its links, and what a browser fetches for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given.get("href", ""))
        self.fetched += [value for name, value in given.items() if name in FETCHED and tag != "a"]


def faults(site: Path, listed: set[str]) -> list[str]:
    """What is wrong with the site, a sentence each."""
    pages = {path: Html(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site} holds no page"]
    found = [fault for path, page in pages.items() for fault in _page_faults(site, path, page, pages)]
    for style in sorted(site.rglob("*.css")):
        foreign = CSS_URL.finditer(style.read_text(encoding="utf-8"))
        found += [f"{style.relative_to(site)} fetches {match[1] or match[2]}" for match in foreign]
    out = {link for page in pages.values() for link in page.links if urlsplit(link).scheme}
    found += [f"{link} is not in {LISTED.name}: look at it and add it" for link in sorted(out - listed)]
    found += [f"{link} is in {LISTED.name} and on no page: take it out" for link in sorted(listed - out)]
    return found + [f"{link} is not https" for link in sorted(out) if not link.startswith("https://")]


def _page_faults(site: Path, path: Path, page: Html, pages: dict[Path, Html]) -> Iterator[str]:
    name = path.relative_to(site)
    for place in page.fetched:
        parts = urlsplit(place)
        if parts.netloc or parts.scheme not in ("", "data"):
            yield f"{name} fetches {place}"
        elif not parts.scheme and parts.path and not _there(site, path, parts.path).is_file():
            yield f"{name} fetches {place}, which is not there"
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = _there(site, path, parts.path) if parts.path else path
        if not target.is_file():
            yield f"{name} links to {link}, which is not there"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            yield f"{name} links to {link}, and there is no such place on that page"


def _there(site: Path, page: Path, link: str) -> Path:
    start = site if link.startswith("/") else page.parent
    target = (start / unquote(link).lstrip("/")).resolve()
    return target / "index.html" if target.is_dir() else target


def main(arguments: list[str]) -> int:
    site = Path(arguments[0]).resolve()
    found = faults(site, {line.strip() for line in LISTED.read_text().splitlines() if line.strip()})
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{len(list(site.rglob('*.html')))} pages, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
