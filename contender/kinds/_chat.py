"""Conversations as token ids, by the chat template of a base: what trains, what is asked, and what of it is an answer.

A content is text, whatever it holds: "<|im_end|>" inside one is read letter by letter and never becomes the token that ends a turn,
in training, in evaluation and in use alike.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from contender.errors import DataError, ModelError
from contender.kinds._loaded import check_vocabulary
from contender.kinds._loading import first_line, load_tokenizer

AUTO = "AutoModelForCausalLM"
FITS = "a base that writes text: Llama's, Qwen's, Gemma's and GPT-2's kin"

Message = dict[str, str]  # role, content
Span = tuple[int, int]  # characters of a text

# For a base without a template of its own. It needs no token that the base does not have already.
PLAIN = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:\n' }}{% endif %}"
)
# Some templates write the day into the system's turn, and another day would be another training: here it is always the one that
# Llama's own templates fall back to, in whichever format.
DAY = datetime(2024, 7, 26, tzinfo=UTC)
FORMATS = "aAbBdejmpyYHMSZ"
ALWAYS = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('%{one}', '{DAY.strftime(f'%{one}')}')" for one in FORMATS)
    + " }}{%- endmacro +%}"
)
PROBE = "qzxanswerqzx"  # a content that no template holds


@dataclass(frozen=True)
class Rendered:
    """A conversation as text; `contents`: where contents stand that hold what would be a special token elsewhere."""

    text: str
    contents: tuple[Span, ...] = ()

    def begins(self, other: Rendered) -> bool:
        return other.text.startswith(self.text)


@dataclass(frozen=True)
class Conversation:
    """Token ids, and for each whether it belongs to an answer, the token that ends the turn included."""

    ids: list[int]
    answers: list[bool]


@dataclass
class ChatTokenizer:
    """A tokenizer with its chat template. `ends`: ids that end an answer; `appended`: its own end, where the template writes none."""

    tokenizer: Any
    ends: tuple[int, ...] = ()
    appended: int | None = None
    packing: bool = False
    model_max_length: int = 0  # of training; the tokenizer keeps its own, which is the base's
    _special: re.Pattern[str] = field(init=False)
    _template: str = field(init=False)

    def __post_init__(self) -> None:
        tokens = sorted(filter(None, self.tokenizer.all_special_tokens), key=lambda token: (-len(token), token))
        self._special = re.compile("|".join(map(re.escape, tokens)))
        template = str(self.tokenizer.get_chat_template())
        self._template = ALWAYS + template if "strftime_now" in template else template
        asked = [{"role": "user", "content": "a"}]
        try:
            written = self._render([*asked, {"role": "assistant", "content": PROBE}], "")
        except DataError as error:
            raise ModelError(
                f"the base's chat template cannot be used: {error.what}", "Use a base with another one."
            ) from error
        if PROBE not in written.text:
            raise ModelError("the base's chat template leaves answers out", "Use a base with another one.")
        end = self._special.search(written.text.rpartition(PROBE)[2])
        self.appended = None if end else int(self.tokenizer.eos_token_id)
        ends = {int(self.tokenizer.eos_token_id), self.tokenizer.convert_tokens_to_ids(end.group()) if end else None}
        self.ends = tuple(sorted(token for token in ends if token is not None))

    @property
    def pad_token_id(self) -> int:
        """What batches are filled up with, behind a mask; many bases of this kind have no token for it."""
        own = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if own is None else own)

    @property
    def backend_tokenizer(self) -> Any:
        return self.tokenizer.backend_tokenizer

    def save_pretrained(self, folder: str) -> None:
        self.tokenizer.save_pretrained(folder)

    def conversation(self, messages: Sequence[Message]) -> Conversation:
        """A conversation up to the end of its last answer, with every answer of it marked.

        Where the template writes a conversation otherwise once it goes on, as those that leave out earlier thoughts do, only the
        last one: what stands before it then is what a model is asked with. DataError where the template refuses the conversation.
        """
        mark = _mark(messages)
        whole = self._render(messages, mark)
        spans = self._every_answer(messages, whole, mark)
        if spans is None:
            whole, last = self._last_answer(messages, whole, mark)
            spans = [last]
        ids, starts = self._encode(whole, [start for start, _ in spans])
        answers = [any(start <= at < end for start, end in _near(spans, at)) for at in starts]
        end = len(answers) - answers[::-1].index(True)
        ids, answers = ids[:end], answers[:end]
        if self.appended is not None:
            ids, answers = [*ids, self.appended], [*answers, True]
        return Conversation(ids, answers)

    def question(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of what the model is given, so that what it writes next is the answer."""
        return self._encode(self._render(messages, _mark(messages), asks=True), [])[0]

    def _every_answer(self, messages: Sequence[Message], whole: Rendered, mark: str) -> list[Span] | None:
        """Where each answer stands; None where the template is not one of turns behind each other."""
        spans = []
        for turn in (place for place, message in enumerate(messages) if message["role"] == "assistant"):
            try:
                before = self._render(messages[:turn], mark, asks=True)
                after = whole if turn == len(messages) - 1 else self._render(messages[: turn + 1], mark)
            except DataError:
                return None
            if not (before.begins(after) and after.begins(whole)):
                return None
            spans.append((len(before.text), len(after.text.rstrip())))
        return spans

    def _last_answer(self, messages: Sequence[Message], whole: Rendered, mark: str) -> tuple[Rendered, Span]:
        before = self._render(messages[:-1], mark, asks=True)
        start = len(before.text)
        if before.begins(whole):
            return whole, (start, len(whole.text.rstrip()))
        answer = messages[-1]["content"]
        held = ((start, start + len(answer)),) if self._special.search(answer) else ()
        end = "" if self.appended is not None else self._end_text()
        text = f"{before.text}{answer}{end}"
        return Rendered(text, (*before.contents, *held)), (start, len(text))

    def _end_text(self) -> str:
        """The token that ends a turn, as text."""
        (end, *_) = sorted(self.ends, key=lambda token: token == self.tokenizer.eos_token_id)
        return str(self.tokenizer.convert_ids_to_tokens(end))

    def _render(self, messages: Sequence[Message], mark: str, asks: bool = False) -> Rendered:
        """By the template; contents that hold a special token are put in afterwards, for what surrounds them to be told from them."""
        held: dict[str, str] = {}
        shown = []
        for place, message in enumerate(messages):
            content, core = message["content"], message["content"].strip()
            if self._special.search(core):
                stand_in = f"{mark}n{place}n"
                held[stand_in] = core
                content = content.replace(core, stand_in, 1)
            shown.append({"role": message["role"], "content": content})
        text = self._by_template(shown, asks)
        if not held:
            return Rendered(text)
        parts, spans, length = [], [], 0
        for part in re.split("(" + "|".join(held) + ")", text):
            found = held.get(part, part)
            if part in held:
                spans.append((length, length + len(found)))
            parts.append(found)
            length += len(found)
        return Rendered("".join(parts), tuple(spans))

    def _by_template(self, messages: Sequence[Message], asks: bool) -> str:
        from jinja2.exceptions import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=asks, chat_template=self._template
            )
        except TemplateError as error:
            raise DataError(
                f"the base's chat template refuses a conversation of {', '.join(m['role'] for m in messages)}: {first_line(error)}",
                "Leave out the roles that the base does not know, or use a base that does.",
            ) from error
        return str(text)

    def _encode(self, rendered: Rendered, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Token ids, and the place in the text where each begins; no token lies across one of the `cuts`."""
        if not rendered.contents:
            return self._cut(rendered.text, 0, cuts, split=False)
        ids: list[int] = []
        starts: list[int] = []
        for (start, end), control in self._pieces(rendered):
            text = rendered.text[start:end]
            own, at = (
                ([self.tokenizer.convert_tokens_to_ids(text)], [start]) if control else self._cut(text, start, cuts)
            )
            ids += own
            starts += at
        return ids, starts

    def _pieces(self, rendered: Rendered) -> Iterator[tuple[Span, bool]]:
        """The text in parts, and whether one is a special token of the template."""
        done, end = 0, len(rendered.text)
        for found in _outside(self._special, rendered.text, rendered.contents):
            yield (done, found.start()), False
            yield found.span(), True
            done = found.end()
        yield (done, end), False

    def _cut(self, text: str, begin: int, cuts: Sequence[int], split: bool = True) -> tuple[list[int], list[int]]:
        """As _encode, of a part that begins at a place of the whole; in parts itself only where a token would lie across a cut."""
        ids, offsets = self._tokens(text, split) if text else ([], [])
        across = next((cut for cut in cuts for start, end in offsets if start < cut - begin < end), None)
        if across is None:
            return ids, [begin + start for start, _ in offsets]
        at = across - begin
        (left, there), (right, here) = (
            self._cut(text[:at], begin, cuts, split),
            self._cut(text[at:], across, cuts, split),
        )
        return left + right, there + here

    def _tokens(self, text: str, split: bool) -> tuple[list[int], list[Span]]:
        encoded = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=split,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        return list(encoded["input_ids"]), list(encoded["offset_mapping"])


def _outside(pattern: re.Pattern[str], text: str, spans: Sequence[Span]) -> Iterator[re.Match[str]]:
    """What of the pattern stands wholly outside these spans; they are in order."""
    begin = 0
    for start, end in (*spans, (len(text), len(text))):
        yield from pattern.finditer(text, begin, start)
        begin = end


def _near(spans: Sequence[Span], at: int) -> Sequence[Span]:
    """The only one of the spans, which are in order, that can hold a place."""
    found = bisect_right(spans, at, key=lambda span: span[0])
    return spans[max(0, found - 1) : found]


def _mark(messages: Sequence[Message]) -> str:
    """Letters and digits that stand in none of the contents."""
    contents = "\0".join(message["content"] for message in messages)
    return f"q{sha256(contents.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def load_chat(base: Path) -> ChatTokenizer:
    """The base's tokenizer, with a plain template where it has none; ModelError where it cannot serve a model that writes."""
    tokenizer, config = load_tokenizer(base, "the tokenizer's files, such as tokenizer.json")
    check_vocabulary(tokenizer, config, base)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {base} cannot tell where its tokens stand", "Use a base with tokenizer.json."
        )
    if tokenizer.eos_token is None:
        raise ModelError(f"the tokenizer in {base} has no end token, and its answers would have no end", f"Use {FITS}.")
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN
    return ChatTokenizer(tokenizer)
