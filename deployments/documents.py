"""What a command prints on stdout: exactly one JSON document, whatever the outcome."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from contender.errors import ContenderError
from contender.text import json_safe


def error_document(error: ContenderError, options: argparse.Namespace) -> dict[str, Any]:
    """What --json prints where a command ended with an error: for one that runs a flow all that its result has, else the outcome."""
    from contender.run import RunResult, outcome_of
    from contender.stages.curve import CurveResult
    from contender.stages.measuring import Measured
    from contender.stages.noise import NoiseResult

    document: dict[str, Any] = {"outcome": outcome_of(error)}
    results: dict[str, type[RunResult | Measured]] = {"run": RunResult, "noise": NoiseResult, "curve": CurveResult}
    if options.command in results and options.pipeline:
        name = getattr(options, "name", Path(options.pipeline).stem)
        result = results[options.command]
        ended = error.ended or result(pipeline=name, message=error.in_one_line, seconds=0.0, **document)
        document = ended.model_dump(mode="json")
    return document | {"error": {"what": error.what, "fix": error.fix}}


def print_document(document: dict[str, Any], indent: int | None = None) -> None:
    text = json_safe(json.dumps(document, ensure_ascii=False, indent=indent))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal that is not in UTF-8
        text = json.dumps(document, indent=indent)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
