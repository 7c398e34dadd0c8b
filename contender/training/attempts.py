"""The attempts at a training job: each has a number, taken create-only, and of two that live only the newest may go on.

    jobs/<key>/attempts/00000003.json     in the workspace's records

Where workers share a workspace, an attempt whose machine was cut off may still be training when its successor begins.
"""

from __future__ import annotations

import secrets

from contender.errors import AlreadyExists
from contender.records import Record
from contender.store import Store


class AttemptRecord(Record):
    """What is known of an attempt when it begins; `writer` makes it its own also where an answer was lost."""

    number: int
    writer: str
    micro_batch_size: int


class Attempts:
    """The attempts at one job, in a store that every worker sees."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._folder = f"jobs/{key}/attempts/"

    def take(self, micro_batch_size: int) -> int:
        """The next number, which is nobody else's."""
        number = self._newest_number()
        while True:
            number += 1
            record = AttemptRecord(number=number, writer=secrets.token_hex(8), micro_batch_size=micro_batch_size)
            try:
                self._store.create(self._key(number), record.to_bytes())
            except AlreadyExists:
                continue
            return number

    def is_newest(self, number: int) -> bool:
        """Whether no attempt began behind this one."""
        return not any(self._store.list(self._folder, after=self._key(number)))

    def newest(self) -> AttemptRecord | None:
        number = self._newest_number()
        return AttemptRecord.from_bytes(self._store.get(self._key(number))) if number else None

    def forget(self) -> None:
        """Once the job's model is kept, nobody asks for its attempts."""
        for info in list(self._store.list(self._folder)):
            self._store.delete(info.key)

    def _newest_number(self) -> int:
        names = [info.key.removeprefix(self._folder).removesuffix(".json") for info in self._store.list(self._folder)]
        return max((int(name) for name in names if name.isdigit()), default=0)

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:08d}.json"
