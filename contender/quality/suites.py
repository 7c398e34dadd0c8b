"""Suites of expectations, in Great Expectations' own schema, as plain values: read and checked without importing it.

name: text_classification
expectations:
  - type: expect_column_values_to_not_be_null
    kwargs: {column: label}
    severity: critical            # or warning, info
    meta: {reason: null label}    # what the report and the quarantine file call a row that fails it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from contender.errors import SpecError, UsageError, known
from contender.quality.scopes import PARAMETERS, SCOPES, Scope
from contender.yamlfile import Document, Key, load_yaml, parse_yaml

SUFFIXES = (".yaml", ".yml", ".json")
SUITE_KEYS = ("name", "expectations", "meta", "notes", "id", "suite_parameters")
EXPECTATION_KEYS = ("type", "kwargs", "meta", "severity", "notes", "description", "id")
SEVERITIES = ("critical", "warning", "info")


def default_suite(task: str) -> str:
    """The bare name of the suite that ships for a Hugging Face task."""
    return task.replace("-", "_") + ".yaml"


def shipped_suites() -> list[str]:
    """The bare names of the suites that ship."""
    return sorted(item.name for item in resources.files("expectations").iterdir() if item.name.endswith(SUFFIXES))


def load_suite(name: str, base: Path) -> dict[str, Any]:
    """The suite called `name`: one that ships for a bare name, else a file, relative to `base`.

    UsageError where there is none; SpecError, with file:line:column, all faults at once, where it is not a suite.
    """
    document = _read(name, base)
    faults = list(_faults(document))
    if faults:
        raise SpecError("\n".join(faults), "expectations/README.md shows a suite and lists the expectations.")
    suite: dict[str, Any] = dict(document.value)
    suite.setdefault("name", Path(name).stem)
    return suite


def _read(name: str, base: Path) -> Document:
    bare = Path(name).name == name
    file = base / name
    if not name.endswith(SUFFIXES):
        raise UsageError(_unknown(name), f"A suite is a file that ends in {', '.join(SUFFIXES)}.")
    if bare and name in shipped_suites():
        return _parse(name, (resources.files("expectations") / name).read_text("utf-8"))
    if not _is_file(file):
        raise UsageError(_unknown(name), f"A bare name is a suite that ships, or a file in {base}; looked for {file}.")
    if name.endswith(".json"):
        return _parse(name, load_text(file, name))
    return load_yaml(file, name)


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name that no file can have, a folder that may not be read
        return False


def _unknown(name: str) -> str:
    return known("suite", name, shipped_suites())


def load_text(file: Path, name: str) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name}: byte {error.start} is not UTF-8", "Save the file as UTF-8.") from error
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}", "Make the file readable.") from error


def _parse(name: str, text: str) -> Document:
    if not name.endswith(".json"):
        return parse_yaml(text, name)
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise SpecError(f"{name}:{line}:{column}: {getattr(error, 'msg', error)}", "The file must be JSON.") from None
    try:
        # JSON is YAML too, nearly always: the positions come from there.
        return Document(name, value, parse_yaml(text, name).positions)
    except SpecError:
        return Document(name, value)


def _faults(document: Document) -> Iterator[str]:
    suite = document.value
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list) or not suite["expectations"]:
        yield f"{document.where(('expectations',))}: a suite is a mapping with a list `expectations` that is not empty"
        return
    yield from _unknown_keys(document, (), suite, SUITE_KEYS)
    if not isinstance(suite.get("name", ""), str):
        yield f"{document.where(('name',))}: name must be text"
    yield from _parameter_faults(document, suite.get("suite_parameters"))
    for index, expectation in enumerate(suite["expectations"]):
        yield from _expectation_faults(document, ("expectations", index), expectation)


def _parameter_faults(document: Document, parameters: Any) -> Iterator[str]:
    path: Key = ("suite_parameters",)
    if not isinstance(parameters or {}, dict):
        yield f"{document.where(path)}: suite_parameters must be a mapping"
        return
    for name in parameters or ():
        if name in PARAMETERS:
            yield f"{document.where((*path, name))}: {name} comes from the run; use another name"


def _expectation_faults(document: Document, path: Key, expectation: Any) -> Iterator[str]:
    if not isinstance(expectation, dict) or not isinstance(expectation.get("type"), str):
        yield f"{document.where(path)}: an expectation is a mapping with `type` and `kwargs`"
        return
    yield from _unknown_keys(document, path, expectation, EXPECTATION_KEYS)
    kind = expectation["type"]
    if kind not in SCOPES:
        yield f"{document.where((*path, 'type'))}: {_unknown_expectation(kind)}"
    elif SCOPES[kind] is Scope.REFUSED:
        yield f"{document.where((*path, 'type'))}: {kind} is not supported: it cannot run over chunks of a snapshot's rows"
    if not isinstance(expectation.get("kwargs", {}), dict):
        yield f"{document.where((*path, 'kwargs'))}: kwargs must be a mapping"
    if expectation.get("severity", "critical") not in SEVERITIES:
        yield f"{document.where((*path, 'severity'))}: {known('severity', expectation['severity'], SEVERITIES)}"
    if not isinstance(expectation.get("meta") or {}, dict):
        yield f"{document.where((*path, 'meta'))}: meta must be a mapping"


def _unknown_expectation(kind: str) -> str:
    """The nearest names only: all sixty would hide the answer."""
    from difflib import get_close_matches

    near = get_close_matches(kind, SCOPES, n=3, cutoff=0.4)
    return f"unknown expectation {kind!r}" + (f"; nearest known: {', '.join(near)}" if near else "")


def _unknown_keys(document: Document, path: Key, value: dict[str, Any], allowed: tuple[str, ...]) -> Iterator[str]:
    for key in value:
        if key not in allowed:
            yield f"{document.where((*path, key))}: {known('key', key, allowed)}"
