"""What a training of pairs from nothing begins with: a tokenizer made from its rows, and a model that fits it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.kinds._loading import build
from contender.kinds._pairs import AUTO, FITS, TextPairs, sampled
from contender.training.dropout import dropouts
from contender.training.scratch import changed_config

if TYPE_CHECKING:
    import datasets

    from contender.training.options import Job

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
ROWS = 100_000  # that the tokenizer is made from: some seconds; more would hardly change the commonest pieces
FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model", "vocab.json", "source.spm")


def has_tokenizer(base: Path) -> bool:
    return any((base / name).is_file() for name in FILES)


def new_pairs(job: Job, rows: datasets.Dataset, columns: tuple[str, str]) -> TextPairs:
    """A tokenizer of as many pieces of bytes as the base's configuration says, the commonest in sources and targets together.

    Bytes leave no character out, whatever the language; the same rows give the same tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token=UNKNOWN))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=changed_config(Path(job.base), job.config).vocab_size,
        special_tokens=[PAD, END, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_texts(rows, columns), trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, backend.token_to_id(END))]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
    return TextPairs(tokenizer, int(tokenizer.pad_token_id))


def new_model(job: Job, pairs: TextPairs) -> Any:
    """A model as the base's configuration with the job's changes describes it, with random weights; ModelError where there is none."""
    config = changed_config(Path(job.base), {**job.config, **dropouts(job)})
    if not has_tokenizer(Path(job.base)):
        config.vocab_size = -(-len(pairs.tokenizer) // 8) * 8
        config.pad_token_id = config.decoder_start_token_id = pairs.start
        config.eos_token_id = pairs.tokenizer.eos_token_id
        config.bos_token_id = config.forced_bos_token_id = config.forced_eos_token_id = None
    return build(AUTO, config, Path(job.base), job.task, FITS)


def _texts(rows: datasets.Dataset, columns: tuple[str, str]) -> Iterator[str]:
    from contender.data.references import references

    for column in columns:
        for text in sampled(rows, column, ROWS):
            yield from references(text)
