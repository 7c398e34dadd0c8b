"""Training only the embedding rows that the data uses.

A vocabulary has 30,000 to 250,000 tokens and a data set uses a few thousand of them. The other rows get no gradient, yet AdamW walks
over all of them, and their moments, at every step: for a small base that is a third of the step, and for a multilingual one most
of the optimizer's memory. So the used rows are trained in a compact table and put back at the end: the same updates, without
weight decay on rows that the data does not speak about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

WORTH_IT = 0.7  # a larger share of used rows than this gains too little


class UsedRows(nn.Embedding):  # type: ignore[misc]  # torch is not followed
    """An embedding of the rows `used` of `whole`, addressed by the ids of the whole."""

    index: torch.Tensor

    def __init__(self, whole: nn.Embedding, used: torch.Tensor) -> None:
        device = whole.weight.device
        index = torch.zeros(whole.num_embeddings, dtype=torch.long)
        index[used] = torch.arange(len(used))
        padding = None if whole.padding_idx is None else int(index[whole.padding_idx])
        super().__init__(
            len(used), whole.embedding_dim, padding_idx=padding, _weight=whole.weight.detach()[used].clone()
        )
        self.used = used
        # In a list, so that it is no submodule: neither trained, moved nor saved. The device has no use for it.
        self.whole = [whole.to("cpu")]
        self.register_buffer("index", index.to(device), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(self.index[input])


def use_rows(model: Any, used: np.ndarray) -> None:
    """Puts the compact table in place of the model's input embedding, where that pays and changes nothing else."""
    whole = model.get_input_embeddings()
    if not _is_plain(model, whole):
        return
    rows = np.union1d(used, [] if whole.padding_idx is None else [whole.padding_idx]).astype(np.int64)
    if len(rows) <= WORTH_IT * whole.num_embeddings:
        model.set_input_embeddings(UsedRows(whole, torch.from_numpy(rows)))


def restore_rows(model: Any) -> None:
    """Puts the whole embedding back, with the trained rows in it."""
    compact = model.get_input_embeddings()
    if isinstance(compact, UsedRows):
        (whole,) = compact.whole
        with torch.no_grad():
            whole.weight[compact.used] = compact.weight.detach().to(whole.weight)
        model.set_input_embeddings(whole.to(compact.weight.device))


def _is_plain(model: Any, embedding: Any) -> bool:
    """Whether it is an ordinary trainable table that no other part of the model shares."""
    if type(embedding) is not nn.Embedding or embedding.max_norm is not None or embedding.scale_grad_by_freq:
        return False
    if not embedding.weight.requires_grad:
        return False
    owners = [name for name, value in model.named_parameters(remove_duplicate=False) if value is embedding.weight]
    return len(owners) == 1
