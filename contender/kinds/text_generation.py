"""Text generation: the next turn of a conversation, learnt from conversations, through AutoModelForCausalLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contender.data.chats import MESSAGES, answer_of, conversation_of, prompt_of
from contender.kinds._chat import AUTO, FITS, load_chat
from contender.kinds._chatwriter import BATCH, ChatWriter, Writer
from contender.kinds._lengths import length_limit, within
from contender.kinds._loading import build, load_base
from contender.kinds._options import keep_generation, peak_rate
from contender.kinds._packing import IGNORED, batch_of, packed, refuse_leaks
from contender.kinds._pairs import sampled, usual_length
from contender.kinds.base import Defaults
from contender.training.devices import wait_passively
from contender.training.dropout import dropouts
from contender.training.options import Job

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

    from contender.kinds._chat import ChatTokenizer
    from contender.records import ReleaseManifest

# Peak rates: measured for a Llama of 260,000 parameters (wikisql_mlx, 2 epochs in batches of 16, loss on validation: 1.41 at 2e-3 and
# 5e-3, 1.59 at 6e-4), customary for 7 billion. Adapters ten times that, as Dettmers et al., QLoRA (2023) have it.
RATES = ((0.26e6, 2e-3), (7e9, 1e-5))
LOWEST_RATE, HIGHEST_RATE = 5e-6, 2e-3
ADAPTER_FACTOR, HIGHEST_ADAPTER_RATE, SCRATCH_RATE = 10.0, 6e-3, 1e-3

WINDOW = 2_048  # rows answered at a time: sorted by length inside, bounded in memory


class TextGeneration(Defaults):
    """The kind `text-generation`: chat, by supervised fine-tuning on answers alone."""

    task = "text-generation"
    revision = 1
    chooses_by_loss = True  # writing answers for validation takes longer than an epoch of a small model

    def learning_rate(self, method: str, parameters: int) -> float:
        if method == "scratch":
            return SCRATCH_RATE
        rate = peak_rate(parameters, RATES, LOWEST_RATE, HIGHEST_RATE)
        return float(f"{rate if method == 'full' else min(ADAPTER_FACTOR * rate, HIGHEST_ADAPTER_RATE):.2g}")

    def above_encoder(self, model: Any) -> set[str]:
        return set()

    def load_processor(self, base: Path) -> ChatTokenizer:
        return load_chat(base)

    def load_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any] = {}) -> Any:
        return load_base(AUTO, base, self.task, FITS, **changes)[0]

    def model_for(self, job: Job, processor: ChatTokenizer) -> Any:
        if job.method == "qlora":
            from contender.training.qlora import load_in_4_bits

            return load_in_4_bits(AUTO, Path(job.base), self.task, FITS, dropouts(job))
        return super().model_for(job, processor)

    def new_model(self, base: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> Any:
        from contender.training.scratch import changed_config

        return build(AUTO, changed_config(base, changes), base, self.task, FITS)

    def set_up(self, job: Job, processor: ChatTokenizer, model: Any) -> None:
        """How answers are written goes into the model's generation configuration, and with it into the release."""
        import datasets

        processor.packing = job.options.packing
        model.config.use_cache = False  # of training, as the Trainer has it; with a cache, packs are not told apart
        if processor.packing:
            refuse_leaks(model, job.base)
        wanted = job.generation
        longest = wanted.max_new_tokens
        if longest == "auto":
            cells = sampled(datasets.Dataset.from_file(job.train), MESSAGES)
            answers = [answer_of(conversation_of(cell, f"row {row}")) for row, cell in enumerate(cells)]
            ids = processor.tokenizer(answers, add_special_tokens=False, verbose=False)["input_ids"]
            limit = length_limit(processor.tokenizer, model.config)
            usual: int = min(usual_length([[*own, 0] for own in ids]), max(1, limit // 2))
            longest = usual
        keep_generation(
            model,
            wanted,
            longest,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
            eos_token_id=list(processor.ends),
            pad_token_id=processor.pad_token_id,
        )

    def warm_up(self, base: Path) -> None:
        wait_passively()
        import datasets  # noqa: F401
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

        MODEL_FOR_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(str(base)))]

    def length(
        self, asked: int | Literal["auto"], processor: ChatTokenizer, model_config: Any, rows: datasets.Dataset
    ) -> int:
        """Tokens of a conversation, or of a pack of them: what was asked, or the longest of the rows, within the base's context."""
        limit = length_limit(processor.tokenizer, model_config)
        if asked != "auto":
            return within(asked, limit)
        cells = sampled(rows, MESSAGES)
        lengths = (
            len(processor.conversation(conversation_of(cell, f"row {row}")).ids) for row, cell in enumerate(cells)
        )
        return min(limit, -(-max(lengths) // 8) * 8)

    def prepare(
        self, processor: ChatTokenizer, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        """Columns input_ids, labels, length, examples (how many a row holds) and, with packing, parts (the length of each).

        A conversation of more than `max_length` tokens is left out: cut, it would teach to end an answer in its middle.
        """
        read = [processor.conversation(conversation_of(cell, f"row {row}")) for row, cell in enumerate(batch[MESSAGES])]
        read = [one for one in read if len(one.ids) <= max_length]
        lengths = [len(one.ids) for one in read]
        packs = packed(lengths, max_length) if processor.packing else [[place] for place in range(len(read))]
        columns: dict[str, list[Any]] = {
            "input_ids": [[token for place in pack for token in read[place].ids] for pack in packs],
            "labels": [
                [
                    token if answers else IGNORED
                    for place in pack
                    for token, answers in zip(read[place].ids, read[place].answers, strict=True)
                ]
                for pack in packs
            ],
            "length": [sum(lengths[place] for place in pack) for pack in packs],
            "examples": [len(pack) for pack in packs],
        }
        if processor.packing:
            columns["parts"] = [[lengths[place] for place in pack] for pack in packs]
        return columns

    def collate(self, processor: ChatTokenizer, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return batch_of(examples, processor.pad_token_id)

    def loss(self, job: Job, train: datasets.Dataset) -> Callable[..., Any]:
        from torch.nn.functional import cross_entropy

        def mean_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            """Over the tokens of answers, each told from those before it."""
            wanted = labels[:, 1:]
            learnt = wanted != IGNORED
            total = cross_entropy(
                outputs.logits[:, :-1][learnt].float(),
                wanted[learnt],
                label_smoothing=job.options.label_smoothing,
                reduction="sum",
            )
            return total / (learnt.sum() if num_items_in_batch is None else num_items_in_batch)

        return mean_loss

    def scores(
        self, kept: np.ndarray, label_ids: np.ndarray, labels: Sequence[str], names: Sequence[str]
    ) -> dict[str, float]:
        raise NotImplementedError("the best checkpoint is chosen by the loss")

    def predict(
        self, model: Path, rows: Path, *, batch_size: int = BATCH, on_rows: Callable[[int], None] | None = None
    ) -> pa.Table:
        """A release's outcomes on a row file, one row each, in the file's order.

        Columns: key uint64, label string (the answer in the data), prediction string, nll float64 (−ln of the probability of the
        answer in the data) and tokens float64 (how many it has), row int64. Reads nothing but `model` and `rows`; the same files
        give the same table on one machine.
        """
        import pyarrow as pa

        data = self.rows_of(rows)
        writer = Writer(model)
        figures = {"nll": pa.float64(), "tokens": pa.float64()}
        schema = pa.schema(
            {"key": pa.uint64(), "label": pa.string(), "prediction": pa.string(), **figures, "row": pa.int64()}
        )
        tables = [schema.empty_table()]
        for start in range(0, len(data), WINDOW):
            window = data[start : start + WINDOW]
            turns = [conversation_of(cell, f"row {start + row}") for row, cell in enumerate(window[MESSAGES])]
            told = (lambda done, start=start: on_rows(start + done)) if on_rows else None
            surprise = writer.surprise(turns, batch_size)
            written = writer.answers([prompt_of(own) for own in turns], batch_size, told)
            columns = [
                window["_key"],
                [answer_of(own) for own in turns],
                written,
                *surprise.T,
                range(start, start + len(turns)),
            ]
            arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            tables.append(pa.table(arrays, schema=schema))
        return pa.concat_tables(tables)

    def load(self, folder: Path, manifest: ReleaseManifest, device: str | None = None) -> ChatWriter:
        return ChatWriter(manifest, Writer(folder, device))


KIND = TextGeneration()
