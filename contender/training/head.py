"""Linear probing: the base stays as it is, its features are computed once, and only the last layer is trained on them.

The features are standardised for the training, which makes one learning rate fit every base, and the standardisation is folded into
the layer at the end: what is released is an ordinary model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from contender.errors import ModelError
from contender.training.dataset import derive

FEATURES_BATCH = 64
TINY = 1e-6  # a feature that varies less than this says nothing, and must not be blown up


class Probe(nn.Module):  # type: ignore[misc]  # torch is not followed
    """The trainable layer over standardised features `(rows, width)`."""

    def __init__(self, layer: nn.Linear, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(layer.in_features, layer.out_features)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, features: torch.Tensor, labels: torch.Tensor | None = None) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=self.layer((features - self.mean) * self.scale))

    def fold_into(self, layer: nn.Linear) -> None:
        """Gives `layer` the weights with which it answers on raw features as this does."""
        with torch.no_grad():
            weight = self.layer.weight * self.scale
            layer.weight.copy_(weight)
            layer.bias.copy_(self.layer.bias - weight @ self.mean)


def last_layer(model: Any, classes: int, base: str) -> nn.Linear:
    """The layer that gives the logits; ModelError where the architecture has none that can be trained alone."""
    own = {id(module) for module in model.base_model.modules()}
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and id(m) not in own and m.out_features == classes]
    if not layers or layers[-1].bias is None:
        raise ModelError(
            f"method head cannot train the base {base}: it has no final linear layer of its own", "Use method: full."
        )
    return layers[-1]


def with_features(
    rows: datasets.Dataset,
    path: Path,
    model: Any,
    layer: nn.Linear,
    collate: Callable[..., Any],
    at_once: int,
    alive: Callable[[], None],
) -> datasets.Dataset:
    """The rows' inputs to `layer`, kept in `path`; columns features `(width,)`, labels, length."""

    def change(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
        names = list(chunk)
        examples = [dict(zip(names, values, strict=True)) for values in zip(*chunk.values(), strict=True)]
        features = _features(examples, model, layer, collate, at_once, alive)
        return {"features": features, "labels": chunk["labels"], "length": np.ones(len(examples), np.int32)}

    return derive(rows, path, change).with_format("numpy")


def _features(
    examples: Sequence[Mapping[str, Any]],
    model: Any,
    layer: nn.Linear,
    collate: Callable[..., Any],
    at_once: int,
    alive: Callable[[], None],
) -> np.ndarray:
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].float().cpu()))
    result = np.empty((len(examples), layer.in_features), np.float32)
    order = sorted(range(len(examples)), key=lambda row: -examples[row]["length"])
    try:
        model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), at_once):
                batch = order[start : start + at_once]
                inputs = {
                    k: v.to(model.device) for k, v in collate([examples[row] for row in batch]).items() if k != "labels"
                }
                model(**inputs)
                feature = seen.pop()
                if feature.shape != (len(batch), layer.in_features):
                    raise ModelError(
                        "method head cannot train this base: its last layer sees more than one vector per example",
                        "Use method: full.",
                    )
                result[batch] = feature.numpy()
                alive()
    finally:
        hook.remove()
    return result


def standardising(features: datasets.Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and reciprocal deviation of every feature, in one pass over chunks."""
    total = square = np.float64(0)
    for start in range(0, len(features), 10_000):
        chunk = np.asarray(features[start : start + 10_000]["features"], np.float64)
        total, square = total + chunk.sum(axis=0), square + (chunk**2).sum(axis=0)
    mean = total / len(features)
    deviation = np.sqrt(np.maximum(square / len(features) - mean**2, 0))
    scale = np.where(deviation > TINY, 1 / np.maximum(deviation, TINY), 0)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)


def collate_features(examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    features = torch.from_numpy(np.stack([np.asarray(example["features"], np.float32) for example in examples]))
    labels = torch.from_numpy(np.stack([np.asarray(example["labels"], np.int64) for example in examples]))
    return {"features": features, "labels": labels}
