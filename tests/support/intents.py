"""A small made-up support desk with slices, a golden set, bad rows and a file that is no data: something on every page of a run."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from tiny import build_tiny_base

PHRASES = {
    "refund": ("my money back", "refund for order", "charged twice", "return the shoes", "wrong amount on the card"),
    "delivery": (
        "parcel is late",
        "where is my order",
        "courier left it outside",
        "tracking says lost",
        "delivery on monday",
    ),
    "account": (
        "cannot sign in",
        "reset my password",
        "change the e-mail",
        "close my account",
        "two accounts by mistake",
    ),
    "product": (
        "is it waterproof",
        "which size fits",
        "does it come in green",
        "spare parts for the lamp",
        "battery runs flat",
    ),
}
FILLER = (
    *("please", "hello", "thanks", "team", "again", "today", "since", "tuesday", "asap"),
    *("still", "kindly", "regards", "note", "urgent", "before", "after", "soon", "maybe"),
)
CHANNELS = ("mail", "chat", "phone")
PIPELINE = """\
name: support-intents
task: text-classification
data:
  source: tickets/
  columns: {{text: body, label: intent}}
  split: {{test: 0.3, validation: 0.15, near_duplicates: null}}
  golden: {{hard-cases: hard.csv}}
quality: {{max_bad_fraction: 0.05}}
model:
  base: {base}
train: {{epochs: 6, batch_size: 16, learning_rate: 5.0e-3, head_learning_rate: 5.0e-3, precision: fp32, early_stopping: 0}}
evaluate:
  slices: [channel]
promote:
  floors: {{accuracy: 0.2}}
  guards:
    slices: {{max_drop: 0.10}}
    golden: {{max_drop: 0.10}}
"""


def make(folder: Path) -> Path:
    """The pipeline's file, over a first drop where half of the labels are wrong."""
    (folder / "tickets").mkdir(parents=True)
    (folder / "base").mkdir()
    said = {word for phrases in PHRASES.values() for phrase in phrases for word in phrase.lower().split()}
    base = build_tiny_base(folder / "base", sorted({*said, *FILLER}))
    write(folder / "tickets" / "2026-10.csv", rows(300, seed=1, wrong=0.5))
    write(folder / "hard.csv", rows(120, seed=3))
    (folder / "support-intents.yaml").write_text(PIPELINE.format(base=base))
    return folder / "support-intents.yaml"


def drop(folder: Path) -> None:
    """More tickets, rightly labelled, a few of them broken, and notes that are no data."""
    write(folder / "tickets" / "2026-11.csv", [*rows(900, seed=2), *[("", "refund", "mail")] * 3])
    (folder / "tickets" / "readme.md").write_text("Exported from the help desk.\n")


def rows(count: int, seed: int, wrong: float = 0.0) -> list[tuple[str, str, str]]:
    dice = random.Random(seed)
    found = []
    for number in range(count):
        intent = list(PHRASES)[number % len(PHRASES)]
        words = [
            *dice.sample(FILLER, 3),
            *dice.sample(PHRASES[intent], 2),
            *dice.sample(FILLER, 2),
            f"no {dice.randrange(10**6)}",
        ]
        label = dice.choice([other for other in PHRASES if other != intent]) if dice.random() < wrong else intent
        found.append((" ".join(words), label, dice.choice(CHANNELS)))
    return found


def write(path: Path, found: list[tuple[str, str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("body", "intent", "channel"))
        writer.writerows(found)
