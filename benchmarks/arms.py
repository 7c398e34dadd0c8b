"""What benchmarks of several arms have in common: each is measured once for every seed and data set, and may be kept between runs."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Found = list[dict[str, Any]]


def measured_arms(
    about: str | None,
    seeds: int,
    datasets: Iterable[str],
    arms: Iterable[str],
    measure: Callable[[str, str, int, Path], dict[str, Any]],
) -> tuple[Found, list[str]]:
    """What was measured, and the data sets asked for on the command line; `measure(data, arm, seed, empty folder)`.

    With `--keep` each is appended to a file of JSON lines, and what that has is not measured again. One thread, but for OMP_NUM_THREADS.
    """
    names = list(datasets)
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--data", nargs="*", default=names, choices=names)
    parser.add_argument("--keep", type=Path, default=None)
    told = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kept = told.keep is not None and told.keep.exists()
    found: Found = [json.loads(line) for line in told.keep.read_text().splitlines()] if kept else []
    had = {(one["data"], one["arm"], one["seed"]) for one in found}
    wanted = [(data, arm, seed) for seed in range(1, told.seeds + 1) for data in told.data for arm in arms]
    for data, arm, seed in wanted:
        if (data, arm, seed) in had:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(data, arm, seed, Path(folder)))
        if told.keep:
            with told.keep.open("a") as stream:
                stream.write(json.dumps(found[-1]) + "\n")
    return found, told.data
