"""Text classification: one text in, one label out, through AutoModelForSequenceClassification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contender.errors import ModelError
from contender.kinds._classifier import AUTO, BATCH, Classifier, TextClassifier, encode, pad
from contender.kinds._labels import Classification, label_ids, no_outcomes, outcomes_of
from contender.kinds._lengths import text_length
from contender.kinds._loaded import check_vocabulary
from contender.kinds._loading import build, check_architecture, load_base, load_tokenizer, names_of
from contender.kinds._options import peak_rate
from contender.training.devices import wait_passively
from contender.training.scratch import changed_config

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from contender.attribution import Attribution
    from contender.records import ReleaseManifest

FITS = "a base whose architecture has a sequence-classification form in transformers"

# Peak learning rates that worked best on real data: parameters of the base → rate. Between them, linear in the logarithms.
MEASURED_RATES = ((22.7e6, 2e-4), (110e6, 5e-5))
LOWEST_RATE, HIGHEST_RATE = 1e-5, 5e-4
FIXED_RATES = {"head": 1e-2, "scratch": 5e-4}
# Adapters start from nothing too. MiniLM, 693 rows of Banking77, 6 epochs, r 16, alpha 32: five times the rate of full reached 81.0,
# ten times 79.2. QLoRA's authors found 1e-4 and 2e-4 for the largest bases.
LORA_FACTOR, LOWEST_LORA_RATE = 5.0, 1e-4

WINDOW = 8_192  # rows predicted at a time: sorted by length inside, bounded in memory


class TextClassification(Classification):
    """The kind `text-classification`."""

    task = "text-classification"
    revision = 2
    compact_embeddings = True
    problem = "single_label_classification"  # as transformers calls it

    def learning_rate(self, method: str, parameters: int) -> float:
        if method in FIXED_RATES:
            return FIXED_RATES[method]
        rate = peak_rate(parameters, MEASURED_RATES, LOWEST_RATE, HIGHEST_RATE)
        return float(f"{max(LORA_FACTOR * rate, LOWEST_LORA_RATE) if method == 'lora' else rate:.2g}")

    def check_base(self, base: Path) -> None:
        check_architecture(AUTO, base, self.task, FITS)
        self.load_processor(base)

    def load_processor(self, base: Path) -> Any:
        tokenizer, model_config = load_tokenizer(base, "tokenizer.json")
        if not tokenizer.is_fast:
            raise ModelError(f"the tokenizer in {base} has no fast form", "The folder must hold tokenizer.json.")
        check_vocabulary(tokenizer, model_config, base)
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise ModelError(
                    f"the tokenizer in {base} has neither a padding nor an end token", "Use a base for text."
                )
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        return load_base(AUTO, base, self.task, FITS, labels, problem_type=self.problem, **changes)[0]

    def new_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> Any:
        config = changed_config(base, changes)
        config.update(names_of(labels) | {"problem_type": self.problem})
        return build(AUTO, config, base, self.task, FITS)

    def warm_up(self, base: Path) -> None:
        wait_passively()
        import captum.attr  # noqa: F401
        import datasets  # noqa: F401
        from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig

        self.load_processor(base)
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(AutoConfig.from_pretrained(str(base)))]

    def length(self, asked: int | Literal["auto"], processor: Any, model_config: Any, rows: datasets.Dataset) -> int:
        return text_length(asked, processor, model_config, rows, "text")

    def prepare(
        self, processor: Any, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        encoded = encode(processor, list(batch["text"]), max_length)
        ids = label_ids(batch["label"], labels)
        return {**encoded, "labels": ids, "length": [len(tokens) for tokens in encoded["input_ids"]]}

    def collate(self, processor: Any, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        batch = pad(processor, examples)
        if "labels" in examples[0]:
            batch["labels"] = torch.tensor([example["labels"] for example in examples])
        return batch

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order.

        Columns: key uint64, label string, prediction string, p_label float32 (0 where the model does not know the label),
        confidence float32, row int64. Reads nothing but `model` and `rows`; the same files give the same table on one machine.
        """
        import numpy as np
        import pyarrow as pa

        data = self.rows_of(rows)
        classifier = self._classifier(model)
        tables = []
        for start in range(0, len(data), WINDOW):
            window = data[start : start + WINDOW]
            told = (lambda rows, start=start: on_rows(start + rows)) if on_rows else None
            probabilities = classifier.probabilities(window["text"], batch_size, told)
            table = outcomes_of(np.asarray(window["_key"], np.uint64), window["label"], probabilities, classifier.names)
            tables.append(table.append_column("row", pa.array(range(start, start + len(table)), pa.int64())))
        return pa.concat_tables(tables) if tables else no_outcomes()

    def explain(
        self, model: Path, rows: Path, answers: Mapping[int, str], *, on_rows: Callable[[int], None] | None = None
    ) -> list[Attribution]:
        from contender.attribution import Attribution
        from contender.evaluation.evaluate import read_columns

        column = read_columns(rows, ["text"]).column("text")
        classifier = self._classifier(model)
        known = [row for row, answer in answers.items() if answer in classifier.names]
        found = classifier.explain([column[row].as_py() for row in known], [answers[row] for row in known], on_rows)
        return [
            Attribution(row=row, answer=answers[row], spans=one.spans, gain=one.gain, gap=one.gap)
            for row, one in zip(known, found, strict=True)
            if one is not None
        ]

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> TextClassifier:
        return TextClassifier(manifest, self._classifier(folder, device))

    def _classifier(self, folder: Path, device: str | None = None) -> Classifier:
        wait_passively()
        return Classifier(folder, self.load_processor(folder), device)


KIND = TextClassification()
