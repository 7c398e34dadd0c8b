"""YAML 1.2 as plain values, and where each of them stands.

ruamel.yaml reads `5e-5` as a number and refuses a key given twice; positions come from its round-trip loader.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from contender.errors import SpecError, UsageError
from contender.text import shorten

Key = tuple[str | int, ...]

MAX_BYTES = 1_000_000  # a spec is a page; more is a mistake, such as the data file itself
MAX_NODES = 20_000  # aliases of aliases multiply: a few lines can unfold into gigabytes
MAX_DEPTH = 50  # an alias that holds itself has no end
ADVICE = "The file must be valid YAML 1.2."


@dataclass
class Document:
    """Plain values, and the position (line, column, both from 1) of every key and item by its path.

    `origins`: what stands for the position of values that came from elsewhere, such as `--set train.epochs`.
    """

    name: str
    value: Any
    positions: dict[Key, tuple[int, int]] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def where(self, path: Key) -> str:
        """`file:line:column` of `path`, or of the nearest parent that stands in the file; or its origin."""
        standing = self._standing(path)
        line, column = self.positions.get(standing, (1, 1))
        return self.origins.get(standing) or f"{self.name}:{line}:{column}"

    def order(self, path: Key) -> tuple[int, int, int]:
        """Sorts paths as they stand in the file; those of other origins behind them, in the order in which they came."""
        standing = self._standing(path)
        if standing in self.origins:
            return 1, list(self.origins).index(standing), 0
        return 0, *self.positions.get(standing, (0, 0))

    def replaced(self, path: Key, origin: str) -> None:
        """Notes that the value at `path`, and all below it, comes from `origin` now."""
        for known in [known for known in (*self.positions, *self.origins) if known[: len(path)] == path]:
            self.positions.pop(known, None)
            self.origins.pop(known, None)
        self.origins[path] = origin

    def _standing(self, path: Key) -> Key:
        while path and path not in self.positions and path not in self.origins:
            path = path[:-1]
        return path


def load_yaml(path: Path, name: str | None = None) -> Document:
    """Reads a YAML file. UsageError where there is no such file, SpecError with file:line:column where it is not YAML."""
    shown = name or path.as_posix()
    data = _read(path, shorten(shown, 300))
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{shown} has more than {MAX_BYTES:,} bytes", "A YAML file here is a page or two; is this one data?"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place(shown, error.object[: error.start].decode("utf-8"))
        raise SpecError(
            f"{place}: byte {error.object[error.start]:#04x} is not UTF-8", "Save the file as UTF-8."
        ) from error
    return parse_yaml(text, shown)


def _read(path: Path, shown: str) -> bytes:
    advice = "Give the path of a YAML file."
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # reading a FIFO would wait for a writer that never comes
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise UsageError(f"cannot read {shown}: it is {kind}", advice)
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}", advice) from error
    except ValueError as error:  # a NUL in the path
        raise UsageError(f"cannot read {shown}: {error}", advice) from error


def parse_yaml(text: str, name: str) -> Document:
    loader = YAML(typ="rt")
    loader.Constructor = _Constructor
    try:
        tree = loader.load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"
        raise SpecError(f"{place}: {_first_line(error.problem or error)}", ADVICE) from None
    except ReaderError as error:
        place = _place(name, text[: text.find(chr(error.character))])
        raise SpecError(f"{place}: {_first_line(error)}", ADVICE) from None
    except RecursionError:
        raise _too_deep(name, *_first_too_deep(text)) from None
    except Exception as error:  # noqa: BLE001 - whatever else ruamel raises, the text is no YAML that we can use
        raise SpecError(f"{name}:1:1: {_first_line(error) or type(error).__name__}", ADVICE) from None
    document = Document(name, None)
    document.value = _Plain(document).convert(tree, ())
    return document


class _Constructor(RoundTripConstructor):
    """ruamel's, with a position for what it reports without: a date in a thirteenth month, a number of 5,000 digits."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConstructorError(None, None, _first_line(error), node.start_mark) from None


def _first_line(error: object) -> str:
    return shorten(next(iter(str(error).strip().splitlines()), ""), 300)


def _place(name: str, before: str) -> str:
    """`file:line:column` of what follows the text `before`."""
    return f"{name}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _first_too_deep(text: str) -> tuple[int, int]:
    """Line and column of the first value that is nested too deep; the parser's events need no recursion."""
    depth = 0
    for event in YAML(typ="rt").parse(StringIO(text)):
        kind = type(event).__name__
        depth += kind in ("MappingStartEvent", "SequenceStartEvent")
        depth -= kind in ("MappingEndEvent", "SequenceEndEvent")
        if depth > MAX_DEPTH:
            return event.start_mark.line + 1, event.start_mark.column + 1
    return 1, 1


def _too_deep(name: str, line: int, column: int) -> SpecError:
    return SpecError(
        f"{name}:{line}:{column}: nested more than {MAX_DEPTH} deep, or an alias that holds itself",
        "Remove the alias, or some of the nesting.",
    )


class _Plain:
    """Turns ruamel's tree into dicts and lists, noting positions, with a bound on what aliases unfold into."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def convert(self, node: Any, path: Key) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise SpecError(f"{self.document.name}:1:1: more than {MAX_NODES:,} values", "Remove nested aliases.")
        if len(path) > MAX_DEPTH:
            raise _too_deep(self.document.name, *self.document.positions.get(path, (1, 1)))
        if isinstance(node, CommentedMap):
            return {self._key(node, key, path): self.convert(value, (*path, str(key))) for key, value in node.items()}
        if isinstance(node, CommentedSeq):
            for index in range(len(node)):
                self._note((*path, index), (node.lc.data or {}).get(index))
            return [self.convert(value, (*path, index)) for index, value in enumerate(node)]
        return _scalar(node)

    def _key(self, node: CommentedMap, key: Any, path: Key) -> str:
        # A key merged in with `<<` has no position of its own: its parent's is used. Nor has one of an `!!omap`.
        self._note((*path, str(key)), (node.lc.data or {}).get(key))
        return str(key)

    def _note(self, path: Key, position: Any) -> None:
        if position is not None:
            self.document.positions[path] = (position[0] + 1, position[1] + 1)


def _scalar(node: Any) -> Any:
    """ruamel's scalars keep their notation; only their value matters here."""
    if isinstance(node, ScalarBoolean):  # an int: a boolean with an anchor
        return bool(node)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)
