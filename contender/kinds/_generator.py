"""A released model that writes texts: what evaluates it and what serves it run this code, and it answers as its release says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.kinds._classifier import check_call, pad, text_of
from contender.kinds._loading import load_release
from contender.kinds._pairs import AUTO, load_pairs
from contender.training.devices import wait_passively

if TYPE_CHECKING:
    from contender.records import ReleaseManifest

OnRows = Callable[[int], None]
BATCH = 32


class Generator:
    """The model in `folder` on a device, in fp32: CUDA, else MPS, else the CPU where none is named.

    How answers are searched for, and how long they may be, stands in the release's generation_config.json.
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        wait_passively()
        self._pairs = load_pairs(folder)
        self._model, self.device = load_release(AUTO, folder, device)
        self._tokenizing, self._computing = threading.Lock(), threading.Lock()

    def answers(self, texts: Sequence[str], batch_size: int, told: OnRows | None = None) -> list[str]:
        """What the model writes for each text, in their order; `told` gets how many are done. Threads may call it at once."""
        import torch

        if not texts:
            return []
        with self._tokenizing:
            ids = self._pairs.sources(texts, self._pairs.model_max_length)
        # Longest first: one length to a batch, and a batch that does not fit memory fails first.
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        found = [""] * len(ids)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = pad(self._pairs.tokenizer, [{"input_ids": ids[row]} for row in rows])
            with self._computing, torch.inference_mode():
                written = self._model.generate(**{name: value.to(self.device) for name, value in batch.items()})
            with self._tokenizing:
                decoded = self._pairs.tokenizer.batch_decode(
                    written.cpu(), skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            for row, text in zip(rows, decoded, strict=True):
                found[row] = text.strip()
            if told:
                told(start + len(rows))
        return found


class TextWriter:
    """A release that answers, as `contender.kinds.base.Model` says; inputs are texts, or rows that hold the source's column."""

    labels: tuple[str, ...] = ()

    def __init__(self, manifest: ReleaseManifest, source: str, generator: Generator) -> None:
        self.manifest = manifest
        self.device = str(generator.device)
        self._column = manifest.columns.get(source, source)
        self._generator = generator

    def predict(self, inputs: Sequence[str | Mapping[str, Any]], *, batch_size: int = BATCH) -> list[str]:
        """The text that answers each input."""
        check_call(inputs, batch_size)
        texts = [text_of(place, given, self._column) for place, given in enumerate(inputs)]
        return self._generator.answers(texts, batch_size)

    def warm_up(self) -> None:
        self.predict(["warm up"])
