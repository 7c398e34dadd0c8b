"""One text in, another one out, through AutoModelForSeq2SeqLM: what translation and summarization have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contender.kinds._generator import BATCH, Generator, TextWriter
from contender.kinds._lengths import length_limit, text_length
from contender.kinds._loading import load_base
from contender.kinds._new_pairs import has_tokenizer, new_model, new_pairs
from contender.kinds._options import keep_generation, peak_rate
from contender.kinds._pairs import AUTO, FITS, IGNORED, batch_of, load_pairs, prepare_pairs, sampled, usual_length
from contender.kinds.base import Defaults
from contender.names import TASKS
from contender.training.devices import wait_passively
from contender.training.dropout import dropouts
from contender.training.options import Job

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.kinds._pairs import TextPairs
    from contender.records import ReleaseManifest

# Customary peak rates, not measured here: 3e-4 for T5-small's 60 million parameters, 5e-5 for BART-large's 400 million.
RATES = ((60e6, 3e-4), (400e6, 5e-5))
LOWEST_RATE, HIGHEST_RATE = 1e-5, 1e-3
LORA_FACTOR, SCRATCH_RATE = 5.0, 1e-3

WINDOW = 2_048  # rows answered at a time: sorted by length inside, bounded in memory


class Seq2Seq(Defaults):
    """A kind that reads the role of its examples and writes the one of its target."""

    revision = 1
    chooses_by_loss = True  # writing answers for validation takes longer than an epoch of a small model

    def __init__(self, task: str) -> None:
        self.task = task
        facts = TASKS[task]
        assert facts.example is not None
        self._source, self._target = facts.example, facts.target

    def learning_rate(self, method: str, parameters: int) -> float:
        if method == "scratch":
            return SCRATCH_RATE
        rate = peak_rate(parameters, RATES, LOWEST_RATE, HIGHEST_RATE)
        return float(f"{LORA_FACTOR * rate if method == 'lora' else rate:.2g}")

    def above_encoder(self, model: Any) -> set[str]:
        return set()

    def processor_for(self, job: Job, rows: datasets.Dataset) -> TextPairs:
        """The base's; one made from the training rows where a training from nothing finds none there."""
        base = Path(job.base)
        if job.init == "scratch" and not has_tokenizer(base):
            return new_pairs(job, rows, (self._source, self._target))
        return load_pairs(base)

    def model_for(self, job: Job, processor: TextPairs) -> Any:
        if job.init == "scratch":
            return new_model(job, processor)
        return self.load_model(Path(job.base), job.labels, dropouts(job))

    def load_processor(self, base: Path) -> TextPairs:
        return load_pairs(base)

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        return load_base(AUTO, base, self.task, FITS, **changes)[0]

    def set_up(self, job: Job, processor: TextPairs, model: Any) -> None:
        """How answers are written goes into the model's generation configuration, and with it into the release."""
        import datasets

        wanted = job.generation
        longest = wanted.max_new_tokens
        if longest == "auto":
            answers = sampled(datasets.Dataset.from_file(job.train), self._target)
            longest = usual_length(processor.targets(answers, length_limit(processor.tokenizer, model.config)))
        keep_generation(
            model,
            wanted,
            longest,
            decoder_start_token_id=processor.start,
            eos_token_id=processor.tokenizer.eos_token_id,
            pad_token_id=processor.pad_token_id,
        )

    def warm_up(self, base: Path) -> None:
        wait_passively()
        import datasets  # noqa: F401
        from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoConfig

        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(str(base)))]

    def length(
        self, asked: int | Literal["auto"], processor: TextPairs, model_config: Any, rows: datasets.Dataset
    ) -> int:
        source = text_length(asked, processor.tokenizer, model_config, rows, self._source)
        if asked != "auto":
            return source
        limit = length_limit(processor.tokenizer, model_config)
        return min(limit, max(source, usual_length(processor.targets(sampled(rows, self._target), limit))))

    def prepare(
        self, processor: TextPairs, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        return prepare_pairs(processor, batch[self._source], batch[self._target], max_length)

    def collate(self, processor: TextPairs, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return batch_of(processor, examples)

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        from torch.nn.functional import cross_entropy

        def mean_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            total = cross_entropy(
                outputs.logits.float().flatten(0, 1),
                labels.flatten(),
                ignore_index=IGNORED,
                label_smoothing=job.options.label_smoothing,
                reduction="sum",
            )
            return total / ((labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)

        return mean_loss

    def scores(
        self, kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str], names: Sequence[str]
    ) -> dict[str, float]:
        raise NotImplementedError("the best checkpoint is chosen by the loss")

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order.

        Columns: key uint64, label string (the target as the file has it), prediction string, row int64. Reads nothing but `model`
        and `rows`; the same files give the same table on one machine.
        """
        import pyarrow as pa

        data = self.rows_of(rows)
        generator = Generator(model)
        schema = pa.schema({"key": pa.uint64(), "label": pa.string(), "prediction": pa.string(), "row": pa.int64()})
        tables = [schema.empty_table()]
        for start in range(0, len(data), WINDOW):
            window = data[start : start + WINDOW]
            told = (lambda done, start=start: on_rows(start + done)) if on_rows else None
            written = generator.answers(window[self._source], batch_size, told)
            columns = [window["_key"], window[self._target], written, range(start, start + len(written))]
            arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            tables.append(pa.table(arrays, schema=schema))
        return pa.concat_tables(tables)

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> TextWriter:
        return TextWriter(manifest, self._source, Generator(folder, device))
