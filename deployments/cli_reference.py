"""docs/cli.md: every command with its options, written from the parser, and the exit codes, from the errors and the outcomes."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Iterator

from contender import errors
from contender.run import EXIT_CODES, RunResult
from deployments.cli import parser

WIDTH = 100
HEAD = """\
# The command line

Written by `make schema` from the code. `contender COMMAND --help` says the same in a terminal.

NAME is `REGISTRY_URL/name`, or a bare name that is looked up in `--registry`, `CONTENDER_REGISTRY`, and the `promote.to` of
`pipelines/<name>.yaml`. Behind an @ stands an alias (default: production) or, where something is read, a release: `tickets@canary`,
`tickets@r-0123456789abcdef`. Options are written out; there are no abbreviations.

Results go to stdout, progress and errors to stderr. A mistake is one sentence that says what is wrong and one that says what to do,
without a traceback; `--debug` adds it.
"""
EXIT_HEAD = """\
## Exit codes

| code | means |
| --- | --- |
| 0 | promoted, up to date, skipped, or done |
| 1 | failed, unknown, an unsafe store, damaged files |
| 2 | wrong usage or spec |
| 3 | kept, inconclusive, superseded |
| 4 | stopped by the quality gate |
| 5 | stopped by the budget; the same command continues |
| 75 | interrupted, with a checkpoint; the same command continues |
| 130 | interrupted, without one; finished stages are kept |

The outcomes of a run (`outcome` in its document; `interrupted` is 75 where there is a checkpoint):

| code | outcome |
| --- | --- |
"""
JSON_HEAD = """\
## JSON

With `--json` stdout holds exactly one JSON document, whatever the outcome. Each has `outcome`; one that ended with an error has
`error` with `what` and `fix`, and `contender run` all that it knows besides. What `contender run` prints:

| key | holds |
| --- | --- |
"""


def cli_reference() -> str:
    """The page, as Markdown."""
    found = list(_commands(parser()))
    everywhere = set.intersection(*({*map(_signature, _shown(one))} for _, one, _ in found))
    common = [action for action in _shown(found[0][1]) if _signature(action) in everywhere]
    commands = "\n".join(_command(name, one, text, everywhere) for name, one, text in found)
    return "\n".join(
        [
            HEAD,
            "Every command takes",
            "",
            *_arguments(common),
            "",
            "## Commands",
            "",
            commands,
            EXIT_HEAD + _outcomes(),
            "",
            _errors(),
            "",
            JSON_HEAD + _document(),
            "",
        ]
    )


def _commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    group = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    for choice in group._choices_actions:
        yield choice.dest, group.choices[choice.dest], str(choice.help)


def _command(name: str, one: argparse.ArgumentParser, text: str, everywhere: set[str]) -> str:
    shown = [action for action in _shown(one) if _signature(action) not in everywhere]
    lines = [
        f"### contender {name}",
        "",
        f"{text[0].upper()}{text[1:]}.",
        "",
        "```text",
        _usage(one.prog, shown),
        "```",
        "",
    ]
    return "\n".join([*lines, *(_arguments(shown) if shown else []), ""])


def _shown(one: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its arguments, those without a dash first, as a person writes them."""
    shown = [action for action in one._actions if not isinstance(action, argparse._HelpAction)]
    return sorted(shown, key=lambda action: bool(action.option_strings))


def _arguments(shown: list[argparse.Action]) -> list[str]:
    return ["| argument | does |", "| --- | --- |", *map(_argument, shown)]


def _usage(prog: str, shown: list[argparse.Action]) -> str:
    positional = [_signature(action) for action in shown if not action.option_strings]
    optional = [f"[{_signature(action)}]" for action in shown if action.option_strings]
    # Words that belong together stay on one line.
    words = [word.replace(" ", "\0") for word in (*positional, *optional)]
    wrapped = textwrap.fill(
        " ".join([prog.replace(" ", "\0"), *words]), WIDTH, subsequent_indent="    ", break_on_hyphens=False
    )
    return wrapped.replace("\0", " ")


def _signature(action: argparse.Action) -> str:
    metavar = str(action.metavar or (action.dest.upper() if action.nargs != 0 else ""))
    words = " ".join([*action.option_strings, metavar]).strip()
    many = "…" if action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction) else ""
    return f"[{words}]{many}" if action.nargs in ("?", "*") and not action.option_strings else f"{words}{many}"


def _argument(action: argparse.Action) -> str:
    cells = f"`{_signature(action)}`", action.help or "as above"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _outcomes() -> str:
    by_code: dict[int, list[str]] = defaultdict(list)
    for outcome, code in EXIT_CODES.items():
        by_code[code].append(f"`{outcome}`")
    return "\n".join(f"| {code} | {', '.join(by_code[code])} |" for code in sorted(by_code))


def _errors() -> str:
    """What can end a command, by exit code: the classes of contender/errors.py, which Python code can catch."""
    lines = ["| code | error (contender.errors) | is |", "| --- | --- | --- |"]
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.ContenderError)]
    for one in sorted(found, key=lambda one: (one.exit_code, one.__name__)):
        if one is not errors.ContenderError:
            said = (inspect.getdoc(one) or "").splitlines()[0]
            code = "75 or 130" if one is errors.Interrupted else one.exit_code
            lines.append(f"| {code} | `{one.__name__}` | {said.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _document() -> str:
    return "\n".join(f"| `{name}` | {DOCUMENT[name]} |" for name in RunResult.model_fields)


DOCUMENT = {
    "pipeline": "its name",
    "outcome": "one of those above",
    "message": "the verdict's or the outcome's sentence",
    "snapshot": "digest of the files that the run saw",
    "release": "the challenger",
    "champion": "the release that it was judged against",
    "alias_entry": "number of the alias's newest entry",
    "metrics": "metric → value of the challenger on test, or on the first golden set where `data.split.test` is 0",
    "evaluations": "set → `challenger` and `champion` → metric → value",
    "evaluation": "its id in the registry",
    "verdict": "`decision`, `rules` with estimates, bounds, p-values and counts, and the sentence",
    "training": "what the training was and took: steps, seconds, device, precision; `device_hours`, their `price_per_hour` and `cost`; "
    "`energy_kwh` where the hardware tells; `estimated_seconds` and `estimate_error` where `contender check --probe` estimated it before",
    "compression": "size, quality and speed of the challenger beside the model that it was made from, where the spec compresses",
    "selection": "where the spec names several bases: `bases` with their scores, costs, latencies and sizes, those `kept` and the "
    "number of the one `chosen`",
    "search": "where the spec searches: `trials` with their values, scores and curves, the number of the `best`, "
    "and the `importance` of each key; with several `objectives` the numbers of the trials on their Pareto `front`; the champion that "
    "it was `around`",
    "cross_validation": "where the spec asks for it: `folds` with their rows and scores, and of each metric in `spreads` the mean, the "
    "standard deviation, the lowest and the highest",
    "monitoring": "how good the champion was on rows that were new to it",
    "seconds": "of the whole run",
    "stages": "each with `name`, `key`, `cached` and `seconds`",
    "flow_run_id": "of the Prefect flow run",
    "report": "path of the report",
    "quarantine": "path of the rows that were set aside",
    "conflicts": "path of the held-out rows whose labels contradict each other",
    "data_docs": "path of Great Expectations' pages",
    "registry": "where the release is",
}
