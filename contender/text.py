"""Text from outside, made safe for where it is shown: a terminal, Markdown, a CSV cell, a page, a report that leaves the workspace, a chat.

HTML is escaped by the templates; everything here is about what escaping alone leaves dangerous or invisible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Characters that act instead of showing: controls, line and paragraph separators, direction marks and overrides, zero-width and
# invisible ones, tags, lone surrogates. The joiners U+200C and U+200D stay: Persian and emoji need them.
ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}

REDACTED_LENGTH = 200  # characters of a row that a redacted text shows
NAME_LENGTH = 80  # characters of a column's or a label's name in a message
MAX_CELL = 10_000  # characters of a CSV cell; the row's file and number lead to the rest
E_MAIL = "[e-mail]"
LOOKED_AT = 10_000  # characters of a row that redaction reads, so that a 10 MB cell costs nothing

BLOCKS = "▁▂▃▄▅▆▇█"

FORMULA = re.compile(r"^\s*[=+\-@＝＋－＠]")
MARKDOWN = re.compile(r"[\\`*_{}\[\]()#!|~$]")
# What chats and mail act on, as signs that look alike: no service's own escapes are the others'. <!channel> and @here ring everybody's
# bell in Slack, Mattermost and Discord; `{{` is a placeholder of a Prefect block; a link's text may hide where it leads.
CHAT = str.maketrans({"<": "‹", ">": "›", "@": "＠", "`": "ˋ", "*": "∗", "~": "∼"})
HIDING_LINK = re.compile(r"\](?=[(\[:])")
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
ADDRESS = re.compile(r"\b(https?|ftp|mailto|xmpp|www)(?=[:.])|(?<=\S)@(?=\S)", re.IGNORECASE)
LINE_START = re.compile(r"^(\s*)([-+=]|\d+(?=[.)](?:\s|$)))", re.MULTILINE)


def escape_of(character: str) -> str:
    """A character as its escape: \\n, \\x1b, \\u202e."""
    if character in SHORT:
        return SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str, keep: str = "") -> str:
    """`text` with every acting character shown as its escape, but for those in `keep`."""
    return ACTING.sub(lambda found: found[0] if found[0] in keep else escape_of(found[0]), text)


def terminal_safe(text: str, keep_newlines: bool = False) -> str:
    """Text that cannot move the cursor, colour, retitle or reorder a terminal's line."""
    return visible(text, keep="\n" if keep_newlines else "")


def json_safe(document: str) -> str:
    """A JSON document with every acting character as JSON's own escape: the same document, which a terminal may show.

    Outside strings JSON has none but the line ends between its values.
    """
    return ACTING.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], document)


def csv_safe(cell: str) -> str:
    """A CSV cell that a spreadsheet shows instead of computing: `=1+1` becomes `'=1+1`, control characters their escapes."""
    shown = visible(cell)
    return f"'{shown}" if FORMULA.match(shown) or (cell[:1] in "\t\r\n" and cell) else shown


def safe_cell(value: Any) -> str:
    """A value that a spreadsheet shows and does not run, a terminal prints and does not obey; numbers stay numbers."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > MAX_CELL:
        text = f"{text[:MAX_CELL]}… ({len(text)} characters)"
    return text if _is_number(text) else csv_safe(text)


def _is_number(text: str) -> bool:
    if not text.isascii() or not text.isprintable():
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def markdown_safe(text: str) -> str:
    """Text that Markdown renders as it is: no links, images, HTML, emphasis, lists, tables, and no bare address that GitHub's links."""
    shown = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = LINE_START.sub(_escaped_start, MARKDOWN.sub(r"\\\g<0>", shown))
    return ADDRESS.sub(r"\g<0><!---->", escaped)  # an empty comment ends the text, and with it what would be an address


def chat_safe(text: str, length: int) -> str:
    """At most `length` characters in one line that Slack, Teams, Discord, Mattermost and a mail show as they are, whether they take
    them for plain text, HTML or Markdown; who signs in by a URL is left out."""
    shown = CREDENTIALS.sub("…@", visible(text[: 2 * length]))
    shown = HIDING_LINK.sub("] ", shown.translate(CHAT)).replace("{{", "{ {").replace("{{", "{ {")
    return shorten(shown, length)


def redact(text: str, length: int = REDACTED_LENGTH) -> str:
    """At most `length` characters, e-mail addresses as [e-mail], every digit as #."""
    head = text[:LOOKED_AT]
    if len(text) > LOOKED_AT:
        # Half an address at the cut would not be seen as one.
        head = re.sub(r"\S+\Z", "", head) or "…"
    masked = re.sub(r"\S+", lambda found: masked_word(found[0]), head)
    return masked if len(masked) <= length and len(text) <= LOOKED_AT else f"{masked[:length].rstrip('…')}…"


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last one an ellipsis where something was cut."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def blocks(values: Sequence[float], width: int = 40) -> str:
    """A block for each value, from the lowest to the highest of them; at most so many, the last of each stretch."""
    every = max(1, -(-len(values) // width))
    shown = list(values[::-1][::every])[::-1]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    steps = [(value - low) / (high - low) if high > low else 1.0 for value in shown]
    return "".join(BLOCKS[round(step * (len(BLOCKS) - 1))] for step in steps)


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names from data as one phrase: at most so many, each quoted and shortened."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(repr(shorten(name, NAME_LENGTH)) for name in every[:most]) + more


def shorten_keys(counts: Mapping[str, int], length: int = NAME_LENGTH) -> dict[str, int]:
    """The same counts under short names; two names that begin alike stay two."""
    shown: dict[str, int] = {}
    for name, count in counts.items():
        short = shorten(name, length)
        number = 2
        while short in shown:
            short, number = f"{shorten(name, length)} ({number})", number + 1
        shown[short] = count
    return shown


def masked_word(word: str) -> str:
    """What stands between two spaces: E_MAIL where it holds an address, else as long as it was, every digit as #."""
    if re.search(r"[^@＠][@＠][^@＠]", word):
        return E_MAIL
    return "".join("#" if character.isdigit() else character for character in word)


def _escaped_start(found: re.Match[str]) -> str:
    space, mark = found.groups()
    return f"{space}{mark}\\" if mark[0].isdigit() else f"{space}\\{mark}"
