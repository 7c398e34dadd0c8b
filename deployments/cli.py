"""The command line: parses, calls a command, prints its document or its tables, ends with the contract's exit code.

Nothing heavy is imported before it is needed: `contender --help` and a run that finds nothing new answer at once.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from contender import __version__
from contender.errors import ContenderError, Interrupted, UsageError, internal
from deployments.curve_command import CURVE, curve_arguments
from deployments.loudness import loudness
from deployments.noise_command import NOISE, noise_arguments


class Parser(argparse.ArgumentParser):
    """Raises UsageError, so that a wrong command line ends like every other mistake, in JSON where that is asked for.

    No abbreviations: `--js` would print no document, since what an error prints is decided before options are understood.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"See: {self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    """Runs a command and returns its exit code. Without `argv` it is the process's own command line, and ends it at once after."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    codes: list[int] = []
    if argv is None:
        # The first to be registered is the last to be called: threads have ended, Prefect has sent its log. Tearing down torch and
        # some thousand modules takes a second and a half and can only fail.
        atexit.register(lambda: _leave(codes[0]) if codes else None)
    try:
        codes.append(_ended(arguments))
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        codes.append(1)
    return codes[0]


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _ended(arguments: list[str]) -> int:
    """Runs the command; the exit code, its own or that of the error that it ended with, which is told."""
    options = argparse.Namespace(command=None, pipeline=None)
    try:
        parser().parse_args(arguments, options)
        loudness(options)  # refuses those that contradict each other
        _refuse_shadows()
        return int(_act(str(options.command))(options))
    except BrokenPipeError:
        raise
    except ContenderError as raised:
        error = raised
    except KeyboardInterrupt as raised:
        continues = options.command in ("run", "noise", "curve", "up")
        goes_on = "continues from the finished stages" if continues else "can be given again"
        error = Interrupted("stopped by Ctrl-C", f"The same command {goes_on}.")
        error.__cause__ = raised
    except Exception as raised:  # noqa: BLE001 - the outermost ring: whatever it is, it ends like every other error
        error = internal(raised)
    return _fail(error, options, arguments)


def _act(command: str) -> Any:
    """The function that does a command."""
    from deployments import (
        commands,
        curve_command,
        doctoring,
        judging_command,
        noise_command,
        registry_commands,
        release_commands,
        report_command,
    )

    name = f"command_{command}"
    modules = (
        commands,
        registry_commands,
        release_commands,
        doctoring,
        judging_command,
        noise_command,
        curve_command,
        report_command,
    )
    return next(vars(module)[name] for module in modules if name in vars(module))


def parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print exactly one JSON document on stdout")
    common.add_argument(
        "--debug", action="store_true", help="show tracebacks and the log of every library; nothing is redrawn"
    )
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
    one.add_argument("--probe", action="store_true", help="time some steps of the training: hours, energy and cost")
    one.add_argument("--notify", action="store_true", help="send a message to every receiver of notify, to try it")

    one = command("run", "one run now: train on new data, promote what is shown to be better")
    _pipeline(one)
    one.add_argument("--actor", help="who asks, for the registry (default: CONTENDER_ACTOR, else the flow run)")
    _quiet(one)
    _verbose(one)

    for name, text, own in (("noise", NOISE, noise_arguments), ("curve", CURVE, curve_arguments)):
        one = command(name, text)
        _pipeline(one)
        own(one)
        _quiet(one)
        _verbose(one)

    one = command(
        "deploy", "create or update deployments on an existing Prefect server; crashed runs continue by themselves"
    )
    one.add_argument("pipelines", metavar="PIPELINE", nargs="+", help="a pipeline's YAML file")
    one.add_argument("--pool", metavar="NAME", default="contender", help="work pool of the server (default: contender)")
    one.add_argument(
        "--elsewhere", action="store_true", help="its workers are on other machines: refuse what only this one has"
    )
    one.add_argument("--write", metavar="FILE", help="write a prefect.yaml for: prefect deploy; touch no server")

    one = command(
        "up",
        "everything on this machine until Ctrl-C: server, UI, worker, schedules, watcher, webhooks; without PIPELINE the server alone",
    )
    one.add_argument("pipelines", metavar="PIPELINE", nargs="*", help="a pipeline's YAML file")
    one.add_argument(
        "--port", metavar="P", type=int, help="of the webhook gateway (default: the last one, or a free one)"
    )
    one.add_argument(
        "--public-url", metavar="URL", help="where senders reach the gateway, where a proxy stands before it"
    )
    one.add_argument("--stop", action="store_true", help="end it, wherever it runs; runs under way write a checkpoint")
    one.add_argument("--force", action="store_true", help="with --stop: at once, also while runs use the server")

    one = command("clean", "remove from a workspace what nothing needs any more; without --delete it only says what")
    one.add_argument("place", metavar="PIPELINE|WORKSPACE", nargs="?", default=".contender")
    one.add_argument("--delete", action="store_true", help="remove it")
    one.add_argument("--older-than", metavar="AGE", default="7d", help="unused for so long: 12h, 7d (default: 7d)")

    _add_registry_commands(command)
    command("schema", "print the JSON Schema of a pipeline")
    return top


def _add_registry_commands(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """The commands on a registry, in the order of `contender --help`."""
    for name, text in (("releases", "what is in the registry"), ("history", "what was decided, and why")):
        one = command(name, text)
        one.add_argument("name", metavar="NAME", help="REGISTRY_URL/name, or a pipeline's name")
        _registry(one)
        one.add_argument("--verbose", action="store_true", help="each sentence in full, and all that is known")

    one = command(
        "report", "the page of the evaluation that a release was judged by, checked and opened in the browser"
    )
    one.add_argument("name", metavar="NAME[@ALIAS|@RELEASE]")
    one.add_argument("--out", metavar="FILE", help="where to write it (default: in this user's cache)")
    one.add_argument("--no-open", action="store_true", help="write it and print where, open no browser")
    _registry(one)

    one = command("promote", "make a release live by hand, once its files are verified")
    _moving(one)
    one.add_argument("release", metavar="RELEASE", help="r-…, see: contender releases NAME")

    one = command(
        "rollback", "make the release before, or a named one, live again; no run promotes the one that it leaves"
    )
    _moving(one)
    one.add_argument("release", metavar="RELEASE", nargs="?", help="r-… (default: the one that was live before)")

    one = command("judge", "judge two releases again on a held-out set; takes a look at its ledger and moves no alias")
    one.add_argument("a", metavar="A", help="the challenger: NAME, NAME@ALIAS or NAME@RELEASE")
    one.add_argument("b", metavar="B", help="the champion: the same, or a RELEASE of A's pipeline")
    one.add_argument("--on", metavar="SET", default="test", help="test, or the name of a golden set (default: test)")
    one.add_argument(
        "--pipeline",
        metavar="FILE",
        help="try both on this pipeline's rows of today, by its rules (default: the outcomes that the registry keeps, A's rules)",
    )
    _overrides(one)
    _registry(one)
    _quiet(one)
    _verbose(one)

    one = command("diff", "what differs between two releases: data, spec, metrics, environment")
    one.add_argument("a", metavar="A", help="NAME, NAME@ALIAS or NAME@RELEASE")
    one.add_argument("b", metavar="B", help="the same, or a RELEASE of A's pipeline")
    one.add_argument("--html", metavar="FILE", help="write a page, too")
    _registry(one)

    one = command("gc", "remove releases that nothing needs; without --delete it only says which")
    one.add_argument("name", metavar="NAME", help="REGISTRY_URL/name, or a pipeline's name")
    one.add_argument("--delete", action="store_true", help="remove them")
    one.add_argument(
        "--keep", metavar="N", type=_at_least_one, default=10, help="the last N of each alias stay (default: 10)"
    )
    one.add_argument("--older-than", metavar="AGE", default="30d", help="not staged for so long (default: 30d)")
    _registry(one)

    one = command("pull", "download a release; every file is checked against its sha256")
    one.add_argument("name", metavar="NAME[@ALIAS|@RELEASE]")
    one.add_argument("folder", metavar="DIR")
    _quiet(one)
    _signed(one)
    _registry(one)

    one = command("verify", "check a pulled folder, or a release in the registry, against its sha256s")
    one.add_argument("name", metavar="DIR|NAME[@ALIAS|@RELEASE]")
    _quiet(one)
    _signed(one)
    _registry(one)

    one = command("doctor", "is this store safe for a registry? probes the very place, and leaves nothing there")
    one.add_argument("url", metavar="URL", help="s3://bucket/prefix, or a folder")
    one.add_argument("--profile", metavar="NAME", help="a profile of your AWS configuration")


def _quiet(one: argparse.ArgumentParser) -> None:
    one.add_argument("--quiet", action="store_true", help="no progress, only the result in one line")


def _verbose(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--verbose",
        action="store_true",
        help="parts and keys of stages, every retry, what libraries warn of; nothing is cut",
    )


def _moving(one: argparse.ArgumentParser) -> None:
    one.add_argument("name", metavar="NAME[@ALIAS]", help="REGISTRY_URL/name, or a pipeline's name")
    one.add_argument("--reason", metavar="TEXT", help="for the history")
    one.add_argument("--expect", metavar="N", type=int, help="do it only where entry N is the newest of the alias")
    one.add_argument("--actor", help="who asks, for the history (default: CONTENDER_ACTOR)")
    _registry(one)


def _signed(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--public-key",
        metavar="FILE",
        help="take only what this Ed25519 key signed (PEM; default: CONTENDER_PUBLIC_KEY)",
    )


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


def _pipeline(one: argparse.ArgumentParser) -> None:
    one.add_argument("pipeline", metavar="PIPELINE", help="the pipeline's YAML file")
    _overrides(one)


def _overrides(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--set",
        dest="overrides",
        metavar="A.B=C",
        action="append",
        default=[],
        help='override one key; one that holds dots goes in double quotes: stores."s3://my.bucket/".profile=x',
    )


def _registry(one: argparse.ArgumentParser) -> None:
    one.add_argument("--registry", metavar="URL", help="where to look a bare name up")
    one.add_argument(
        "--profile",
        help="profile of the AWS configuration for the registry (default: what stores: names, else AWS_PROFILE)",
    )


def _fail(error: ContenderError, options: argparse.Namespace, arguments: list[str]) -> int:
    from deployments.terminal import console, show_error

    if "--debug" in arguments:
        traceback.print_exception(error)
    show_error(console(), error)
    if "--json" in arguments:
        from deployments.documents import error_document, print_document

        print_document(error_document(error, options))
    return error.exit_code


def _refuse_shadows() -> None:
    """Users have their own `flows/` and `tasks.py`; imported in place of ours they would fail in ways nobody could read."""
    import importlib.util
    from pathlib import Path

    ours = Path(__file__).resolve().parent.parent
    libraries = ("datasets", "evaluate", "torch", "transformers", "prefect") if os.environ.get("PYTHONPATH") else ()
    for name in ("contender", "tasks", "flows", "expectations", *libraries):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        installed = name in libraries and origin and any(origin.parents[1].glob(f"{name}-*.dist-info"))
        if origin is None or not (installed or ours in origin.parents):
            raise UsageError(
                f"the module {name!r} is shadowed by {origin or 'a folder without __init__.py'}",
                "Unset PYTHONPATH, and start the console script `contender` rather than `python -m`.",
            )


if __name__ == "__main__":
    sys.exit(main())
