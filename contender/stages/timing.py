"""Models timed in a process of their own: `python -P -m contender.stages.timing --parent-fd N --progress-fd N`.

A run's other threads want the interpreter too, and whoever makes more and smaller calls waits for them more often: MiniLM's int8 took
0.97 of fp32's time inside a run, and 0.85 in a process that only answers, as one that serves does.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from contender.child import Child, Voice, end_with_parent, how_it_ended, requested, told_error
from contender.errors import ContenderError, StageFailed
from contender.records import ReleaseManifest

MODULE = "contender.stages.timing"


def time_apart(
    models: Sequence[ReleaseManifest],
    folders: Sequence[Path],
    rows: Path,
    effort: tuple[int, float],
    device: str,
    environment: Mapping[str, str],
) -> dict[int, list[float]]:
    """What `contender.stages.latency.timed` gives with these arguments, from a process with this environment; raises what it raises."""
    request = {
        "models": [model.model_dump(mode="json") for model in models],
        "folders": [str(folder) for folder in folders],
        "rows": str(rows),
        "effort": effort,
        "device": device,
    }
    with tempfile.TemporaryFile() as log:
        child = Child(MODULE, (), log, environment)
        try:
            child.ask(request)
            final = child.listen(lambda _: None)
        finally:
            code = child.close()
        if "report" in final:
            return dict(enumerate(final["report"]))
        unknown = StageFailed(f"the process that times models {how_it_ended(code)}", "Run the same command again.")
        error = told_error(final["error"], StageFailed) if "error" in final else unknown
        log.seek(0)
        error.add_note(log.read().decode(errors="replace"))  # what --debug shows
        raise error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -P -m {MODULE}", allow_abbrev=False)
    parser.add_argument("--parent-fd", type=int, required=True)
    parser.add_argument("--progress-fd", type=int, required=True)
    told = parser.parse_args(arguments)
    request = requested(told.parent_fd)
    if request is None:
        return 0  # the parent went away before it asked
    end_with_parent(told.parent_fd)
    voice = Voice(told.progress_fd)
    try:
        from contender.stages.latency import timed

        models = [ReleaseManifest.model_validate(model) for model in request["models"]]
        folders, (count, seconds) = [Path(folder) for folder in request["folders"]], request["effort"]
        times = timed(models, folders, Path(request["rows"]), (count, seconds), request["device"])
    except Exception as error:  # noqa: BLE001 - the last line of defence: whatever happened becomes one sentence
        what = f"timing the models failed: {type(error).__name__}: {error}"
        voice.fail(error if isinstance(error, ContenderError) else StageFailed(what, "Run it again with --debug."))
        traceback.print_exc()
        return 1
    voice.say(report=[times[place] for place in sorted(times)])
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # tearing down torch and its threads can only fail
