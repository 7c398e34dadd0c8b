"""YAML 1.2 as plain values, and where each of them stands.

ruamel.yaml reads `5e-5` as a number and refuses a key given twice; positions come from its round-trip loader.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from contender.errors import SpecError, UsageError

Key = tuple[str | int, ...]

MAX_BYTES = 1_000_000  # a spec is a page; more is a mistake, such as the data file itself
MAX_NODES = 20_000  # aliases of aliases multiply: a few lines can unfold into gigabytes


@dataclass
class Document:
    """Plain values, and the position (line, column, both from 1) of every key and item by its path."""

    name: str
    value: Any
    positions: dict[Key, tuple[int, int]] = field(default_factory=dict)

    def where(self, path: Key) -> str:
        """`file:line:column` of `path`, or of the nearest parent that stands in the file."""
        while path and path not in self.positions:
            path = path[:-1]
        line, column = self.positions.get(path, (1, 1))
        return f"{self.name}:{line}:{column}"


def load_yaml(path: Path, name: str | None = None) -> Document:
    """Reads a YAML file. UsageError where there is no such file, SpecError with file:line:column where it is not YAML."""
    shown = name or path.as_posix()
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}", "Give the path of a YAML file.") from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{shown} has more than {MAX_BYTES:,} bytes", "A YAML file here is a page or two; is this one data?"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{shown}: byte {error.start} is not UTF-8", "Save the file as UTF-8.") from error
    return parse_yaml(text, shown)


def parse_yaml(text: str, name: str) -> Document:
    try:
        tree = YAML(typ="rt").load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise SpecError(
            f"{place}: {(error.problem or str(error)).strip().splitlines()[0]}", "The file must be valid YAML 1.2."
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{name}: {str(error).strip().splitlines()[0]}", "The file must be valid YAML 1.2.") from None
    document = Document(name, None)
    document.value = _Plain(document).convert(tree, ())
    return document


class _Plain:
    """Turns ruamel's tree into dicts and lists, noting positions, with a bound on what aliases unfold into."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def convert(self, node: Any, path: Key) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise SpecError(f"{self.document.name}: more than {MAX_NODES:,} values", "Remove nested aliases.")
        if isinstance(node, CommentedMap):
            return {self._key(node, key, path): self.convert(value, (*path, str(key))) for key, value in node.items()}
        if isinstance(node, CommentedSeq):
            for index in range(len(node)):
                self._note((*path, index), node.lc.item(index))
            return [self.convert(value, (*path, index)) for index, value in enumerate(node)]
        return _scalar(node)

    def _key(self, node: CommentedMap, key: Any, path: Key) -> str:
        # A key merged in with `<<` has no position of its own: its parent's is used.
        self._note((*path, str(key)), node.lc.data.get(key))
        return str(key)

    def _note(self, path: Key, position: Any) -> None:
        if position is not None:
            self.document.positions[path] = (position[0] + 1, position[1] + 1)


def _scalar(node: Any) -> Any:
    """ruamel's scalars keep their notation; only their value matters here."""
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)
