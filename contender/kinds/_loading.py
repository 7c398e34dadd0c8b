"""Models through transformers: a base to train, one that starts from nothing, and a release that answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contender.errors import ModelError, UsageError
from contender.kinds._loaded import check_weights
from contender.models import read_config
from contender.names import INT8_METHOD
from contender.training.devices import best_device
from contender.training.loading import quiet_loading

DEVIATION = 0.02  # of a new layer's weights, where the architecture names none


def first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def names_of(labels: Sequence[str]) -> dict[str, Any]:
    """What a configuration says of labels: their names by class, and the other way round."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def load_tokenizer(base: Path, holds: str) -> tuple[Any, Any]:
    """The base's tokenizer and configuration; ModelError, which says what the folder `holds` else, where they cannot be loaded."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False)
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"the tokenizer in {base} cannot be loaded: {first_line(error)}", f"The folder must hold {holds}."
        ) from error
    return tokenizer, config


def check_architecture(auto: str, base: Path, task: str, fits: str) -> None:
    """ModelError unless `auto`, a class of transformers, has a model of the base's architecture."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    except Exception as error:
        raise ModelError(f"config.json in {base} cannot be read: {first_line(error)}", f"Use {fits}.") from error
    if type(config) not in getattr(transformers, auto)._model_mapping:
        raise ModelError(f"the base in {base} is a {config.model_type}, which has no form for {task}", f"Use {fits}.")


def load_base(
    auto: str, base: Path, task: str, fits: str, labels: Sequence[str] | None = None, **config: Any
) -> tuple[Any, dict[str, Any]]:
    """A base in fp32, and what from_pretrained tells of its loading; `auto`: the class of transformers that loads it.

    With `labels` its head is one for these, drawn anew where the base had one for others. `config`: what else is to differ from the
    base's configuration. ModelError, with the advice to use what `fits`, where it cannot be loaded or lacks weights.
    """
    import torch
    import transformers

    if labels is not None:
        config |= names_of(labels) | {"ignore_mismatched_sizes": True}
    try:
        with quiet_loading():
            model, loaded = getattr(transformers, auto).from_pretrained(
                str(base),
                **config,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:
        raise ModelError(
            f"the base model in {base} cannot be loaded for {task}: {first_line(error)}", f"Use {fits}."
        ) from error
    check_weights(model, loaded, base)
    if labels is not None:
        _forget_other_labels(model, loaded, base, labels)
    return model, loaded


def _forget_other_labels(model: Any, loaded: dict[str, Any], base: Path, labels: Sequence[str]) -> None:
    """Draws the last layer anew where the base was a classifier for as many other labels, whose answers it would begin with."""
    from torch import nn

    told = read_config(base, base.name).get("id2label") or {}
    before = [told[index] for index in sorted(told, key=int)]
    if len(before) != len(labels) or before == list(labels):
        return
    own = {id(module) for module in model.base_model.modules()}
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if id(module) not in own and isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]
    name, layer = next((one for one in reversed(layers) if one[1].weight.shape[0] == len(labels)), ("", None))
    if layer is None:
        raise ModelError(
            f"the base model in {base} answers with other labels, and has no last layer that could forget them",
            "Use the base that it was made from.",
        )
    if f"{name}.weight" not in loaded["missing_keys"]:
        nn.init.normal_(layer.weight, std=getattr(model.config, "initializer_range", DEVIATION))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def build(auto: str, config: Any, base: Path, task: str, fits: str) -> Any:
    """A model as `config`, that of `base`, describes it, in fp32, every weight drawn; ModelError where there is none."""
    import torch
    import transformers

    try:
        return getattr(transformers, auto).from_config(config, trust_remote_code=False, dtype=torch.float32)
    except Exception as error:
        raise ModelError(
            f"no model for {task} can be built from config.json in {base}: {first_line(error)}",
            f"Change model.config, or use {fits}.",
        ) from error


def load_release(auto: str, folder: Path, device: str | None = None) -> tuple[Any, Any]:
    """The model in `folder`, to answer with, in fp32, and its device: CUDA, else MPS, else the CPU where none is named.

    One that is quantised to int8 computes on the CPU; UsageError where another device is named.
    """
    import torch
    import transformers

    try:
        with quiet_loading():
            model = getattr(transformers, auto).from_pretrained(
                str(folder), use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
    except Exception as error:
        raise ModelError(
            f"the model in {folder} cannot be loaded: {first_line(error)}", "Verify the release."
        ) from error
    quantised = getattr(model, "quantization_method", None) == INT8_METHOD
    if quantised and device and torch.device(device).type != "cpu":
        raise UsageError(
            f"cannot compute on {device}: the model in {folder} is quantised to int8, which is for CPUs",
            "Name cpu, or serve the release that it was made from.",
        )
    on = device
    try:
        on = torch.device(device or "cpu") if device or quantised else best_device()
        return model.to(on).eval(), on
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"cannot compute on {on}: {first_line(error)}", "Name cpu, cuda, cuda:1 or mps.") from error
