"""The command line: parses, calls a command, prints its document or its tables, ends with the contract's exit code.

Nothing heavy is imported before it is needed: `contender --help` and a run that finds nothing new answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import NoReturn

from contender import __version__
from contender.errors import ContenderError, Interrupted, UsageError


class Parser(argparse.ArgumentParser):
    """Raises UsageError, so that a wrong command line ends like every other mistake, in JSON where that is asked for."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"See: {self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    debug = "--debug" in arguments
    try:
        options = parser().parse_args(arguments)
        _refuse_shadows()
        from deployments import commands

        return int(getattr(commands, f"command_{options.command}")(options))
    except ContenderError as error:
        if debug:
            raise
        return _fail(error, as_json)
    except KeyboardInterrupt:
        return _fail(Interrupted("stopped by Ctrl-C", "The same command continues from the finished stages."), as_json)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print exactly one JSON document on stdout")
    common.add_argument("--debug", action="store_true", help="show tracebacks and the log of every library")
    top = Parser(
        prog="contender", description="Continuous fine-tuning that ships a model only when it is shown to be better."
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    one = command("init", "look at data and write a commented pipeline for it")
    one.add_argument("data", metavar="DATA", help="folder, file or glob; local or s3://")
    one.add_argument("--out", metavar="FILE", help="where to write (default: pipelines/NAME.yaml)")
    one.add_argument("--name", help="the pipeline's name (default: from DATA)")

    one = command("check", "validate a pipeline, look at its data and print the plan; trains nothing")
    _pipeline(one)

    one = command("run", "one run now: train on new data, promote what is shown to be better")
    _pipeline(one)
    one.add_argument("--actor", help="who asks, for the registry (default: CONTENDER_ACTOR, else the flow run)")
    one.add_argument("--quiet", action="store_true", help="no progress, only the result")

    one = command("up", "start the background Prefect server and its UI, or say where it runs")
    one.add_argument("--stop", action="store_true", help="end it")

    for name, text in (("releases", "what is in the registry"), ("history", "what was decided, and why")):
        one = command(name, text)
        one.add_argument("name", metavar="NAME", help="REGISTRY_URL/name, or a pipeline's name")
        one.add_argument("--registry", metavar="URL", help="where to look a bare name up")

    one = command("pull", "download a release; every file is checked against its sha256")
    one.add_argument("name", metavar="NAME[@ALIAS]")
    one.add_argument("folder", metavar="DIR")
    one.add_argument("--registry", metavar="URL", help="where to look a bare name up")

    one = command("verify", "check a pulled folder, or a release in the registry, against its sha256s")
    one.add_argument("name", metavar="DIR|NAME[@ALIAS]")
    one.add_argument("--registry", metavar="URL", help="where to look a bare name up")

    command("schema", "print the JSON Schema of a pipeline")
    return top


def _pipeline(one: argparse.ArgumentParser) -> None:
    one.add_argument("pipeline", metavar="PIPELINE", help="the pipeline's YAML file")
    one.add_argument("--set", dest="overrides", metavar="A.B=C", action="append", default=[], help="override one key")


def _fail(error: ContenderError, as_json: bool) -> int:
    from deployments.terminal import console, show_error

    show_error(console(), error)
    if as_json:
        from contender.run import outcome_of

        document = {"outcome": outcome_of(error), "error": {"what": error.what, "fix": error.fix}}
        print(json.dumps(document, ensure_ascii=False), flush=True)
    return error.exit_code


def _refuse_shadows() -> None:
    """Users have their own `flows/` and `tasks.py`; imported in place of ours they would fail in ways nobody could read."""
    import importlib.util
    from pathlib import Path

    ours = Path(__file__).resolve().parent.parent
    for name in ("contender", "tasks", "flows", "expectations"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or ours not in origin.parents:
            raise UsageError(
                f"the module {name!r} of Contender is shadowed by {origin or 'a folder without __init__.py'}",
                "Unset PYTHONPATH, and start the console script `contender` rather than `python -m`.",
            )


if __name__ == "__main__":
    sys.exit(main())
