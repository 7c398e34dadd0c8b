"""Where things lie in a registry, and the names that may be part of such a place.

<store>/<pipeline>/releases/<release>/model/…                    evaluations/<release>/<evaluation>/…
                   releases/<release>/manifest.json              decisions/<key>.json
                   releases/<release>/train_keys.parquet         ledger/<set>/<n>.json
                   releases/<release>/data_files.parquet         judged/<set>/<sha256>.parquet
                   releases/<release>/signatures/<key>.json      split/<n>.json, aliases/<alias>/<n>.json
                   releases/<release>/claims/, deleting.json     aliases/<alias>.json
                   snapshots/<digest>.parquet                    monitoring/<n>.json, observed/<sha256>.parquet
                   releases/<release>/adapter/…                  noise/<key>.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from contender.errors import Damaged, UsageError
from contender.records import FileEntry, Record, canonical_json, digest

R = TypeVar("R", bound=Record)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RELEASE = re.compile(r"r-[0-9a-f]{16}")
NUMBERED = re.compile(r"(\d{8})\.json")
TRAIN_KEYS = "train_keys.parquet"  # hashes of the keys that the release, or what it was made from, trained on
DATA_FILES = "data_files.parquet"  # the files that its snapshot saw
ADAPTER = "adapter/"  # of a release that LoRA made: what peft loads onto the base
SEAL = "sha256"  # no record of the registry has a field of that name


@dataclass(frozen=True)
class Layout:
    """The keys of one pipeline."""

    pipeline: str

    def __post_init__(self) -> None:
        check_name("pipeline", self.pipeline)

    def release(self, release: str) -> str:
        return f"{self.pipeline}/releases/{check_name('release', release)}/"

    def manifest(self, release: str) -> str:
        return f"{self.release(release)}manifest.json"

    def model(self, release: str, path: str) -> str:
        return f"{self.release(release)}model/{path}"

    def beside(self, release: str, name: str) -> str:
        """A file of the release that is no part of the model, such as train_keys.parquet."""
        return f"{self.release(release)}{name}"

    def claims(self, release: str) -> str:
        return f"{self.release(release)}claims/"

    def mark(self, release: str) -> str:
        return f"{self.release(release)}deleting.json"

    def signatures(self, release: str) -> str:
        return f"{self.release(release)}signatures/"

    def evaluations(self, release: str) -> str:
        return f"{self.pipeline}/evaluations/{check_name('release', release)}/"

    def evaluation(self, release: str, evaluation: str) -> str:
        return f"{self.evaluations(release)}{check_name('evaluation', evaluation)}/"

    def decision(self, key: str) -> str:
        return f"{self.pipeline}/decisions/{check_name('decision', key)}.json"

    def snapshot(self, digest: str) -> str:
        """The files of a snapshot that was decided on."""
        return f"{self.pipeline}/snapshots/{check_name('snapshot', digest)}.parquet"

    def aliases(self) -> str:
        return f"{self.pipeline}/aliases/"

    def alias(self, alias: str) -> str:
        return f"{self.pipeline}/aliases/{check_name('alias', alias)}/"

    def alias_copy(self, alias: str) -> str:
        return f"{self.pipeline}/aliases/{check_name('alias', alias)}.json"

    def ledger(self, held_out: str) -> str:
        return f"{self.pipeline}/ledger/{check_name('set', held_out)}/"

    def judged(self, held_out: str, sha256: str) -> str:
        """The keys that one look judged for the first time."""
        return f"{self.pipeline}/judged/{check_name('set', held_out)}/{check_name('keys', sha256)}.parquet"

    def noises(self) -> str:
        return f"{self.pipeline}/noise/"

    def noise(self, key: str) -> str:
        return f"{self.noises()}{check_name('noise record', key)}.json"

    def monitoring(self) -> str:
        return f"{self.pipeline}/monitoring/"

    def observed(self, sha256: str) -> str:
        """The outcomes of the rows that one observation scored."""
        return f"{self.pipeline}/observed/{check_name('outcomes', sha256)}.parquet"

    def splits(self) -> str:
        return f"{self.pipeline}/split/"


def is_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not name.endswith(".json")


def is_release_id(name: str) -> bool:
    return bool(RELEASE.fullmatch(name))


def check_name(kind: str, name: str) -> str:
    """The name itself; UsageError where it could leave its place in the registry."""
    if not is_name(name):
        raise UsageError(
            f"{name[:100]!r} is no name of {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
            "Names hold letters, digits, dots, dashes and underscores, start with a letter or digit, and end otherwise than .json.",
        )
    if kind == "alias" and is_release_id(name):
        raise UsageError(f"{name} is no name of an alias: releases are named so", "Choose another: production, canary.")
    return name


def numbered(folder: str, n: int) -> str:
    return f"{folder}{n:08d}.json"


def number_of(folder: str, key: str) -> int:
    """The number of an entry's key; Damaged where something else lies in the folder."""
    match = NUMBERED.fullmatch(key.removeprefix(folder))
    if not match:
        raise Damaged(f"{key} does not belong into {folder}", "Move it away; entries are named by eight digits.")
    return int(match[1])


def sealed(record: Record) -> bytes:
    """The record as an object: its canonical JSON, and the sha256 of that beside its fields."""
    fields = record.model_dump(mode="json")
    return canonical_json(fields | {SEAL: digest(fields)})


def parsed(record: type[R], data: bytes, key: str) -> R:
    """The record that an object holds; Damaged where it is none, or not the one that was written."""
    try:
        fields = json.loads(data)
        seal = fields.pop(SEAL)
        whole = canonical_json(fields | {SEAL: seal}) == data and seal == digest(fields)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise Damaged(
            f"{key} has other content than its sha256 says",
            "It was changed or cut after it was written: restore it from a backup.",
        )
    try:
        return record.model_validate_json(canonical_json(fields))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the whole"
        raise Damaged(
            f"{key} is no {record.__name__}: {where}: {fault['msg']}",
            "It was written by another version of Contender, or belongs elsewhere: update Contender, or restore it from a backup.",
        ) from None


def files_digest(files: Iterable[FileEntry]) -> str:
    """sha256 over the canonical list of (path, size, sha256), whatever the order."""
    return digest(sorted([file.path, file.size, file.sha256] for file in files))


def release_id(of_digest: str) -> str:
    return f"r-{of_digest[:16]}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
