"""The sizes of a classifier of tables (contender/kinds/_tabular_model.py), as transformers keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PretrainedConfig

SIZES = ("number_dim", "category_dim", "hidden_size", "num_hidden_layers", "members", "dropout")


class TabularConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is untyped here
    """Sizes of the model; `bins` and `sizes` come from the fitted encoder (contender/kinds/_table.py)."""

    model_type = "contender-tabular"

    def __init__(
        self,
        bins: list[int] | None = None,
        sizes: list[int] | None = None,
        number_dim: int = 16,
        category_dim: int = 16,
        hidden_size: int = 128,
        num_hidden_layers: int = 2,
        members: int = 8,
        dropout: float = 0.1,
        positive: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.bins = list(bins or [])
        self.sizes = list(sizes or [])
        self.number_dim = number_dim
        self.category_dim = category_dim
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.members = members
        self.dropout = dropout
        self.positive = positive
        super().__init__(**kwargs)

    def resize(self, changes: Mapping[str, Any]) -> None:
        """Sets some of `SIZES`; ValueError naming one that cannot be."""
        for key, value in changes.items():
            fits = (
                0 <= value < 1
                if key == "dropout" and isinstance(value, int | float)
                else type(value) is int and value >= 1
            )
            if not fits:
                raise ValueError(f"{key} is {value!r}")
            setattr(self, key, value)


AutoConfig.register(TabularConfig.model_type, TabularConfig, exist_ok=True)
