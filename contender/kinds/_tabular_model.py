"""A classifier of tables: piecewise-linear embeddings of numbers, embeddings of categories, and an ensemble of MLPs in one.

Numbers as Gorishniy, Rubachev and Babenko embed them, On Embeddings for Numerical Features in Tabular Deep Learning (NeurIPS 2022,
arXiv:2203.05556); the ensemble as Gorishniy, Kotelnikov and Babenko share its weights, TabM (ICLR 2025, arXiv:2410.24210, TabM-mini):
each member scales the features in its own way and has a layer of its own on top, all else is shared. Members are trained one by
one, and their probabilities are averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from contender.kinds._tabular_config import TabularConfig

FEW_SIGNS = 0.5  # chance of each sign of a member's first scales


@dataclass
class TabularOutput(ModelOutput):  # type: ignore[misc]
    """`logits` (rows, classes): the logarithms of the members' mean probabilities; `members` (rows, members, classes) in training."""

    logits: torch.Tensor | None = None
    members: torch.Tensor | None = None


class TabularModel(PreTrainedModel):  # type: ignore[misc]
    """`numbers` float32 (rows, numeric columns), places among a column's edges or NaN, and `categories` int64 (rows, columns)."""

    config_class = TabularConfig
    main_input_name = "numbers"
    base_model_prefix = "tabular"

    def __init__(self, config: TabularConfig) -> None:
        super().__init__(config)
        width = len(config.bins) * config.number_dim + len(config.sizes) * config.category_dim
        self.numbers = NumberEmbeddings(config) if config.bins else None
        self.categories = nn.Embedding(sum(config.sizes), config.category_dim) if config.sizes else None
        self.scales = nn.Parameter(torch.empty(config.members, width))
        layers: list[nn.Module] = []
        for layer in range(config.num_hidden_layers):
            size = config.hidden_size if layer else width
            layers += [nn.Linear(size, config.hidden_size), nn.ReLU(), nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers)
        top = config.hidden_size if layers else width
        self.head = nn.Parameter(torch.empty(config.members, top, config.num_labels))
        self.head_bias = nn.Parameter(torch.empty(config.members, config.num_labels))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, NumberEmbeddings):
            bound = max(self.config.bins) ** -0.5
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.uniform_(module.bias, -bound, bound)
            nn.init.zeros_(module.missing)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.category_dim**-0.5)
            with torch.no_grad():
                module.weight[self._offsets(module.weight.device)] = 0.0  # unseen values: nothing is known
        elif module is self:
            with torch.no_grad():
                self.scales.copy_(torch.where(torch.rand_like(self.scales) < FEW_SIGNS, -1.0, 1.0))
            nn.init.uniform_(self.head, -(self.head.shape[1] ** -0.5), self.head.shape[1] ** -0.5)
            nn.init.zeros_(self.head_bias)

    def _offsets(self, device: Any) -> torch.Tensor:
        """The first code of each categorical column in the one table of all."""
        sizes = torch.tensor([0, *self.config.sizes[:-1]], device=device)
        return sizes.cumsum(0)

    def forward(
        self,
        numbers: torch.Tensor | None = None,
        categories: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,  # unread: the Trainer evaluates only a model that could be given them
        **_: Any,
    ) -> TabularOutput:
        # In fp32 whatever the training asks for: places among edges need the digits, and there is little to gain in so small a model.
        with torch.autocast(self.device.type, enabled=False):
            features = self._features(numbers, categories).unsqueeze(1) * self.scales  # (rows, members, width)
            members = torch.einsum("rmh,mhc->rmc", self.layers(features), self.head) + self.head_bias
            mean = members.log_softmax(-1).logsumexp(1) - math.log(members.shape[1])
        return TabularOutput(logits=mean, members=members if self.training else None)

    def _features(self, numbers: torch.Tensor | None, categories: torch.Tensor | None) -> torch.Tensor:
        parts = []
        if self.numbers is not None:
            parts.append(self.numbers(numbers).flatten(1))
        if self.categories is not None and categories is not None:
            parts.append(self.categories(categories + self._offsets(categories.device)).flatten(1))
        return torch.cat(parts, dim=1)


class NumberEmbeddings(nn.Module):  # type: ignore[misc]
    """Places (rows, columns) to (rows, columns, dim): each bin adds in proportion to how much of it lies below the place."""

    def __init__(self, config: TabularConfig) -> None:
        super().__init__()
        columns, bins = len(config.bins), max(config.bins)
        self.weight = nn.Parameter(torch.empty(columns, bins, config.number_dim))
        self.bias = nn.Parameter(torch.empty(columns, config.number_dim))
        self.missing = nn.Parameter(torch.empty(columns, config.number_dim))

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        bins = torch.arange(self.weight.shape[1], device=places.device, dtype=places.dtype)
        gone = places.isnan()
        filled = (places.nan_to_num(0.0).unsqueeze(-1) - bins).clamp(0.0, 1.0)  # (rows, columns, bins)
        embedded = torch.einsum("rcb,cbd->rcd", filled, self.weight) + self.bias
        return torch.where(gone.unsqueeze(-1), self.missing + self.bias, embedded).relu()


AutoModel.register(TabularConfig, TabularModel, exist_ok=True)
