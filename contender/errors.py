"""Every error that Contender raises on purpose.

    ContenderError
    ├── Transient                  worth another attempt: time-outs, throttling, resets
    │   ├── StoreUnavailable       the store did not answer, or answered 5xx
    │   ├── SourceChanged          files went away while they were read
    │   └── BeingDeleted           a garbage collector is about to remove the release
    └── Terminal                   another attempt ends the same way
        ├── UsageError             the command or the spec is wrong           exit 2
        │   ├── SpecError          the YAML, all its faults at once           exit 2
        │   └── NothingThere       a source without any file                  exit 2
        ├── DataError              the data cannot be used                    exit 4
        │   └── Unreadable         no right to read it; its bytes may be fine exit 4
        ├── ModelError             a base model or a release cannot be loaded exit 2
        ├── StageFailed            a stage's process ended without a result   exit 1
        │   └── TrainingFailed     the training job, without a model          exit 1
        │       └── OutOfMemory    for want of memory                         exit 1
        ├── StoreError             refused: no rights, no bucket, no space    exit 1
        │   ├── Missing            no object at that key                      exit 1
        │   ├── Damaged            bytes differ from their recorded sha256    exit 1
        │   ├── UnsafeStore        a promotion there could get lost           exit 1
        │   └── AlreadyExists      create-only lost: somebody else was first  exit 1
        ├── AliasMoved             the champion changed under a verdict       exit 3
        ├── Withdrawn              a rollback took the release back           exit 3
        ├── KeepsDying             a deployed run died too often              exit 1
        ├── TakenOver              a newer attempt at this run goes on        exit 1
        ├── OutcomeUnknown         a promotion's answer was lost              exit 1
        ├── InternalError          nobody foresaw it: a fault of ours         exit 1
        ├── DiskFull               no space left for the workspace            exit 1
        ├── BudgetSpent            resumable, once the budget is raised       exit 5
        └── Interrupted            stopped by a signal                        exit 75 or 130

An error says what is wrong, with the value, and what to do next. `fix` holds the second part, so that the terminal, the JSON
and the Prefect UI can each set it apart. All arguments go to `Exception.__init__`: every error survives pickling.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from contender.text import shorten

SHOWN = 200  # characters of a value, or of another library's message


class ContenderError(Exception):
    """`what` is one sentence with the value at fault; `fix` says what is allowed or what to do."""

    exit_code = 1
    ended: Any = None  # the contender.run.RunResult of the run that it ended, where it ended one

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n{self.fix}" if self.fix else self.what

    @property
    def in_one_line(self) -> str:
        return f"{self.what.rstrip('.')}. {self.fix}" if self.fix else self.what


class Transient(ContenderError):
    """Another attempt may well succeed."""


class StoreUnavailable(Transient):
    """The store did not answer in time, or answered that it could not."""


class SourceChanged(Transient):
    """Nothing was left to read of a source that had files a moment ago."""


class BeingDeleted(Transient):
    """A garbage collector has begun to remove the release; once it is gone, it can be staged again."""


class Terminal(ContenderError):
    """Another attempt would end the same way."""


class UsageError(Terminal):
    """The command, or what it names, is wrong."""

    exit_code = 2


class SpecError(UsageError):
    """The YAML is wrong; `what` holds one line per fault, each with file:line:column."""


class NothingThere(UsageError):
    """A source does not exist, or holds nothing: a wrong name, or one that nothing was put under yet."""


class DataError(Terminal):
    """The data cannot be used as it is."""

    exit_code = 4


class Unreadable(DataError):
    """The data may not be read now. That says nothing about its bytes: no decision is recorded for them."""


class ModelError(Terminal):
    """A base model or a release cannot be loaded safely."""

    exit_code = 2


class StageFailed(Terminal):
    """A stage's process ended without a result."""


class TrainingFailed(StageFailed):
    """The training job ended without a model."""


class OutOfMemory(TrainingFailed):
    """The training job needs more memory than there is; smaller steps may fit."""


class StoreError(Terminal):
    """The store refused: rights, bucket, space."""


class Missing(StoreError):
    """The store answered, and holds no object at that key."""


class Damaged(StoreError):
    """Bytes that do not match their recorded sha256."""


class UnsafeStore(StoreError):
    """The store does not keep two promotions apart, or would remove what a registry holds."""


class AlreadyExists(StoreError):
    """A create-only write found an object of somebody else's."""


class AliasMoved(Terminal):
    """The alias has an entry newer than the one that the verdict judged against."""

    exit_code = 3


class Withdrawn(Terminal):
    """A rollback left this release: only a person makes it live again."""

    exit_code = 3


class KeepsDying(Terminal):
    """A deployed run died too often, or at the same point each time: it is not continued again."""


class TakenOver(Terminal):
    """A newer attempt at the same deployed run began elsewhere: this one was taken for dead, and must not go on."""


class OutcomeUnknown(Terminal):
    """The answer to a promotion was lost and the store cannot be asked."""


class InternalError(Terminal):
    """Something that Contender did not foresee; never the user's fault."""


class DiskFull(Terminal):
    """No space is left where the workspace lies."""


class BudgetSpent(Terminal):
    """The training used the hours that it may; its checkpoint waits for a larger budget."""

    exit_code = 5


class Interrupted(Terminal):
    """Stopped by a signal; with a checkpoint the next run continues."""

    exit_code = 130

    def __init__(self, what: str, fix: str = "", resumable: bool = False) -> None:
        super().__init__(what, fix)
        self.args = (what, fix, resumable)
        self.resumable = resumable
        self.exit_code = 75 if resumable else 130


def known(word: str, value: object, allowed: Iterable[object]) -> str:
    """One phrase for every "not one of these" error: the value, the nearest known one, all known ones."""
    options = sorted(str(option) for option in allowed)
    shown = shorten(str(value), SHOWN)
    near = get_close_matches(shown, options, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {word} {shown!r}{guess}; known: {', '.join(options) or 'none'}"


def internal(error: BaseException) -> InternalError:
    """An error that nobody foresaw as one of ours, in one sentence; it stays the cause."""
    said = shorten(next(iter(str(error).splitlines()), ""), SHOWN)
    made = InternalError(
        f"internal error: {type(error).__name__}{f': {said}' if said else ''}",
        "Please report it, with the output of --debug.",
    )
    made.__cause__ = error
    return made
