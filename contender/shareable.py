"""Places as other people may see them: without the folders of the machine that they lie on."""

from __future__ import annotations

from pathlib import Path

from contender.names import RELEASE_BASE


def shareable(place: str) -> str:
    """A place without the folders of the machine that it lies on: an absolute path's, or one's that climbs, last name."""
    if place.startswith(RELEASE_BASE):
        url, separator, name = place.removeprefix(RELEASE_BASE).rpartition("/")
        return place if "://" in url or not separator else RELEASE_BASE + name
    path = place.removeprefix("file://")
    if "://" in path:
        return place
    climbs = ".." in Path(path).parts or path.startswith("~")
    return Path(path).name if climbs or Path(path).is_absolute() else path
