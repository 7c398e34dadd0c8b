"""From a YAML file to a pipeline: every fault at once, each with file:line:column, the value, and what is allowed.

What the design names but the code does not do yet stands in `PLANNED` and is refused as "not supported yet", never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os.path import realpath
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from contender.errors import SpecError, UsageError, known
from contender.files import expanded, file_url_path
from contender.overrides import EXAMPLE, dotted_key, override
from contender.spec import Pipeline, Spec
from contender.yamlfile import Document, Key, load_yaml

PLANNED: dict[str, str] = {
    "resources.gpus": "a choice of devices",
}


def load_pipeline(path: Path, overrides: tuple[str, ...] = ()) -> Pipeline:
    """Reads, validates and resolves a pipeline; `overrides` are `a.b=value`, the value in YAML. SpecError lists every fault."""
    from contender.quality.suites import default_suite, load_suite

    document = load_yaml(path)
    for text in overrides:
        override(document, text)
    spec = validate(document)
    folder = path.resolve().parent
    _refuse(document, list(_places_among_data(spec, folder)))
    suite_name = spec.quality.suite or default_suite(spec.task)
    return Pipeline(
        spec=spec,
        folder=str(folder),
        suite_name=suite_name,
        suite=load_suite(suite_name, folder),
        judge=_judge(document, spec, folder),
    )


def validate(document: Document) -> Spec:
    """The spec of a document, or a SpecError with all faults at once."""
    if not isinstance(document.value, dict):
        raise SpecError(f"{document.name}:1:1: the file holds no keys", "Start with: contender init DATA")
    faults = _planned_faults(document.value)
    planned = [path for path, _ in faults]
    try:
        spec = Spec.model_validate(_without(document.value, planned))
    except ValidationError as error:
        found = [fault for entry in error.errors(include_url=False) for fault in _faults(document, entry)]
        faults += [fault for fault in found if fault[0] not in planned]
    _refuse(document, faults)
    return spec


def _judge(document: Document, spec: Spec, folder: Path) -> str | None:
    """The text of the file that evaluate.judge names; SpecError where it is none with such a function."""
    from contender.evaluation.answers import judge_source

    if spec.evaluate.judge is None:
        return None
    try:
        return judge_source(folder, spec.evaluate.judge)
    except UsageError as error:
        _refuse(document, [(("evaluate", "judge"), f"evaluate.judge: {error.what}")])
        raise


def _refuse(document: Document, faults: list[tuple[Key, str]]) -> None:
    """SpecError where there are faults: all of them, in the order of the file."""
    if not faults:
        return
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: document.order(fault[0]))
    lines = [f"{document.where(path)}: {text}" for path, text in ordered]
    advice = "Every key is described in docs/spec.md and by: contender schema"
    if any(path[:1] == ("stores",) and document.where(path).startswith("--set") for path, _ in faults):
        advice = EXAMPLE
    raise SpecError("\n".join(lines), advice)


def _places_among_data(spec: Spec, folder: Path) -> Iterator[tuple[Key, str]]:
    """What a run writes must not lie among the files that it reads, or the next run would read it as data."""
    sources = {"data.source": spec.data.source} | {f"data.golden.{k}": v for k, v in spec.data.golden.items()}
    for path, place in {("workspace",): spec.workspace, ("promote", "to"): spec.promote.to}.items():
        key = next((key for key, source in sources.items() if _lies_among(place, source, folder)), None)
        if key is not None:
            advice = f"choose a folder elsewhere, or hide it there: .{Path(place).name}"
            yield path, f"{dotted_key(path)}: {place!r} lies in {key}; {advice}"


def _lies_among(place: str, source: str, folder: Path) -> bool:
    """Whether a listing of the source would go into the place. Of globs only `**` is taken to go so deep."""
    from contender.data.formats import left_out_by_name

    inner, outer = _resolved(place, folder), _resolved(source.partition("**")[0], folder)
    if re.search(r"[*?\[]", str(outer)) or not inner.is_relative_to(outer):
        return False
    return not any(map(left_out_by_name, inner.relative_to(outer).parts))


def _resolved(location: str, folder: Path) -> Path:
    """The path that a location names, links followed; that of a bucket begins with its scheme."""
    if location.startswith("file://"):
        return Path(realpath(file_url_path(location)))
    return Path(location if "://" in location else realpath(Path(folder, expanded(location))))


def _planned_faults(value: dict[str, Any]) -> list[tuple[Key, str]]:
    faults: list[tuple[Key, str]] = []
    for dotted, what in PLANNED.items():
        path = tuple(dotted.split("."))
        if _get(value, path) is not ABSENT:
            faults.append((path, f"{dotted}: not supported yet ({what}); remove the key"))
    return faults


ABSENT = object()


def _get(value: Any, path: Key) -> Any:
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def _without(value: Any, paths: list[Key], here: Key = ()) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _without(v, paths, (*here, k)) for k, v in value.items() if (*here, k) not in paths}


def _faults(document: Document, entry: Any) -> Iterator[tuple[Key, str]]:
    """One pydantic error as (path, sentence): the key, the value, what is allowed, the nearest known key."""
    path: Key = ()
    for part in entry["loc"]:
        # pydantic counts in the list that a single schedule becomes; the file holds none.
        if _is_key(document, part) and not (isinstance(part, int) and isinstance(_get(document.value, path), dict)):
            path = (*path, part)
    dotted = dotted_key(path) or "the spec"
    message = re.sub(r"^(Value error, |Input )", "", entry["msg"])
    if entry["type"] == "extra_forbidden":
        yield path, known("key", dotted, _known_keys(path[:-1]))
    elif entry["type"] == "missing":
        yield path, f"{dotted} is required"
    elif entry["type"] == "misfits":
        for below, what in entry["ctx"]["faults"]:
            yield (*path, *below), f"{dotted_key((*path, *below))}: {what}"
    else:
        shown = (
            "" if isinstance(entry["input"], dict) or "credentials" in message else f" (is {_short(entry['input'])})"
        )
        yield path, f"{dotted}{'' if message.startswith(dotted.rpartition('.')[2] + ':') else ':'} {message}{shown}"


def _is_key(document: Document, part: str | int) -> bool:
    """pydantic names the branches of a union in its paths; those are no keys of the file."""
    return isinstance(part, int) or not re.match(
        r"^(constrained-|function-|tuple\[|literal\[|bool$|str$|float$|int$|\[key\]$)", part
    )


def _known_keys(path: Key) -> list[str]:
    return [dotted_key((*path, name)) for name in _model_at(path).model_fields]


def _model_at(path: Key) -> Any:
    """The model of a section, by its path; below a mapping or a list every entry has the same one, and one section may be its own list."""
    model: Any = Spec
    for part in path:
        model = _entry_of(model) if isinstance(part, str) else model
        inner = {dict: 1, tuple: 0}.get(get_origin(model))
        model = _bare(model.model_fields[str(part)].annotation if inner is None else get_args(model)[inner])
    return _entry_of(model)


def _entry_of(model: Any) -> Any:
    """What a list holds; anything else itself."""
    return _bare(get_args(model)[0]) if get_origin(model) is tuple else model


def _bare(annotation: Any) -> Any:
    """What an annotation says beside being optional, and without what is annotated."""
    while get_origin(annotation) in (Annotated, UnionType, Union):
        annotation = get_args(annotation)[0]
    return annotation


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
