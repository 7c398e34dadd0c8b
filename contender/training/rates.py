"""Learning rates by parameter: of the layers above the encoder, and, with layer_decay, of each layer of it.

Layer-wise decay after Howard and Ruder, Universal Language Model Fine-tuning (2018), as Clark et al. use it for ELECTRA (2020): what
lies near the inputs is general and should move little, what lies near the answer is what the task changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from contender.errors import ModelError
from contender.training.options import Job

# What configurations call the number of their layers; num_hidden_layers is, in most, another name for their own.
COUNTS = ("num_hidden_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")


def check_layers(model: Any, job: Job) -> None:
    """ModelError where the job asks for rates by layer and the model has no layers to tell."""
    if job.options.layer_decay < 1 and not _stacks(model):
        raise ModelError(
            f"train.layer_decay is {job.options.layer_decay:g}, and no stack of equal layers was found in the base {job.base}, "
            f"a {model.config.model_type}",
            "Remove train.layer_decay; it is for bases such as BERT, ViT, T5 and Llama.",
        )


def rates_of(model: Any, decay: float, rate: float, head: Mapping[str, float]) -> dict[str, float]:
    """Parameter → peak learning rate, of those that do not learn at `rate`; `head`: the rates of the layers above the encoder."""
    below = {name: rate * decay**layers for name, layers in _below_top(model).items()} if decay < 1 else {}
    return {name: value for name, value in below.items() if value != rate and name not in head} | dict(head)


def set_rates(optimizer: torch.optim.Optimizer, named: Mapping[str, torch.Tensor], rates: Mapping[str, float]) -> None:
    """Gives the named parameters learning rates of their own; everything else of their groups stays.

    First in the optimizer are those that keep their group's rate: it is the one that the curve shows.
    """
    own = {id(named[name]): rate for name, rate in rates.items()}
    groups: list[dict[str, Any]] = [dict(group) for group in optimizer.param_groups]
    optimizer.param_groups.clear()
    for group in groups:
        by_rate: dict[float, list[torch.Tensor]] = {group["lr"]: []}
        for value in group["params"]:
            by_rate.setdefault(own.get(id(value), group["lr"]), []).append(value)
        for rate, parameters in by_rate.items():
            if parameters:
                optimizer.add_param_group(group | {"params": parameters, "lr": rate})


def _below_top(model: Any) -> dict[str, int]:
    """Parameter → layers between it and the top one of its stack: 0 in that and above it, their number in the embeddings.

    An encoder and a decoder are counted each from its own top, since every layer of the decoder reads the encoder's; what both
    share lies below the deeper one.
    """
    stacks = _stacks(model)
    names = [name for name, _ in model.named_parameters()]
    firsts = {path: next(n for n, name in enumerate(names) if name.startswith(f"{path}.")) for path in stacks}
    found = {}
    for place, name in enumerate(names):
        path = next((path for path in stacks if name.startswith(f"{path}.")), None)
        if path is not None:
            found[name] = stacks[path] - 1 - int(name.removeprefix(f"{path}.").split(".")[0])
            continue
        around = [path for path in stacks if name.startswith(f"{path.rpartition('.')[0]}.")] or list(stacks)
        # Modules are made in the order of the computation: what comes before the layers lies below them.
        is_below = "embed" in name or place < min(firsts[path] for path in around)
        found[name] = max(stacks[path] for path in around) if is_below else 0
    return found


def _stacks(model: Any) -> dict[str, int]:
    """Path of a list of equal layers → how many it has: as many as the configuration says."""
    counts = {count for key in COUNTS if isinstance(count := getattr(model.config, key, None), int)}
    return {path: len(layers) for path, layers in _lists(model) if len(layers) in counts and _alike(layers)}


def _lists(model: Any) -> Iterator[tuple[str, nn.ModuleList]]:
    """The outermost lists of modules."""
    inside: tuple[str, ...] = ()
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not path.startswith(inside):
            inside = (*inside, f"{path}.")
            yield path, module


def _alike(layers: nn.ModuleList) -> bool:
    """Whether they are blocks of one class; a list of projections is no stack."""
    return all(any(True for _ in layer.children()) for layer in layers) and len({type(layer) for layer in layers}) == 1
