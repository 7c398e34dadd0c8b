"""Text classification by asking: the question, with some examples or none, and which label an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contender.apibase import Message

REVISION = 1  # raised when the same rows are asked otherwise
EXAMPLES = 8  # that a few-shot question shows
MOST_TOKENS = 64  # of an answer, which is a label
MOST_CHARACTERS = 8_000  # of a text
NO_LABEL = "(no label)"  # the prediction where an answer names none, or several


def question(text: str, labels: Sequence[str], examples: Sequence[tuple[str, str]] = ()) -> list[Message]:
    """What is asked about a text; `examples`: (text, label) of training rows."""
    listed = "\n".join(f"- {label}" for label in labels)
    asked = "Which of these labels does the text of the user have? Answer with that label as it stands here, and nothing else."
    turns: list[Message] = [{"role": "system", "content": f"{asked}\n{listed}"}]
    for example, label in examples:
        turns += [{"role": "user", "content": example[:MOST_CHARACTERS]}, {"role": "assistant", "content": label}]
    return [*turns, {"role": "user", "content": text[:MOST_CHARACTERS]}]


def label_of(answer: str, labels: Sequence[str]) -> str:
    """The one label that an answer is, or holds as words of its own; NO_LABEL where it is none of them, or several.

    Case, quotes and what stands around them are no matter. A label inside a longer one that the answer holds is not meant.
    """
    said = _plain(answer)
    by_name = {_plain(label): label for label in labels}
    if len(by_name) < len(labels):  # they differ in that alone
        by_name, said = {label: label for label in labels}, answer.strip()
    if said in by_name:
        return by_name[said]
    held = [name for name in by_name if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)]
    meant = [name for name in held if not any(name != other and name in other for other in held)]
    return by_name[meant[0]] if len(meant) == 1 else NO_LABEL


def _plain(text: str) -> str:
    return text.strip().strip("\"'`*.:!- \n").casefold()


def first_of_each(texts: Sequence[str], labels: Sequence[str], most: int = EXAMPLES) -> list[tuple[str, str]]:
    """(text, label) of at most so many rows, in their order: one of every label, then a second of each, as long as there are any."""
    seen: dict[str, int] = {}
    ranked = []
    for place, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label], place))
    return [(texts[place], labels[place]) for _, place in sorted(ranked)[:most]]
