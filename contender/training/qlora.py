"""Adapters beside a base of 4 bits: Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs (2023), through bitsandbytes.

Weights are held as NF4, their scales quantised again, while adapters train in the job's own precision. Released is the base in its
full precision with the adapters added to it: what is evaluated has no trace of the 4 bits but what the adapters learnt beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contender.errors import UsageError
from contender.training.devices import best_device

EXTRA = "pip install 'contender-ml[qlora]'"


def check_qlora() -> None:
    """UsageError where bitsandbytes is not installed here, or does not compute on this machine's device."""
    if find_spec("bitsandbytes") is None:
        raise UsageError(
            "model.method is qlora, and bitsandbytes is not installed here", f"{EXTRA}, or set model.method: lora."
        )
    import bitsandbytes

    device, able = best_device().type, bitsandbytes.supported_torch_devices
    if device not in able:
        raise UsageError(
            f"model.method is qlora, and bitsandbytes does not compute on {device}, the device here; it does on {', '.join(sorted(able))}",
            "Set model.method: lora.",
        )


def load_in_4_bits(auto: str, base: Path, task: str, fits: str, changes: Mapping[str, Any] = {}) -> Any:
    """The base, its configuration with `changes`, on this machine's device, its linear layers in 4 bits, all else in fp32; errors as
    of load_base."""
    import torch
    from bitsandbytes.nn import Linear4bit
    from transformers import BitsAndBytesConfig

    from contender.kinds._loading import load_base

    check_qlora()
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,  # autocast computes in the job's precision where that is another
    )
    on = {"": best_device()}
    model, _ = load_base(auto, base, task, fits, **changes, quantization_config=quantised, device_map=on)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            # On some CPUs it packs weights anew for an evaluation, in place, and cannot where a size is no multiple of 32.
            module.support_avx512bf16_for_cpu = False
    return model


def in_full_precision(adapted: Any, model: Any) -> Any:
    """`model`, the same base in fp32, as it answers with the adapters added that were trained beside the one in 4 bits."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    from contender.training.lora import merge

    state = {
        name: value.cpu() for name, value in get_peft_model_state_dict(adapted, save_embedding_layers=False).items()
    }
    whole = get_peft_model(model, adapted.active_peft_config)
    set_peft_model_state_dict(whole, state)
    merge(whole)
    return model
