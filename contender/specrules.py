"""What single values of a spec must be, and how a validator names the key that it refuses.

Each function gives the value back or raises ValueError with what is allowed; the loader puts place, key and value around it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from contender.errors import UsageError, known
from contender.files import file_url_path
from contender.names import ANSWER, API, METRIC_NAMES, PROMPT, RELEASE_BASE, SCOPE_METRICS, TASKS, Task

SECRET_IN_URL = re.compile(r"^[a-z0-9+.-]+://[^/@\s]+@", re.IGNORECASE)
UNKNOWN_SCHEME = re.compile(r"^(?!s3://|file://)[A-Za-z][A-Za-z0-9+.-]*://")
CSV_SAMPLE = 'text,label\r\n"a b",1\r\n'

Fault = tuple[tuple[str, ...], str]


def misfits(faults: Sequence[Fault]) -> PydanticCustomError:
    """An error of a validator about keys below its own section: (path, what is wrong) of each."""
    said = "; ".join(f"{'.'.join(path)}: {what}" for path, what in faults)
    return PydanticCustomError("misfits", "{said}", {"said": said, "faults": list(faults)})


def first_of(error: ValidationError) -> str:
    """What a validation found first, without the place that it was found at."""
    entry = error.errors(include_url=False)[0]
    faults = entry.get("ctx", {}).get("faults")
    return f"{'.'.join(faults[0][0])} {faults[0][1]}" if faults else entry["msg"].removeprefix("Value error, ")


def base(value: str) -> str:
    """A base model's name; what stands behind contender: is the NAME of a release."""
    if value.startswith(API):
        raise ValueError("is only asked, over the network, and cannot be trained")
    if value.startswith(RELEASE_BASE):
        from contender.registry.naming import name_parts

        try:
            url, _, _ = name_parts(value.removeprefix(RELEASE_BASE))
        except UsageError as error:
            raise ValueError(error.what) from error
        if url is not None:
            location(url)
    return value


def location(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    if SECRET_IN_URL.match(value):
        raise ValueError("must not hold credentials; name a profile of your AWS configuration under stores:")
    if UNKNOWN_SCHEME.match(value):
        raise ValueError("must be a local path or an s3:// URL")
    if value.startswith("file://"):
        file_url_path(value)
    if re.match(r"s3:(?!//[^/\s])", value):
        raise ValueError("names no bucket: write s3://bucket/prefix")
    return value


def folder(value: str) -> str:
    if "://" in location(value) and not value.startswith("s3://"):
        raise ValueError("must be a local folder's path or an s3:// URL, not a URL of another kind")
    return value


def web_address(value: str) -> str:
    """An http(s) URL that paths can be added to, ending in a slash."""
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an address in brackets, a port that is no number
        whole = False
    if not whole:
        raise ValueError("must be a URL such as https://models.example.com/registry/")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials: it is shown to everybody who sees a run")
    if (
        parts.query
        or parts.fragment
        or not re.fullmatch(r"[!-~]+", value)
        or re.search(r"""["'<>\\^`{|}()\[\]*]""", parts.path)
    ):
        raise ValueError(
            "must be a plain URL that paths can be added to: no query, no fragment, special characters as %XX"
        )
    return f"{value.rstrip('/')}/"


def name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise ValueError(
            "must be lower-case letters, digits and hyphens, at most 63, beginning and ending with no hyphen"
        )
    return value


def filled(value: Mapping[str, Any], path: Sequence[str], default: Any) -> dict[str, Any]:
    """A section with `default` at the path where nothing stands there; what is no section on the way is left to its validator."""
    first, *rest = path
    if not rest:
        return {first: default, **value}
    below = value.get(first, {})
    return {**value, first: filled(below, rest, default)} if isinstance(below, Mapping) else dict(value)


def task(value: str) -> str:
    if value not in TASKS:
        raise ValueError(known("task", value, TASKS))
    return value


def metric(value: str) -> str:
    if value not in METRIC_NAMES:
        raise ValueError(known("metric", value, METRIC_NAMES))
    return value


def parts_fault(columns: Mapping[str, str], facts: Task) -> str | None:
    """What is wrong with the parts of an example that have columns of their own; None where nothing is, or none has."""
    given = [part for part in (PROMPT, ANSWER) if part in facts.parts and part in columns]
    if not given:
        return None
    if facts.example in columns:
        return f"names {given[0]} and {facts.example}: a conversation is in one column, or in those of its parts"
    missing = [part for part in (PROMPT, ANSWER) if part not in given]
    return f"names {given[0]}, and no {missing[0]}: name the columns of both" if missing else None


def scope_faults(label: str | None, task: str, metrics: Collection[str]) -> Iterator[Fault]:
    """What is wrong with the label that means out of scope, beside the metrics that a spec asks for."""
    needing = [name for name in SCOPE_METRICS if name in metrics]
    if label is not None and not set(SCOPE_METRICS) & set(TASKS[task].metrics):
        yield (
            ("evaluate", "out_of_scope"),
            f"is for the labels of a text, and {task} has none that means none of the others",
        )
    elif label is None and needing:
        yield ("evaluate", "out_of_scope"), f"is missing: {needing[0]} needs the label that means none of the others"


DURATION = re.compile(r"(?P<count>\d+(\.\d+)?)\s*(?P<unit>s|m|h|d)")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(value: Any, bare: bool = False) -> Any:
    """Seconds, from a number of them or from text such as 30s, 5m, 4h, 7d; `bare`: also from a number that is text."""
    if not isinstance(value, str):
        return no_flag(value)
    found = DURATION.fullmatch(f"{value.strip()}s" if bare and value.strip().isdigit() else value.strip())
    if not found:
        raise ValueError("must be a number of seconds, or a number and a unit such as 30s, 5m, 4h or 7d")
    return float(found["count"]) * UNIT_SECONDS[found["unit"]]


ShareOrSeconds = Annotated[
    float,
    BeforeValidator(duration),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}),
]


def shares(column: str | None, gap: float, sets: Mapping[str, float]) -> None:
    """Of a split by hash: parts of one, that leave rows to train."""
    for name, share in sets.items():
        if share >= 1:
            raise misfits([((name,), f"is {share:g}: a share of the keys is below 1; lengths of time need by: time")])
    if sum(sets.values()) >= 1:
        raise ValueError("test and validation together must leave rows to train: their sum must be below 1")
    if column is not None or gap:
        raise misfits([(("gap" if column is None else "column",), "is of a split by time: set by: time, or remove it")])


def lengths_of_time(column: str | None, sets: Mapping[str, float]) -> None:
    """Of a split by time: seconds, and the column that they are counted in."""
    if column is None:
        raise misfits([(("column",), "is missing: by: time needs the column that holds each row's time")])
    for name, length in sets.items():
        if 0 < length < 1:
            raise misfits([((name,), f"is {length:g} seconds: by time it is a length such as 7d or 12h")])


def delimiter(value: str) -> str:
    if value in '\n\r\0"':
        raise ValueError("cannot be a delimiter: line ends, NUL and the quote mean something else in csv")
    return value


def csv_header(value: Any) -> Any:
    if not isinstance(value, bool | list | tuple):
        raise ValueError("must be true, false, or the names of the columns")  # noqa: TRY004 - pydantic reports ValueError
    if value in ([], ()):
        raise ValueError("must name at least one column")
    if not isinstance(value, bool) and len(set(map(str, value))) < len(value):
        raise ValueError("names a column twice")
    return value


def encoding(value: str) -> str:
    """The codec's own name. Its incremental decoder must read csv piece by piece: base64, idna and punycode do not."""
    try:
        codec = codecs.lookup(value)
        sample = CSV_SAMPLE.encode(codec.name)  # LookupError for what is no text encoding
        decoder = codecs.getincrementaldecoder(codec.name)("replace")
        pieces = [decoder.decode(bytes([byte])) for byte in sample]
        if "".join([*pieces, decoder.decode(b"", final=True)]) != CSV_SAMPLE:
            raise LookupError(value)
    except (LookupError, ValueError):  # UnicodeError is a ValueError, and so is what a NUL in the name gives
        raise ValueError("is no encoding that csv can be read in, such as utf-8, latin-1, cp1252, utf-16-le") from None
    return codec.name


def takes_number(kind: Any) -> bool:
    """Whether a field of this annotation holds a number."""
    if get_origin(kind) in (Union, UnionType, Annotated):
        return any(takes_number(part) for part in get_args(kind))
    return kind in (int, float)


def no_flag(value: Any) -> Any:
    """True is 1 to Python and to pydantic; in a spec it is a slip."""
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")  # noqa: TRY004 - pydantic reports ValueError
    return value


def no_flags(section: Any) -> Any:
    """The same for a section of numbers: each flag as the text that it was, which its field then refuses."""
    if not isinstance(section, Mapping):
        return section
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in section.items()}
