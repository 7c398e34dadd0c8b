"""The parameters that a body may set: JMESPath expressions of the spec, and values that the spec itself has to allow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import ValidationError

from contender.canonical import digest
from contender.spec import Pipeline
from contender.text import shorten
from contender.triggers import Webhook
from deployments.gateway import answers

TAG = "mapped:"  # begins the tag of a run that a body gave parameters
FIX = "Correct what the body says there, or the pipeline's triggers.webhook.map. docs/spec.md says what each key takes."


def read_json(body: bytes) -> Any:
    """A JSON body; Refused where it is none, or one that different readers take for different things."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError):
        raise answers.malformed(
            "the body is not JSON: UTF-8, nested less than a thousand deep, no key twice in an object, no NaN",
            "Send JSON, by Content-Type: application/json where the sender asks for one.",
        ) from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def overrides(webhook: Webhook, body: bytes) -> dict[str, Any]:
    """Key → value, for the keys of `map` whose expression finds one in the body."""
    if not webhook.map:
        return {}
    said = read_json(body)
    found = {}
    for key, expression in webhook.map.items():
        try:
            value = jmespath.search(expression, said)
        except (JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise answers.malformed(f"{key}: its expression does not fit what the body holds", FIX) from None
        if value is not None:
            found[key] = value
    return found


def with_overrides(pipeline: Pipeline, values: Mapping[str, Any]) -> Pipeline:
    """The pipeline with these keys set; Refused, naming each key and what it takes, where the spec does not allow them."""
    spec = pipeline.spec.model_dump(mode="json")
    for key, value in values.items():
        section = spec
        *path, last = key.split(".")
        for part in path:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise answers.malformed(f"{key}: there is no such key", FIX)
        section[last] = value
    try:
        checked = Pipeline.model_validate({**pipeline.model_dump(mode="json"), "spec": spec})
        checked.to_bytes()  # a lone surrogate is a character to JSON, and none to UTF-8
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors(include_input=False)
        ]
        raise answers.malformed("; ".join(shorten(fault, 300) for fault in faults[:5]), FIX) from None
    except (ValueError, RecursionError):
        raise answers.malformed("a value is not one of JSON in UTF-8", FIX) from None
    return checked


def tag_of(values: Mapping[str, Any]) -> str:
    """What a run with these parameters is tagged by, so that a delivery joins none with others; empty without any."""
    return f"{TAG}{digest(dict(values))[:12]}" if values else ""
