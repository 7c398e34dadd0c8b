"""Integrated gradients of a text classifier: how much each token added to the score of an answer.

Sundararajan, Taly and Yan 2017, arXiv:1703.01365, through captum. The path leads from padding in the place of every token of the
text to the text, in the space of the embeddings; what the tokenizer adds around a text (CLS, SEP) stays, and so gets nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contender.attribution import TOLERATED_GAP, Span
from contender.kinds._classifier import encode, pad

if TYPE_CHECKING:
    import torch

STEPS, MORE_STEPS = 12, 48  # points on the path (Gauss-Legendre); more where the weights do not add up with the fewer
USELESS_GAP = 0.5  # weights that miss more than half explain something else: a model that has other ways from the text to an answer
EXAMPLES_AT_ONCE = 8
SECONDS = 30.0  # of one model, before no further texts are begun: a promotion waits for the report
TOKENS_AT_ONCE = 4_096  # points of the path, times tokens: what a training of the same model holds in memory at least
CHARACTERS_A_TOKEN = 32  # of a text, at most, that are handed to the tokenizer for each token that the model reads
DIGITS = 6  # of a weight, behind the point


@dataclass(frozen=True)
class Explained:
    """One text: what its tokens added to the answer's score, that score's gain over padding, and how far the sum is from it."""

    spans: tuple[Span, ...]
    gain: float
    gap: float


@dataclass(frozen=True)
class _Text:
    place: int
    inputs: dict[str, list[int]]
    padding: dict[str, list[int]]  # the same, with padding in the place of the text
    offsets: list[tuple[int, int]]
    answer: int


class Explainer:
    """A classifier in memory, asked about its answers. It changes the model: no weight of it has a gradient any more."""

    def __init__(self, model: Any, tokenizer: Any, device: Any) -> None:
        from captum.attr import LayerIntegratedGradients

        self._model = model.requires_grad_(False)
        self._tokenizer = tokenizer
        self._device = device
        self._embeddings = model.get_input_embeddings()
        self._gradients = LayerIntegratedGradients(self._logits, self._embeddings)

    def explain(
        self, texts: Sequence[str], answers: Sequence[int], told: Callable[[int], None] | None = None
    ) -> list[Explained | None]:
        """One for each text, given the class that `answers` names; None where the model gives another, no weights that add up, or
        time was up: the shortest texts come first."""
        found: dict[int, Explained | None] = {}
        until = time.monotonic() + SECONDS
        prepared = self._prepared(texts, answers) if texts else []
        for group in _groups(prepared):
            found |= self._explained(group, STEPS)
            rough = [text for text in group if (one := found[text.place]) and not one.gap <= TOLERATED_GAP]
            if rough:
                found |= self._explained(rough, MORE_STEPS)
            if told:
                told(len(found))
            if time.monotonic() > until:
                break
        return [one if (one := found.get(place)) and one.gap <= USELESS_GAP else None for place in range(len(texts))]

    def _prepared(self, texts: Sequence[str], answers: Sequence[int]) -> list[_Text]:
        limit = self._tokenizer.model_max_length
        heads = [text[: CHARACTERS_A_TOKEN * limit] for text in texts]
        encoded = encode(self._tokenizer, heads, limit)
        marks = self._tokenizer(
            heads,
            truncation=True,
            max_length=limit,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        prepared = []
        for place, answer in enumerate(answers):
            inputs = {name: values[place] for name, values in encoded.items()}
            added = marks["special_tokens_mask"][place]
            empty = [
                token if kept else self._tokenizer.pad_token_id
                for token, kept in zip(inputs["input_ids"], added, strict=True)
            ]
            prepared.append(_Text(place, inputs, inputs | {"input_ids": empty}, marks["offset_mapping"][place], answer))
        return prepared

    def _explained(self, group: Sequence[_Text], steps: int) -> dict[int, Explained | None]:
        import torch

        batch, padding = (self._batch([getattr(text, part) for text in group]) for part in ("inputs", "padding"))
        ids, *rest = batch.values()
        answers = torch.tensor([text.answer for text in group], device=self._device)
        weights = self._gradients.attribute(
            ids,
            baselines=padding["input_ids"],
            target=answers,
            additional_forward_args=tuple(rest),
            n_steps=steps,
            internal_batch_size=max(len(group), TOKENS_AT_ONCE // ids.shape[1]),
        )
        scores, ends = self._ends(batch, padding)
        picked = answers.unsqueeze(-1)
        gains = (ends.gather(1, picked) - scores.gather(1, picked)).squeeze(-1).tolist()
        given = ends.argmax(-1).tolist()
        sums = weights.sum(-1).double().cpu()
        mask = batch["attention_mask"].bool().cpu()
        return {
            text.place: _read(text, sums[row][mask[row]].tolist(), gains[row]) if given[row] == text.answer else None
            for row, text in enumerate(group)
        }

    def _ends(self, batch: dict[str, torch.Tensor], padding: dict[str, torch.Tensor]) -> Any:
        """Logits at both ends of the path: with the embeddings of the padding, and of the text.

        Only the embeddings change on the way. A model that is given the padding's ids may see more in them: where the text ends,
        or other positions (RoBERTa's kin), so captum's own difference is not asked for.
        """
        import torch

        with torch.inference_mode():
            replaced = self._embeddings(padding["input_ids"])
            ends = self._logits(*batch.values())
            hook = self._embeddings.register_forward_hook(lambda *_: replaced)
            try:
                return self._logits(*batch.values()), ends
            finally:
                hook.remove()

    def _batch(self, examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        padded = pad(self._tokenizer, examples)
        names = ("input_ids", "attention_mask", "token_type_ids")
        return {name: padded[name].to(self._device) for name in names if name in padded}

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> Any:
        more = {} if types is None else {"token_type_ids": types}
        return self._model(input_ids=ids, attention_mask=mask, **more).logits.float()


def _groups(texts: Sequence[_Text]) -> Iterator[list[_Text]]:
    """Texts of about one length, shortest first, as many as may be computed at once."""
    group: list[_Text] = []
    for text in sorted(texts, key=lambda text: len(text.inputs["input_ids"])):
        tokens = (len(group) + 1) * len(text.inputs["input_ids"])
        if group and (len(group) == EXAMPLES_AT_ONCE or tokens > TOKENS_AT_ONCE):
            yield group
            group = []
        group.append(text)
    if group:
        yield group


def _read(text: _Text, weights: list[float], gain: float) -> Explained | None:
    import math

    total, size = math.fsum(weights), math.fsum(map(abs, weights))
    if not math.isfinite(size + gain):
        return None
    spans = (
        Span(start=start, end=end, weight=round(weight, DIGITS))
        for (start, end), weight in zip(text.offsets, weights, strict=True)
        if end > start
    )
    gap = abs(total - gain) / size if size else float(bool(gain))
    return Explained(tuple(spans), round(gain, DIGITS), round(gap, DIGITS))
