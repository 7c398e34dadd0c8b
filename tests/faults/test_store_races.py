"""Twenty promoters at once, fifty times: one wins each time, and every other is told who it was."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standing import standing

from contender.errors import AliasMoved
from contender.records import AliasEntry
from contender.registry import Registry
from contender.store import LocalStore, MemoryStore, Store

RACERS = 20
ROUNDS = 50


def promote(registry: Registry, n: int, racer: int) -> dict[str, Any]:
    """What the racer was told: its entry, or why it lost."""
    try:
        entry = registry.promote(
            "production", n, standing(registry, f"{n}-{racer}"), reason="better", actor=f"racer {racer}"
        )
    except AliasMoved as error:
        return {"lost": error.what}
    return {"won": entry.model_dump(mode="json")}


def compare(told: list[list[dict[str, Any]]], registry: Registry) -> None:
    """One winner each round, whom the others were told of; and the log is what the winners were told, in order."""
    winners = []
    for n, answers in enumerate(told, 1):
        won = [AliasEntry.model_validate(answer["won"]) for answer in answers if "won" in answer]
        lost = [answer["lost"] for answer in answers if "lost" in answer]
        assert (len(won), len(lost)) == (1, RACERS - 1), f"round {n}"
        for what in lost:
            assert f"entry {n} names {won[0].release}, written by {won[0].actor} at {won[0].at}" in what
        winners += won
    assert registry.log("production") == winners
    assert registry.champion("production") == winners[-1]
    assert len({entry.writer for entry in winners}) == ROUNDS
    assert len({entry.actor for entry in winners}) > 1, "the same one always won: was it a race?"


@pytest.mark.slow
@pytest.mark.timeout(600)  # a thousand promotions on a real Ceph, whose disk others may keep busy
def test_of_twenty_racing_promoters_one_wins_and_the_others_are_told_who(store: Store):
    registries = [Registry(store, "intents") for _ in range(RACERS)]
    start = threading.Barrier(RACERS)

    def one(racer: int) -> list[dict[str, Any]]:
        answers = []
        try:
            for n in range(ROUNDS):
                start.wait()
                answers.append(promote(registries[racer], n, racer))
        except BaseException:
            start.abort()  # the others would wait for it for ever, and its error would not be seen
            raise
        return answers

    with ThreadPoolExecutor(RACERS) as pool:
        racing = [pool.submit(one, racer) for racer in range(RACERS)]
    errors = [error for future in racing if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, threading.BrokenBarrierError)):
        raise error
    answers = [future.result() for future in racing]
    compare([list(answered) for answered in zip(*answers, strict=True)], Registry(store, "intents"))


RACER = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[4]]
from pathlib import Path
from test_store_races import LocalStore, Registry, promote
registry = Registry(LocalStore(Path(sys.argv[2])), "intents")
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(promote(registry, int(line), int(sys.argv[3]))), flush=True)
"""


@pytest.mark.slow
def test_of_twenty_racing_processes_on_a_folder_one_wins(tmp_path: Path):
    here = Path(__file__).parent
    command = [sys.executable, "-c", RACER, str(here), str(tmp_path / "store")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": here.parents[1]}
    racers = [
        subprocess.Popen([*command, str(number), str(here.parent / "support")], **pipes) for number in range(RACERS)
    ]
    try:
        assert {racer.stdout.readline() for racer in racers} == {"ready\n"}
        told = []
        for n in range(ROUNDS):
            for racer in racers:
                racer.stdin.write(f"{n}\n")
            for racer in racers:
                racer.stdin.flush()
            told.append([json.loads(racer.stdout.readline()) for racer in racers])
        compare(told, Registry(LocalStore(tmp_path / "store"), "intents"))
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait(30)
            racer.stdout.close()


def test_two_winners_of_one_round_would_be_seen():
    told = [[promote(Registry(MemoryStore(), "intents"), 0, racer) for racer in range(RACERS)]]
    with pytest.raises(AssertionError, match="round 1"):
        compare(told, Registry(MemoryStore(), "intents"))
