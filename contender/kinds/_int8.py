"""Linear layers whose weights are int8, for models that answer on a CPU; registered with transformers as a way to quantise.

A weight is its layer's int8 number times a scale of its output channel (symmetric, the largest of a channel is 127); what goes into a
layer is rounded to seven bits while it computes, each token by its own largest number, so that an answer depends on no other of its
batch. No library that is kept does this: torchao's int8 is slower
than fp32 on a CPU that nothing is compiled for, and quantize_dynamic of torch keeps its weights in a pickle. docs/how-to/compress.md
has the measurements. The files hold plain int8 tensors and scales; which kernel multiplies them is decided where they are loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from contender.names import INT8_METHOD

ENGINE = "fbgemm"
MOST = 127  # −128 has no opposite
TINY = 1e-12  # the scale of a channel of zeros
# Seven bits around a zero point: processors without VNNI add products of eight in 16 bits, which overflow.
STEP, ZERO = 1 / 63, 64


class Int8Linear(nn.Module):  # type: ignore[misc]  # torch is not followed
    """A linear layer `(…, inputs) → (…, outputs)`: int8 arithmetic on a CPU that has it, else its weights as fp32.

    Gradients flow through the fp32 form, so that answers can be explained; nothing here is trained.
    """

    weight_int8: torch.Tensor  # (outputs, inputs)
    weight_scale: torch.Tensor  # (outputs,)

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("weight_int8", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False) if bias else None
        self._packed: Any = None

    @classmethod
    def of(cls, layer: nn.Linear) -> Int8Linear:
        """The layer, its weights rounded."""
        weight = layer.weight.detach().float()
        made = cls(layer.in_features, layer.out_features, layer.bias is not None)
        made.weight_scale.copy_(weight.abs().amax(dim=1).clamp(min=TINY) / MOST)
        made.weight_int8.copy_((weight / made.weight_scale.unsqueeze(1)).round().clamp(-MOST, MOST))
        if made.bias is not None:
            made.bias.data.copy_(layer.bias.detach())
        return made

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        differentiated = torch.is_grad_enabled() and given.requires_grad
        if differentiated or given.device.type != "cpu" or ENGINE not in torch.backends.quantized.supported_engines:
            return linear(given, self.weight_int8.to(given) * self.weight_scale.to(given).unsqueeze(1), self.bias)
        if self._packed is None:
            self._packed = self._pack()
        largest = given.abs().amax(dim=-1, keepdim=True).clamp_(min=TINY)
        made = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            given / largest, STEP, ZERO, self._packed
        )
        return made * largest if self.bias is None else torch.addcmul(self.bias, made, largest)

    def _pack(self) -> Any:
        """The weights as the kernel wants them, made when they are first needed: loading puts them in place one by one."""
        before = torch.backends.quantized.engine
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch will drop this kind of tensor; its version is pinned
            try:
                torch.backends.quantized.engine = ENGINE
                zeros = torch.zeros(len(self.weight_scale), dtype=torch.long)
                weight = torch._make_per_channel_quantized_tensor(
                    self.weight_int8, self.weight_scale.double(), zeros, axis=0
                )
                return torch.ops.quantized.linear_prepack(weight, None)
            finally:
                torch.backends.quantized.engine = before


@register_quantization_config(INT8_METHOD)
class Int8Config(QuantizationConfigMixin):  # type: ignore[misc]  # transformers is untyped here
    """What config.json says: every linear layer is an Int8Linear but those of `modules_to_not_convert`."""

    def __init__(self, modules_to_not_convert: Sequence[str] = (), **_: Any) -> None:
        self.quant_method = INT8_METHOD
        self.modules_to_not_convert = sorted(modules_to_not_convert)

    def to_dict(self) -> dict[str, Any]:
        return {"quant_method": self.quant_method, "modules_to_not_convert": self.modules_to_not_convert}


@register_quantizer(INT8_METHOD)
class Int8Quantizer(HfQuantizer):  # type: ignore[misc]
    """Puts empty layers in place before from_pretrained fills them."""

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        for name, layer in _linear(model, self.quantization_config.modules_to_not_convert):
            model.set_submodule(name, Int8Linear(layer.in_features, layer.out_features, layer.bias is not None))

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False


def quantise(model: Any, kept: Collection[str]) -> int:
    """Rounds the weights of every linear layer in place, but of those that hold parameters named in `kept`; how many it rounded."""
    layers = list(_linear(model, ()))
    left = [name for name, layer in layers if any(f"{name}.{own}" in kept for own, _ in layer.named_parameters())]
    for name, layer in layers:
        if name not in left:
            model.set_submodule(name, Int8Linear.of(layer))
    model.config.quantization_config = Int8Config(left)
    return len(layers) - len(left)


def _linear(model: Any, left: Collection[str]) -> Iterator[tuple[str, nn.Linear]]:
    yield from [(name, one) for name, one in model.named_modules() if type(one) is nn.Linear and name not in left]
