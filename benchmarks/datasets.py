"""Data in the shape that pipelines read: `python benchmarks/datasets.py NAME OUT` writes files of NAME into the folder OUT.

Reads CONTENDER_DATA/NAME, or ../shared/data/NAME beside the checkout. Without arguments it lists the names.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CONTENDER_DATA") or ROOT.parent / "shared" / "data")

Convert = Callable[[Path, Path], None]  # from the folder of the data to the folder of the files

SENTIMENTS = {"0": "negative", "1": "positive"}  # as sst2 has them
PART = 10_000  # lines of small_parallel_enja's own five parts


def small_parallel_enja(data: Path, out: Path) -> None:
    """English to Japanese: train-1.jsonl to train-5.jsonl of 10,000 sentences each, dev.jsonl and test.jsonl of 500."""
    pairs = _parallel(data / "train.en.gz", data / "train.ja.gz")
    for number in range(1, 6):
        _write(out / f"train-{number}.jsonl", islice(pairs, PART))
    for name in ("dev", "test"):
        _write(out / f"{name}.jsonl", _parallel(data / f"{name}.en", data / f"{name}.ja"))


def scitldr_a(data: Path, out: Path) -> None:
    """Abstracts and one-sentence summaries: train.jsonl, dev.jsonl, test.jsonl; several summaries are a list of references."""
    for name in ("train", "dev", "test"):
        rows = map(json.loads, _lines(data / f"{name}.jsonl.gz"))
        _write(out / f"{name}.jsonl", ({"text": " ".join(row["source"]), "summary": row["target"]} for row in rows))


def wnut17(data: Path, out: Path) -> None:
    """Names in tweets and forum posts: train.conll, dev.conll, test.conll, as they are."""
    names = {"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"}
    for name, file in names.items():
        shutil.copyfile(data / file, out / f"{name}.conll")


def wikigold(data: Path, out: Path) -> None:
    """Names in Wikipedia: wikigold.conll, one file as it is, in IO tags."""
    shutil.copyfile(data / "CONLL-format" / "data" / "wikigold.conll.txt", out / "wikigold.conll")


def wikisql_mlx(data: Path, out: Path) -> None:
    """Questions about tables and the SQL that answers them: train.jsonl, valid.jsonl, test.jsonl, as prompt and completion."""
    for name in ("train", "valid", "test"):
        rows = (json.loads(line)["text"].rpartition("\nA: ") for line in _lines(data / f"{name}.jsonl"))
        _write(out / f"{name}.jsonl", ({"prompt": asked, "completion": sql} for asked, _, sql in rows))


def banking77(data: Path, out: Path) -> None:
    """Questions to a bank, by 77 intents: train.csv and test.csv, as they are."""
    for name in ("train.csv", "test.csv"):
        shutil.copyfile(data / name, out / name)


def gsm8k(data: Path, out: Path) -> None:
    """School mathematics, questions and worked answers: train.jsonl.gz and test.jsonl.gz, as they are."""
    for name in ("train.jsonl.gz", "test.jsonl.gz"):
        shutil.copyfile(data / name, out / name)


def trec(data: Path, out: Path) -> None:
    """Questions by the type of their answer: train.jsonl and test.jsonl; label is one of 6, fine one of 50."""
    for name in ("train", "test"):
        lines = (data / f"TREC.{name}").read_text(encoding="latin-1").splitlines()
        pairs = (line.split(" ", 1) for line in lines)
        _write(
            out / f"{name}.jsonl", ({"text": text, "label": fine.split(":")[0], "fine": fine} for fine, text in pairs)
        )


def sign_digits(data: Path, out: Path) -> None:
    """Pictures of hand signs, in folders by digit: train.zip as it is; there is no official split."""
    shutil.copyfile(data / "sign_digits.zip", out / "train.zip")


SPEAKER = "theo"  # whom a model of fsdd's other speakers is tried on
OFFICIAL_TEST = 5  # recordings of each digit and speaker below this number are fsdd's own test set


def fsdd(data: Path, out: Path) -> None:
    """Spoken digits: a tar.gz for each speaker as it is, and tables of path, digit and speaker of each recording.

    train.csv and test.csv are the official split, others.csv and theo.csv one speaker apart from the others.
    """
    rows = []
    for archive in sorted(data.glob("*.tar.gz")):
        shutil.copyfile(archive, out / archive.name)
        with tarfile.open(archive) as members:
            names = [name for name in members.getnames() if name.endswith(".wav")]
        rows += [(f"{archive.name}!{name}", *Path(name).stem.split("_")) for name in names]
    tables = {
        "train": [row for row in rows if int(row[3]) >= OFFICIAL_TEST],
        "test": [row for row in rows if int(row[3]) < OFFICIAL_TEST],
        "others": [row for row in rows if row[2] != SPEAKER],
        SPEAKER: [row for row in rows if row[2] == SPEAKER],
    }
    for name, chosen in tables.items():
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(("audio", "label", "speaker"))
            table.writerows(row[:3] for row in chosen)


ADULT = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
]


def adult(data: Path, out: Path) -> None:
    """Who earns more than 50K a year: train.csv and test.csv with a header, labels written alike."""
    for name in ("train", "test"):
        with (
            gzip.open(data / f"adult-{name}.csv.gz", "rt", encoding="utf-8") as source,
            (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as sink,
        ):
            table = csv.writer(sink)
            table.writerow(ADULT)
            whole = (cells for cells in csv.reader(source) if len(cells) == len(ADULT))
            table.writerows([*(cell.strip() for cell in cells[:-1]), cells[-1].strip().rstrip(".")] for cells in whole)


def fraud_handbook_sim(data: Path, out: Path) -> None:
    """Simulated card transactions: a parquet file for each month, as they are."""
    for path in sorted(data.glob("*.parquet")):
        shutil.copyfile(path, out / path.name)


def clinc150(data: Path, out: Path) -> None:
    """Requests of 150 intents, and such that none fits (`oos`): train.jsonl, dev.jsonl, test.jsonl, out-of-scope rows among them."""
    sets = json.loads("".join(_lines(data / "data_full.json.gz")))
    for name, parts in {
        "train": ("train", "oos_train"),
        "dev": ("val", "oos_val"),
        "test": ("test", "oos_test"),
    }.items():
        rows = (row for part in parts for row in sets[part])
        _write(out / f"{name}.jsonl", ({"text": text, "label": label} for text, label in rows))


def sst2(data: Path, out: Path) -> None:
    """Sentiment of sentences: train.jsonl, dev.jsonl, test.jsonl."""
    for name in ("train", "dev", "test"):
        rows = (line.rsplit("\t", 1) for line in _lines(data / f"{name}.tsv"))
        _write(out / f"{name}.jsonl", ({"text": text, "label": SENTIMENTS[label]} for text, label in rows))


def tweet_eval(data: Path, out: Path) -> None:
    """Emotions of tweets: emotion-train.jsonl, emotion-dev.jsonl, emotion-test.jsonl."""
    emotion = data / "emotion"
    names = dict(line.split("\t") for line in _lines(emotion / "mapping.txt"))
    for name, file in {"train": "train", "dev": "val", "test": "test"}.items():
        pairs = zip(_lines(emotion / f"{file}_text.txt"), _lines(emotion / f"{file}_labels.txt"), strict=True)
        _write(out / f"emotion-{name}.jsonl", ({"text": text, "label": names[label]} for text, label in pairs))


DATASETS: dict[str, Convert] = {
    "adult": adult,
    "banking77": banking77,
    "clinc150": clinc150,
    "fraud_handbook_sim": fraud_handbook_sim,
    "fsdd": fsdd,
    "gsm8k": gsm8k,
    "scitldr_a": scitldr_a,
    "sign_digits": sign_digits,
    "small_parallel_enja": small_parallel_enja,
    "sst2": sst2,
    "trec": trec,
    "tweet_eval": tweet_eval,
    "wikigold": wikigold,
    "wikisql_mlx": wikisql_mlx,
    "wnut17": wnut17,
}


def _parallel(source: Path, target: Path) -> Iterator[dict[str, str]]:
    return ({"source": ours, "target": theirs} for ours, theirs in zip(_lines(source), _lines(target), strict=True))


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        yield from (line.rstrip("\n") for line in stream)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None, allow_abbrev=False)
    options.add_argument("name", nargs="?", choices=sorted(DATASETS))
    options.add_argument("out", nargs="?", type=Path)
    given = options.parse_args()
    if given.name is None or given.out is None:
        for name, convert in sorted(DATASETS.items()):
            print(f"{name}: {convert.__doc__}")
        return 2
    if not (DATA / given.name).is_dir():
        print(f"{DATA / given.name} is absent; CONTENDER_DATA names its parent", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    DATASETS[given.name](DATA / given.name, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
