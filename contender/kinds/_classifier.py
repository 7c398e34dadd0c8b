"""A released classifier: examples to the probabilities of its labels. Whoever evaluates it and whoever serves it run this code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import ContenderError, Damaged, ModelError, UsageError
from contender.kinds._loading import first_line, load_release
from contender.kinds.base import Prediction
from contender.training.devices import one_thread, wait_passively

if TYPE_CHECKING:
    import numpy as np

    from contender.kinds._attribution import Explained
    from contender.records import ReleaseManifest

OnRows = Callable[[int], None]
BATCH = 64
AUTO = "AutoModelForSequenceClassification"
# Multiplications up to which a CPU answers sooner with one thread. MiniLM on two cores: a text of 16 tokens (1.7e8) takes 14.7 ms with one
# thread and 16.4 with two, of 64 tokens 23.4 and 23.9, of 80 tokens 27.0 and 26.4.
LITTLE_WORK = 5e8


class LoadedClassifier:
    """The model in `folder` on a device, in fp32: CUDA, else MPS, else the CPU where none is named.

    `auto`: the class of transformers that loads it, such as AutoModelForSequenceClassification.
    """

    def __init__(self, folder: Path, auto: str, device: str | None = None) -> None:
        wait_passively()
        self._model, self.device = load_release(auto, folder, device)
        config = self._model.config
        self.names = [str(config.id2label[index]) for index in range(config.num_labels)]
        # The model is shared batch by batch, so that one example waits for one batch of a long request and not for all of it.
        self._computing = threading.Lock()
        self._per_token = _multiplications(self._model)

    def batch_probabilities(self, batch: Mapping[str, Any]) -> np.ndarray:
        """float32 (examples, labels), of tensors that the model takes."""
        import torch

        with self._computing, torch.inference_mode(), self._threads(batch):
            inputs = {key: value.to(self.device) for key, value in batch.items()}
            return self._of_logits(self._model(**inputs).logits.float().cpu().numpy())

    def _threads(self, batch: Mapping[str, Any]) -> AbstractContextManager[None]:
        tokens = batch["input_ids"].numel() if "input_ids" in batch else 0
        little = 0 < tokens * self._per_token <= LITTLE_WORK
        return one_thread() if little and self.device.type == "cpu" else nullcontext()

    def _of_logits(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)


def _multiplications(model: Any) -> int:
    """By the layers of a model for each token: the size of the matrices that it is multiplied with."""
    linear = [
        module for module in model.modules() if hasattr(module, "in_features") and hasattr(module, "out_features")
    ]
    return sum(module.in_features * module.out_features for module in linear)


class Classifier(LoadedClassifier):
    """One that reads texts."""

    def __init__(self, folder: Path, tokenizer: Any, device: str | None = None) -> None:
        super().__init__(folder, AUTO, device)
        self._tokenizer = tokenizer
        self._tokenizing = (
            threading.Lock()
        )  # a fast tokenizer keeps what its last call asked for, and raises where two threads ask at once

    def probabilities(self, texts: Sequence[str], batch_size: int, told: OnRows | None = None) -> np.ndarray:
        """float32 (texts, labels), in the order of the texts; `told` gets how many are done. Threads may call it at once."""
        import numpy as np

        with self._tokenizing:
            encoded = encode(self._tokenizer, list(texts), self._tokenizer.model_max_length)
        examples = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
        order = sorted(range(len(examples)), key=lambda row: -len(examples[row]["input_ids"]))
        result = np.empty((len(examples), len(self.names)), np.float32)
        done = 0
        for batch in _chunks(order, batch_size):
            result[batch] = self.batch_probabilities(pad(self._tokenizer, [examples[row] for row in batch]))
            done += len(batch)
            if told:
                told(done)
        return result

    def explain(
        self, texts: Sequence[str], answers: Sequence[str], told: OnRows | None = None
    ) -> list[Explained | None]:
        """Why each text was given its answer, None where it gets another one. What answers afterwards has no gradients any more."""
        from contender.kinds._attribution import Explainer

        try:
            explainer = Explainer(self._model, self._tokenizer, self.device)
            return explainer.explain(texts, [self.names.index(answer) for answer in answers], told)
        except ContenderError:
            raise
        except Exception as error:  # whatever an architecture lacks: an embedding of its input, a gradient, offsets
            raise ModelError(
                f"answers of {type(self._model).__name__} cannot be explained: {first_line(error)}",
                "Its metrics and verdict are as they are; set report.examples: none to leave explanations out.",
            ) from error


def check_call(inputs: Any, batch_size: int) -> None:
    """UsageError for what a release's `predict` cannot take as its inputs, or as their number at a time."""
    if isinstance(inputs, str | bytes | Mapping):
        raise UsageError(
            "predict takes a list of inputs, and was given a single one", "Put it into a list: predict([input])"
        )
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}", "It is 1 or more.")


def text_of(place: int, given: Any, column: str) -> str:
    """The text of one input, which is one or a row that has it in `column`; UsageError, naming its place, where it has none."""
    text = given.get(column) if isinstance(given, Mapping) else given
    if not isinstance(text, str):
        row = f"has no text in column {column!r}" if isinstance(given, Mapping) else "is no text"
        raise UsageError(
            f"input {place} {row}: it is of type {type(text).__name__}",
            f"Give texts, or rows with a text in column {column!r}.",
        )
    return text


class ReleasedClassifier:
    """A release that answers, as `contender.kinds.base.Model` says."""

    def __init__(self, manifest: ReleaseManifest, classifier: Any) -> None:
        """`classifier`: a LoadedClassifier with `probabilities(examples, batch_size)`."""
        if manifest.label_names and list(manifest.label_names) != classifier.names:
            raise Damaged(
                f"release {manifest.release} has other labels in its manifest than in its config.json",
                "Pull the release again; where that repeats, it was changed after it was made.",
            )
        self.manifest = manifest
        self.device = str(classifier.device)
        self.labels = tuple(classifier.names)
        self._classifier = classifier

    def predict(self, inputs: Sequence[Any], *, batch_size: int = BATCH) -> list[Any]:
        import numpy as np

        check_call(inputs, batch_size)
        examples = [self._example(place, given) for place, given in enumerate(inputs)]
        if not examples:
            return []
        probabilities = self._classifier.probabilities(examples, batch_size)
        if not np.isfinite(probabilities).all():
            raise ModelError(
                f"release {self.manifest.release} gave probabilities that are no numbers",
                "Its weights hold infinities or NaN, or the device overflows: serve another release.",
            )
        orders = np.argsort(-probabilities, axis=-1, kind="stable")
        return [
            self._answer({self.labels[label]: float(row[label]) for label in order})
            for row, order in zip(probabilities, orders, strict=True)
        ]

    def _answer(self, scores: dict[str, float]) -> Any:
        """One answer, of every label's probability, the highest first."""
        return Prediction(scores)

    def _example(self, place: int, given: Any) -> Any:
        """What the classifier takes, of one input; UsageError where it is none."""
        raise NotImplementedError


class TextClassifier(ReleasedClassifier):
    """Inputs are texts, or rows that hold the text's column."""

    def warm_up(self) -> None:
        for texts in (["warm up"], ["warm up " * 100], ["warm up"] * 8):
            self.predict(texts)

    def _example(self, place: int, given: Any) -> str:
        return text_of(place, given, self.manifest.columns.get("text", "text"))


def encode(tokenizer: Any, texts: list[str], max_length: int) -> dict[str, list[Any]]:
    """Token ids, and token types where they say anything; masks are made when batches are padded."""
    encoded = tokenizer(texts, truncation=True, max_length=max_length, return_attention_mask=False, verbose=False)
    types = encoded.get("token_type_ids")
    ids = {"input_ids": encoded["input_ids"]}
    return {**ids, "token_type_ids": types} if types and any(types[0]) else ids


def pad(tokenizer: Any, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch as wide as its longest example, up to a multiple of 8; `(rows, width)` each."""
    import numpy as np
    import torch

    lengths = [len(example["input_ids"]) for example in examples]
    width = max(min(-(-max(lengths) // 8) * 8, tokenizer.model_max_length), max(lengths))
    padding = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    names = [name for name in padding if name in examples[0]]
    arrays = {name: np.full((len(examples), width), padding[name], np.int64) for name in names}
    mask = np.zeros((len(examples), width), np.int64)
    for row, (example, length) in enumerate(zip(examples, lengths, strict=True)):
        place = slice(0, length) if tokenizer.padding_side == "right" else slice(width - length, width)
        mask[row, place] = 1
        for name in names:
            arrays[name][row, place] = example[name]
    return {name: torch.from_numpy(array) for name, array in (arrays | {"attention_mask": mask}).items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _chunks(order: list[int], size: int) -> Iterator[list[int]]:
    return (order[start : start + size] for start in range(0, len(order), size))
