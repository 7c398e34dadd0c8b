"""Low-rank adaptation (Hu et al., 2021) through peft: small matrices beside frozen weights, merged into them at the end.

What is released is the merged model, an ordinary one; the adapter is kept beside it. Merging is done in fp32 on the CPU: rounded to
less, a merged model answers otherwise than the one that was trained (huggingface/peft#1836).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from contender.errors import ModelError, known
from contender.training.options import LoraOptions
from contender.training.saving import TRACES, write_json

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # as PeftModel.from_pretrained reads them
LONGEST_END = 5  # parts of a module's name, between its dots
# Hugging Face task → what peft calls it, so that its Auto classes know how to load the adapter.
PEFT_TASKS = {
    "text-classification": "SEQ_CLS",
    "multi-label-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "text-generation": "CAUSAL_LM",
    "translation": "SEQ_2_SEQ_LM",
    "summarization": "SEQ_2_SEQ_LM",
}


def adapt(model: Any, task: str, head: Collection[str], options: LoraOptions, base: str) -> PeftModel:
    """Puts adapters into `model`, in place: from now on they are what it trains, and whole modules of the parameters `head`.

    Raises ModelError where the base has no layer that can take one, or none of a name that `options.targets` holds.
    """
    layers = [name for name, module in _below(model, head) if isinstance(module, nn.Linear | Conv1D)]
    if not layers:
        raise ModelError(
            f"method lora cannot train the base {base}: it has no linear layer below its head",
            "Use method: full, or head.",
        )
    config = LoraConfig(
        r=options.r,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=_in_short(_targets(options, layers, base), model),
        modules_to_save=sorted(_modules_of(model, head)) or None,
        task_type=PEFT_TASKS.get(task),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tied weights and layouts, which the merge minds
        return get_peft_model(model, config)


def _targets(options: LoraOptions, layers: list[str], base: str) -> list[str]:
    if options.targets == "auto":
        return layers
    for target in options.targets:
        if not any(_ends_with(name, target) for name in layers):
            names = {_suffix(name, 1) for name in layers}
            raise ModelError(
                f"model.lora.targets: below the head of the base {base}, {known('layer', target, names)}",
                "Name some of these, or auto for all of them.",
            )
    return [name for name in layers if any(_ends_with(name, target) for target in options.targets)]


def _ends_with(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith(f".{suffix}")


def _suffix(name: str, parts: int) -> str:
    return ".".join(name.split(".")[-parts:])


def _in_short(names: list[str], model: Any) -> list[str]:
    """The shortest ends of these modules' names that are no other module's: what a person would have written."""
    own = set(names)
    taken = {end for name, _ in model.named_modules() if name not in own for end in _ends(name)}
    return sorted({next((end for end in _ends(name) if end not in taken), name) for name in names})


def _ends(name: str) -> list[str]:
    return [_suffix(name, parts) for parts in range(1, LONGEST_END + 1)]


def _below(model: Any, head: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The modules of which no parameter belongs to the head, nor is the output's, which a head is in a model of language."""
    output = model.get_output_embeddings()
    for name, module in model.named_modules():
        if module is not output and not any(f"{name}.{own}" in head for own, _ in module.named_parameters()):
            yield name, module


def _modules_of(model: Any, names: Collection[str]) -> set[str]:
    """The largest modules that hold nothing but these parameters."""
    found: set[str] = set()
    for name, module in model.named_modules():  # from the outermost inwards
        own = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and own and not inside and all(parameter in names for parameter in own):
            found.add(name)
    return found


def save_adapter(adapted: PeftModel, folder: Path) -> None:
    """Writes what PeftModel.from_pretrained loads onto the base: the same bytes for every training that did the same."""
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    save_file(
        {name: value.contiguous().cpu() for name, value in state.items()}, str(folder / WEIGHTS), {"format": "pt"}
    )
    fields = adapted.active_peft_config.to_dict() | {"inference_mode": True, "base_model_name_or_path": None}
    fields = {name: sorted(value) if isinstance(value, set) else value for name, value in fields.items()}
    write_json(folder / CONFIG, {name: value for name, value in fields.items() if name not in TRACES})


def merge(adapted: PeftModel) -> None:
    """Adds the adapters to the weights that they stand beside: the model that was adapted is an ordinary one again, on the CPU."""
    adapted.to("cpu")
    adapted.merge_and_unload(safe_merge=True)
