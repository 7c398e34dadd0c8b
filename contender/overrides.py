"""`--set a.b=value`: which key it means, its value in YAML, and where a fault of it is said to stand."""

from __future__ import annotations

import re

from contender.errors import SpecError
from contender.yamlfile import Document, Key, parse_yaml

# Keys are separated by dots; one that holds dots itself stands in double quotes.
PART = r'(?:"[^"]+"|[^".=]+)'
OVERRIDE = re.compile(rf"({PART}(?:\.{PART})*)=(.*)", re.DOTALL)
EXAMPLE = """For example: --set train.epochs=3; a key that holds dots goes in double quotes: \
--set 'stores."s3://my.bucket/".profile=models'"""


def override(document: Document, text: str) -> None:
    """Sets one key of a document; faults of its value name the option instead of a place in the file."""
    found = OVERRIDE.fullmatch(text)
    if found is None:
        raise SpecError(f"--set {text!r} is not of the form a.b=value", EXAMPLE)
    dotted, value = found.groups()
    path: Key = tuple(part.strip('"') for part in re.findall(PART, dotted))
    if not isinstance(document.value, dict):
        return
    origin = f"--set {dotted}"
    node = document.value
    for depth, part in enumerate(path[:-1], 1):
        child = node.get(part)
        if not isinstance(child, dict):
            child = node[part] = {}
            document.replaced(path[:depth], origin)
        node = child
    node[path[-1]] = parse_yaml(value, origin).value
    document.replaced(path, origin)


def dotted_key(path: Key) -> str:
    """A path as it is written in a message, and as `--set` reads it."""
    return ".".join(f'"{part}"' if isinstance(part, str) and "." in part else str(part) for part in path)
