"""A released model that writes the next turn of a conversation: what evaluates it and what serves it run this code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.data.chats import MESSAGES, cell_of, fault_of, messages_of, prompt_of
from contender.errors import UsageError
from contender.kinds._chat import AUTO, Message, load_chat
from contender.kinds._classifier import check_call
from contender.kinds._lengths import length_limit
from contender.kinds._loading import load_release
from contender.training.devices import wait_passively

if TYPE_CHECKING:
    import numpy as np

    from contender.records import ReleaseManifest

OnRows = Callable[[int], None]
BATCH = 32
MOST_LOGITS = 1 << 28  # at a time, 1 GB: a vocabulary may have 250,000 tokens

Conversation = Sequence[Message]


class Writer:
    """The model in `folder` on a device, in fp32: CUDA, else MPS, else the CPU where none is named.

    How answers are searched for, what ends them and how long they may be stands in the release's generation_config.json.
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        wait_passively()
        self._chat = load_chat(folder)
        self._model, self.device = load_release(AUTO, folder, device)
        self._limit = length_limit(self._chat.tokenizer, self._model.config)
        self._tokenizing, self._computing = threading.Lock(), threading.Lock()

    def answers(self, prompts: Sequence[Conversation], batch_size: int, told: OnRows | None = None) -> list[str]:
        """What the model writes after each prompt, in their order; `told` gets how many are done. Threads may call it at once.

        A prompt that leaves no room for an answer loses its oldest turns; the system's and the last stay. A last turn that is too
        long by itself loses its beginning.
        """
        import torch

        room = max(1, self._limit - int(self._model.generation_config.max_new_tokens or 0))
        with self._tokenizing:
            ids = [_shortened(prompt, room, self._chat.question)[-room:] for prompt in prompts]
        found = [""] * len(ids)
        done = 0
        for rows in _batches(ids, lambda _: batch_size):
            inputs, mask = self._padded([ids[row] for row in rows], left=True)
            with self._computing, torch.inference_mode():
                written = self._model.generate(input_ids=inputs, attention_mask=mask)[:, inputs.shape[1] :].cpu()
            with self._tokenizing:
                decoded = self._chat.tokenizer.batch_decode(
                    written, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            for row, text in zip(rows, decoded, strict=True):
                found[row] = text.strip()
            done += len(rows)
            if told:
                told(done)
        return found

    def surprise(self, conversations: Sequence[Conversation], batch_size: int) -> np.ndarray:
        """(conversations, 2) float64: −ln of the probability of each one's last turn, and its tokens, the one that ends it included.

        Read as `answers` reads: what is beyond the base's context loses its oldest turns, and of the last turn every token counts.
        """
        import numpy as np
        import torch
        from torch.nn.functional import cross_entropy

        windows: list[tuple[int, list[int], int]] = []
        with self._tokenizing:
            for row, conversation in enumerate(conversations):
                read = _shortened(conversation, self._limit, lambda turns: self._chat.conversation(turns).ids)
                windows += [(row, *window) for window in _windows(read, self._answer(conversation), self._limit)]
        found = np.zeros((len(conversations), 2))
        vocabulary = self._model.get_input_embeddings().num_embeddings
        ids = [window for _, window, _ in windows]
        for batch in _batches(ids, lambda width: max(1, min(batch_size, MOST_LOGITS // (width * vocabulary)))):
            inputs, mask = self._padded([ids[place] for place in batch], left=False)
            with self._computing, torch.inference_mode():
                logits = self._model(input_ids=inputs, attention_mask=mask).logits
                for place, own in zip(batch, logits, strict=True):
                    row, read, count = windows[place]
                    end = len(read)
                    wanted = torch.tensor(read[end - count :], device=own.device)
                    nll = cross_entropy(own[end - count - 1 : end - 1].float(), wanted, reduction="none")
                    found[row] += [float(nll.double().sum()), count]
        return found

    def _answer(self, conversation: Conversation) -> int:
        """Tokens of its last turn."""
        answers = self._chat.conversation(conversation).answers[::-1]
        return answers.index(False) if False in answers else len(answers)

    def _padded(self, rows: Sequence[Sequence[int]], left: bool) -> tuple[Any, Any]:
        """input_ids and attention_mask (rows, width)."""
        import numpy as np
        import torch

        width = -(-max(map(len, rows)) // 8) * 8
        ids = np.full((len(rows), width), self._chat.pad_token_id, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for row, own in enumerate(rows):
            place = slice(width - len(own), width) if left else slice(0, len(own))
            ids[row, place], mask[row, place] = own, 1
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)


def _batches(ids: Sequence[Sequence[int]], size: Callable[[int], int]) -> Iterator[list[int]]:
    """Places by falling length: one length to a batch, and a batch that does not fit memory fails first."""
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    start = 0
    while start < len(order):
        count = size(len(ids[order[start]]))
        yield order[start : start + count]
        start += count


def _shortened(turns: Conversation, room: int, ids_of: Callable[[Conversation], list[int]]) -> list[int]:
    """Ids of a conversation without as many of its oldest turns, the system's excepted, as it takes to fit; of as few as can be."""
    ids = ids_of(turns)
    first = 1 if turns[0]["role"] == "system" else 0
    begins = [place for place, turn in enumerate(turns) if place > first and turn["role"] == "user"]
    for begin in begins:
        if len(ids) <= room:
            break
        ids = ids_of([*turns[:first], *turns[begin:]])
    return ids


def _windows(ids: list[int], count: int, limit: int) -> Iterator[tuple[list[int], int]]:
    """Ids of at most `limit`, and how many of the last ones count, so that the last `count` do so once each."""
    if len(ids) <= limit or count < limit:
        yield ids[-limit:], count
        return
    done = len(ids) - count
    while done < len(ids):
        end = min(len(ids), done + limit // 2)
        yield ids[max(0, end - limit) : end], end - done
        done = end


class ChatWriter:
    """A release that answers, as `contender.kinds.base.Model` says.

    An input is a text, which is one turn of a user; a list of turns; or a row whose column holds such a list, or one in JSON. Where
    the last turn is an answer it is left out: rows that a model was trained or judged on can be asked as they are.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, manifest: ReleaseManifest, writer: Writer) -> None:
        self.manifest = manifest
        self.device = str(writer.device)
        self._column = manifest.columns.get(MESSAGES, MESSAGES)
        self._writer = writer

    def predict(self, inputs: Sequence[Any], *, batch_size: int = BATCH) -> list[str]:
        """The text that answers each input."""
        check_call(inputs, batch_size)
        prompts = [self._prompt(place, given) for place, given in enumerate(inputs)]
        return self._writer.answers(prompts, batch_size) if prompts else []

    def warm_up(self) -> None:
        self.predict(["warm up"])

    def _prompt(self, place: int, given: Any) -> Conversation:
        import json

        found = given.get(self._column) if isinstance(given, Mapping) else given
        if isinstance(given, Mapping) and isinstance(found, str):
            try:
                found = json.loads(found)
            except ValueError:
                found = None
        if isinstance(found, str):
            found = [{"role": "user", "content": found}]
        if (
            not isinstance(found, Sequence)
            or isinstance(found, bytes)
            or not all(isinstance(turn, Mapping) for turn in found)
        ):
            raise UsageError(
                f"input {place} is no prompt: it is of type {type(given).__name__}",
                f"Give texts, lists of turns with role and content, or rows with such a list in column {self._column!r}.",
            )
        turns = [dict(turn) for turn in found]
        answered = bool(turns) and turns[-1].get("role") == "assistant"
        whole = turns if answered else [*turns, {"role": "assistant", "content": "answer"}]
        messages = messages_of(cell_of(whole))
        if messages is None:
            raise UsageError(
                f"input {place} is no conversation: {fault_of(cell_of(whole))}",
                "It may begin with a system turn; then user and assistant take turns, and the last is the user's.",
            )
        return prompt_of(messages)
