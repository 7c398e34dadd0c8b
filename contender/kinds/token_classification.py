"""Token classification: a sentence of words in, a tag for each out, through AutoModelForTokenClassification."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contender.data.jsonlists import texts_of
from contender.errors import DataError
from contender.kinds._classifier import BATCH, pad
from contender.kinds._labels import balanced
from contender.kinds._lengths import text_length
from contender.kinds._loading import load_base
from contender.kinds._tagger import AUTO, Tagger, TokenClassifier
from contender.kinds._windows import windows
from contender.kinds.base import Defaults
from contender.kinds.text_classification import KIND as TEXT
from contender.training.devices import wait_passively
from contender.training.options import Job

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.records import ReleaseManifest

IGNORED = (
    -100
)  # the target of a token that stands for no word: what torch's cross entropy leaves out, and the Trainer pads with
WINDOW = 4_096  # sentences predicted at a time: sorted by length inside, bounded in memory


class TokenClassification(Defaults):
    """The kind `token-classification`. A tagger is the encoder of a text classifier with another layer on top."""

    task = "token-classification"
    revision = 1
    compact_embeddings = True

    def learning_rate(self, method: str, parameters: int) -> float:
        return TEXT.learning_rate(method, parameters)

    def above_encoder(self, model: Any) -> set[str]:
        return TEXT.above_encoder(model)

    def load_processor(self, base: Path) -> Any:
        """A tokenizer that reads each word as it reads one behind a space, whatever its files say of the first."""
        tokenizer = TEXT.load_processor(base)
        _spaced(tokenizer.backend_tokenizer.pre_tokenizer)
        return tokenizer

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        fits = "a base whose architecture has a token-classification form in transformers"
        return load_base(AUTO, base, self.task, fits, labels, **changes)[0]

    def warm_up(self, base: Path) -> None:
        wait_passively()
        import datasets  # noqa: F401
        import seqeval.metrics.sequence_labeling  # noqa: F401
        from transformers import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, AutoConfig

        self.load_processor(base)
        MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING[type(AutoConfig.from_pretrained(str(base)))]

    def length(self, asked: int | Literal["auto"], processor: Any, model_config: Any, rows: datasets.Dataset) -> int:
        return text_length(asked, processor, model_config, rows, "tokens", words=True)

    def prepare(
        self, processor: Any, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        """One row for each window; a long sentence has several."""
        sentences, tags = _lists(batch["tokens"], batch["tags"])
        columns: dict[str, list[Any]] = {}
        for window in windows(processor, sentences, max_length):
            targets = [IGNORED] * len(window)
            for place, word in window.words.items():
                tag = tags[window.sentence][word]
                if tag not in labels:
                    raise DataError(f"the tag {tag!r} is not among the tags of the job", "Split the data again.")
                targets[place] = labels[tag]
            for name, values in {**window.inputs, "labels": targets, "length": len(window)}.items():
                columns.setdefault(name, []).append(values)
        return columns

    def collate(self, processor: Any, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        batch = pad(processor, examples)
        if "labels" in examples[0]:
            targets = torch.full_like(batch["input_ids"], IGNORED)
            # The mask is 1 at an example's own tokens, on whichever side it is padded.
            targets[batch["attention_mask"].bool()] = torch.tensor([t for one in examples for t in one["labels"]])
            batch["labels"] = targets
        return batch

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        import torch
        from torch.nn.functional import cross_entropy

        weights = balanced(_targets(train), len(job.labels)) if job.options.class_weights == "balanced" else None
        table = None if weights is None else torch.tensor(weights, dtype=torch.float32)

        def mean_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            """Over words, each the same whatever the length of its sentence."""
            logits = outputs.logits.float()
            weight = None if table is None else table.to(logits.device)
            total = cross_entropy(
                logits.flatten(0, 1),
                labels.flatten(),
                weight=weight,
                label_smoothing=job.options.label_smoothing,
                ignore_index=IGNORED,
                reduction="sum",
            )
            return total / ((labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)

        return mean_loss

    def kept(self, logits: Any, labels: Any) -> Any:
        """The place of each token's tag (rows, tokens) as float32; NaN where a logit is no number."""
        import torch

        finite = torch.isfinite(logits).all(dim=-1)
        return torch.where(finite, logits.argmax(dim=-1).float(), torch.nan)

    def scores(
        self, kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str], names: Sequence[str]
    ) -> dict[str, float]:
        """As of whole sentences; of one in several windows an entity that lies across two of them counts as two."""
        from contender.evaluation.metrics import compute

        own = label_ids != IGNORED
        truth, answers = (
            [[labels[int(tag)] for tag in row[mask]] for row, mask in zip(ids, own, strict=True)]
            for ids in (label_ids, kept)
        )
        return compute(_outcomes(range(len(truth)), truth, answers), names)

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order.

        Columns: key uint64, label and prediction strings (tags in JSON), confidence float32 (the lowest probability of a sentence's
        tags), row int64. Reads nothing but `model` and `rows`; the same files give the same table on one machine.
        """
        import pyarrow as pa

        data = self.rows_of(rows)
        tagger = self._tagger(model)
        tables = [_outcomes([], [], []).append_column("confidence", pa.array([], pa.float32()))]
        for start in range(0, len(data), WINDOW):
            window = data[start : start + WINDOW]
            sentences, truth = _lists(window["tokens"], window["tags"])
            told = (lambda rows, start=start: on_rows(start + rows)) if on_rows else None
            answers = tagger.tag(sentences, batch_size, told)
            found = [[tagger.names[tag] for tag in tags] for tags, _ in answers]
            table = _outcomes(window["_key"], truth, found)
            sure = pa.array([float(scores.min(initial=1.0)) for _, scores in answers], pa.float32())
            tables.append(table.append_column("confidence", sure))
        table = pa.concat_tables(tables)
        return table.append_column("row", pa.array(range(len(table)), pa.int64()))

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> TokenClassifier:
        return TokenClassifier(manifest, self._tagger(folder, device))

    def _tagger(self, folder: Path, device: str | None = None) -> Tagger:
        wait_passively()
        return Tagger(folder, self.load_processor(folder), device)


KIND = TokenClassification()


def _spaced(pre_tokenizer: Any) -> None:
    """Tells a tokenizer of bytes, such as GPT-2's and RoBERTa's, whose words in a text begin with the space in front of them."""
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.pre_tokenizers import Sequence as Several

    if isinstance(pre_tokenizer, ByteLevel):
        pre_tokenizer.add_prefix_space = True
    elif isinstance(pre_tokenizer, Several):
        parts: Any = pre_tokenizer
        for part in parts:
            _spaced(part)


def _lists(tokens: Sequence[str], tags: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Words and tags of rows; DataError, naming the first that there is, where a row has no tag for each word."""
    found = [(texts_of(words), texts_of(marks)) for words, marks in zip(tokens, tags, strict=True)]
    for row, (words, marks) in enumerate(found):
        if words is None or marks is None or len(words) != len(marks):
            raise DataError(
                f"row {row} has no tag for each word: tokens {tokens[row][:80]!r}, tags {tags[row][:80]!r}",
                "Give lists of text of one length in both columns. Golden sets pass no quality gate: correct the row there.",
            )
    return [words or [] for words, _ in found], [marks or [] for _, marks in found]


def _targets(train: datasets.Dataset) -> list[int]:
    """Of every word."""
    import numpy as np

    found = [chunk.flatten().to_numpy() for chunk in train.data.column("labels").chunks]
    targets = np.concatenate([np.empty(0, np.int64), *found])
    return [int(target) for target in targets[targets != IGNORED]]


def _outcomes(keys: Sequence[int], truth: Sequence[list[str]], answers: Sequence[list[str]]) -> pa.Table:
    import pyarrow as pa

    def texts(tags: Sequence[list[str]]) -> pa.Array:
        return pa.array([json.dumps(own, ensure_ascii=False) for own in tags], pa.string())

    return pa.table({"key": pa.array(keys, pa.uint64()), "label": texts(truth), "prediction": texts(answers)})
