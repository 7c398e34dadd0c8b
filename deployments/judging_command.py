"""`contender judge`: two releases against each other, by rules and on rows that are known.

Like those of deployments/commands.py, it returns its exit code; its document goes to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from contender.errors import UsageError
from deployments.documents import print_document

OUTCOMES = {"PROMOTE": "done", "KEEP": "kept", "INCONCLUSIVE": "inconclusive"}


def command_judge(options: argparse.Namespace) -> int:
    from rich.text import Text

    from contender.loading import load_pipeline
    from contender.lookup import find_pair
    from contender.progress import listening
    from contender.rejudging import measured, rejudge, rows_of_today, rules_of_release, stored_rows
    from contender.run import EXIT_CODES
    from contender.stages.judge import rules_of
    from deployments.loudness import Loudness, loudness
    from deployments.results import VERDICT_OUTCOMES, marked, show_rules, show_sentence
    from deployments.runview import RunView
    from deployments.terminal import console, say

    loud = loudness(options)
    first, second = find_pair(options.a, options.b, options.registry, options.profile)
    if first.registry.url != second.registry.url:
        raise UsageError(
            f"{options.a} lies in {first.registry.url}, {options.b} in {second.registry.url}",
            "Releases of one pipeline can be judged against each other: others were never tried on the same rows.",
        )
    registry = first.registry
    (challenger, _), (champion, _) = first.release(), second.release()
    if challenger.release == champion.release:
        raise UsageError(f"{options.a} and {options.b} are the same release, {challenger.release}", "Name two.")
    if options.overrides and not options.pipeline:
        raise UsageError("--set overrides keys of a pipeline, and none is named", "Add: --pipeline FILE")
    if options.pipeline:
        pipeline = load_pipeline(Path(options.pipeline), tuple(options.overrides))
        view = RunView(console(quiet=loud == Loudness.QUIET), loudness=loud)
        with view.shown(), listening(view):
            rules, rows = rules_of(pipeline), rows_of_today(pipeline, registry, challenger, champion, options.on)
    else:
        rules = rules_of_release(challenger)
        rows = stored_rows(registry, challenger.release, champion.release, options.on)
    verdict = rejudge(registry, challenger, champion, rules, rows)
    outcome = OUTCOMES[verdict.verdict]
    show_sentence(console(), marked(VERDICT_OUTCOMES[verdict.verdict], verdict.verdict), verdict.sentence)
    out = console(quiet=loud == Loudness.QUIET)
    show_rules(out, verdict, measured(rows, verdict))
    noise, _ = registry.newest_noise()
    if noise:
        show_sentence(out, Text(" "), noise.sentence)
    say(out, f"  no alias was moved; to do so: contender promote {first.name} {challenger.release}")
    if options.json:
        print_document(
            {
                "outcome": outcome,
                "pipeline": first.name,
                "registry": registry.url,
                "challenger": challenger.release,
                "champion": champion.release,
                "on": rows.held_out,
                "set_digest": rows.set_digest,
                "verdict": verdict.model_dump(mode="json"),
            }
        )
    return EXIT_CODES.get(outcome, 0)
