"""`contender report`: the page of the evaluation that a release was judged by, checked and opened.

Like those of deployments/commands.py, it returns its exit code; its document goes to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from contender.errors import UsageError
from deployments.arguments import write_page
from deployments.documents import print_document

PAGE = "report.html"
WINDOWED = ("darwin", "win32")  # systems whose sessions have a desktop, as a rule
OPENING_SECONDS = 5.0  # that a browser gets to say that it opened


def command_report(options: argparse.Namespace) -> int:
    from contender.lookup import find
    from deployments.terminal import console, say

    target = find(options.name, options.registry, profile=options.profile)
    manifest, made_live_by = target.release()
    evaluation = made_live_by or target.registry.newest_evaluation(manifest.release)
    if evaluation is None:
        raise UsageError(
            f"{manifest.release} of {target.name} has no report: no run evaluated it, or its evaluation was not kept",
            f"What was evaluated: contender history {target.name}. To compare it now: contender judge, contender diff --html.",
        )
    html = target.registry.evaluation_file(manifest.release, evaluation, PAGE)
    page = Path(options.out) if options.out else _kept(target.name, manifest.release, evaluation)
    write_page(page, html, "--out")
    out, opened = console(), False
    say(out, f"{manifest.release}, evaluation {evaluation}: {page}")
    if not (options.no_open or options.json) and plausible(os.environ, sys.platform, sys.stderr.isatty()):
        opened = _opened(page)
        if not opened:
            say(out, "no browser opened it: open the file yourself")
    if options.json:
        print_document(
            {
                "outcome": "done",
                "pipeline": target.name,
                "registry": target.registry.url,
                "release": manifest.release,
                "evaluation": evaluation,
                "path": str(page.absolute()),
            }
        )
    return 0


def plausible(environ: Mapping[str, str], platform: str, terminal: bool) -> bool:
    """Whether somebody sits before a screen: not in a pipe, in CI or behind ssh, where a text browser would take the terminal over."""
    if not terminal or environ.get("CI"):
        return False
    if environ.get("BROWSER"):
        return True  # chosen by hand
    if platform in WINDOWED:
        return not (environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _kept(pipeline: str, release: str, evaluation: str) -> Path:
    from contender.machine import cache_folder
    from contender.workspace import translated_os_errors

    folder = cache_folder() / "reports"
    with translated_os_errors(folder, "Give a file that you can write: --out FILE."):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{pipeline}-{release}-{evaluation}.html"


def _opened(page: Path) -> bool:
    """Whether a browser took it; one that does not return is left alone."""
    answers: list[bool] = []
    opening = threading.Thread(target=lambda: answers.append(_open(page.absolute().as_uri())), daemon=True)
    opening.start()
    opening.join(OPENING_SECONDS)
    return opening.is_alive() or any(answers)


def _open(url: str) -> bool:
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
