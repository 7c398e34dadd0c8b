"""Distillation (Hinton, Vinyals and Dean 2015, arXiv 1503.02531): a smaller model learns the answers of a trained one.

The teacher answers the training rows once, before the first step; its answers are a column of the job's own rows, memory-mapped, so
that they follow their row through every shuffle and every resumed attempt. In a batch they travel behind the class of each row, in
`labels`: what the Trainer hands to the loss and to nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.nn.functional import kl_div

from contender.kinds.base import Kind
from contender.training.dataset import derive
from contender.training.options import Job, Teacher

ANSWERS = "teacher"  # column of logits (labels,)
AT_ONCE = 64  # examples that the teacher answers, where memory holds a whole step's

Examples = Sequence[Mapping[str, Any]]
Collate = Callable[[Examples], dict[str, Any]]


def with_answers(
    job: Job,
    teacher: Teacher,
    kind: Kind,
    rows: datasets.Dataset,
    train: datasets.Dataset,
    path: Path,
    device: Any,
    at_once: int,
    alive: Callable[[], None],
) -> datasets.Dataset:
    """`train`, prepared from `rows`, with the teacher's logits for each of them, kept in `path`.

    The teacher reads the rows by its own processor, `at_once` at a time.
    """
    if not path.exists():
        # An attempt that finds the answers draws the same numbers from here on as the one that computed them.
        with torch.random.fork_rng(devices=[]):
            answer = _answering(job, teacher, kind, device, at_once, alive)
            derive(rows, path, lambda chunk: {ANSWERS: answer(chunk)})
    return datasets.concatenate_datasets([train, datasets.Dataset.from_file(str(path))], axis=1)


def _answering(
    job: Job, teacher: Teacher, kind: Kind, device: Any, at_once: int, alive: Callable[[], None]
) -> Callable[[Mapping[str, Any]], np.ndarray]:
    """Columns of rows to the teacher's logits, float32 (rows, labels)."""
    folder = Path(teacher.folder)
    processor = kind.load_processor(folder)
    model = kind.load_model(folder, job.labels).to(device).eval()
    kind.set_up(job, processor, model)
    ids = {label: index for index, label in enumerate(job.labels)}

    def answer(chunk: Mapping[str, Any]) -> np.ndarray:
        columns = kind.prepare(processor, chunk, ids, getattr(processor, "model_max_length", 0))
        examples = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        result = np.empty((len(examples), len(ids)), np.float32)
        order = sorted(range(len(examples)), key=lambda row: -examples[row]["length"])
        with torch.inference_mode():
            for start in range(0, len(order), at_once):
                batch = order[start : start + at_once]
                inputs = kind.collate(processor, [examples[row] for row in batch])
                inputs = {name: value.to(model.device) for name, value in inputs.items() if name != "labels"}
                result[batch] = model(**inputs).logits.float().cpu().numpy()
                alive()
        return result

    return answer


def carrying(collate: Collate) -> Collate:
    """Batches as `collate` makes them, but for `labels`: float32 (examples, 1 + labels), the class and the teacher's logits.

    Those of rows without a teacher's answer, which are validated on, stay as they are.
    """

    def both(examples: Examples) -> dict[str, Any]:
        batch = collate(examples)
        if ANSWERS in examples[0]:
            answers = torch.from_numpy(np.stack([np.asarray(one[ANSWERS], np.float32) for one in examples]))
            batch["labels"] = torch.cat([batch["labels"].float().unsqueeze(1), answers], dim=1)
        return batch

    return both


def distilling(teacher: Teacher, of_labels: Callable[..., Any]) -> Callable[..., Any]:
    """alpha · T² · KL(teacher ‖ student), both softened by the temperature T, + (1 − alpha) · the kind's own loss of the labels."""

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        if labels.dim() == 1:  # validation
            return of_labels(outputs, labels, num_items_in_batch)
        # The Trainer counts every number of the labels of a step as an item.
        rows = len(labels) if num_items_in_batch is None else num_items_in_batch / labels.shape[1]
        student = (outputs.logits.float() / teacher.temperature).log_softmax(-1)
        wanted = (labels[:, 1:] / teacher.temperature).log_softmax(-1)
        soft = kl_div(student, wanted, reduction="sum", log_target=True) * teacher.temperature**2 / rows
        return teacher.alpha * soft + (1 - teacher.alpha) * of_labels(outputs, labels[:, 0].long(), rows)

    return loss
