"""Which files hold rows, by their names, and which names mean that a file is not finished or not meant to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FormatName = Literal["csv", "tsv", "jsonl", "json", "parquet", "arrow", "conll", "media", "zip", "tar"]
Media = Literal["image", "audio"]

FORMATS: dict[str, FormatName] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
}
KNOWN_FORMATS = f"{', '.join(FORMATS)}, each also with .gz behind it"
MEDIA: dict[Media, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg"),
}
ARCHIVES: dict[str, tuple[FormatName, bool]] = {  # ending → what it holds, and whether gzip packs it
    ".zip": ("zip", False),
    ".tar": ("tar", False),
    ".tar.gz": ("tar", True),
    ".tgz": ("tar", True),
}

# parquet and Arrow's file format end in the magic bytes that they begin with: without them the writer had not finished.
_ENDS = {"parquet": (b"PAR1", b"PAR1"), "arrow": (b"ARROW1", b"ARROW1")}
_NAMES = {"parquet": "a parquet file", "arrow": "an Arrow file"}
END_BYTES = 6


@dataclass(frozen=True)
class Format:
    """How a file's bytes become rows."""

    name: FormatName
    gzipped: bool

    @property
    def is_table(self) -> bool:
        return self.name not in ("media", "zip", "tar")


def format_of(path: str, media: Media | None = None) -> Format | None:
    """The format that a file's name promises; None where it promises none. `media`: what a source of pictures or sounds holds."""
    name = path.rsplit("/", 1)[-1].lower()
    if media:
        if is_media(name, media):
            return Format("media", False)
        for ending, (form, gzipped) in ARCHIVES.items():
            if name.endswith(ending) and name != ending:
                return Format(form, gzipped)
    gzipped = name.endswith(".gz")
    stem, dot, ending = name.removesuffix(".gz").rpartition(".")
    found = FORMATS.get(dot + ending) if stem else None
    return Format(found, gzipped) if found else None


def is_media(path: str, media: Media) -> bool:
    """Whether a file's name promises a picture, or a sound."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith(MEDIA[media]) and not name.startswith(".")


def known_formats(media: Media | None) -> str:
    """The endings that are read, for a message."""
    own = f"{', '.join((*MEDIA[media], *ARCHIVES))}, or " if media else ""
    return f"{own}{KNOWN_FORMATS}"


def left_out_by_name(name: str) -> str | None:
    """Why a file or folder of this name, one part of a path, is not read; None where it is."""
    if name.startswith("."):
        return "hidden: its name begins with a dot"
    if name.startswith("_"):
        return "set aside: its name begins with an underscore"
    if name.lower().endswith((".tmp", ".part")):
        return "not finished: its name ends in .tmp or .part"
    return None


def unfinished(form: Format, head: bytes, tail: bytes, size: int) -> str | None:
    """Why the first and last bytes of a file of `size` bytes say that its writer had not finished; None where they do not."""
    if form.gzipped or form.name not in _ENDS:
        return None
    begin, end = _ENDS[form.name]
    if form.name == "arrow" and not head.startswith(begin):
        return None  # Arrow's stream format, which has no footer
    if head.startswith(begin) and tail.endswith(end) and size > len(begin) + len(end):
        return None
    return f"{_NAMES[form.name]} without its footer: its writer had not finished, or it is something else"
