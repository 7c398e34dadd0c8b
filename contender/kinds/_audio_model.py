"""A small convolutional network over the log-mel spectrum of a sound: what a few thousand sounds can teach from nothing.

What lies behind a sound in a padded batch is zero wherever it is looked at, so that a sound is answered alike by itself and beside a
longer one.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForAudioClassification, PreTrainedModel
from transformers.audio_utils import mel_filter_bank
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from contender.kinds._audio_config import AudioConvNetConfig

SPREAD = 4.0  # about the deviation of log power in speech
QUIET = 1e-6  # of the power of a mel bin: what is below is silence


class LogMel(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Sounds `(sounds, samples)` to `(sounds, mel_bins, frames)`: log power, around 0."""

    def __init__(self, config: AudioConvNetConfig) -> None:
        super().__init__()
        rate = config.sampling_rate
        self.hop = max(1, round(config.hop * rate))
        self.size = max(2, round(config.window * rate))
        self.width = 1 << (self.size - 1).bit_length()
        bank = mel_filter_bank(self.width // 2 + 1, config.mel_bins, 0.0, rate / 2, rate, "slaney", "slaney")
        # Kept in the weights: what is computed at construction alone is lost where a model is loaded without memory for it first.
        self.register_buffer("bank", torch.tensor(bank, dtype=torch.float32))
        # A copy: the window's own storage holds one value more, which safetensors refuses.
        self.register_buffer("taper", torch.hann_window(self.size).clone())

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        return samples // self.hop + 1

    def forward(self, sounds: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            sounds.float(),
            self.width,
            self.hop,
            self.size,
            self.taper,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        logs = (power.transpose(1, 2) @ self.bank).clamp_min(QUIET).log().transpose(1, 2)
        mask = masked(frames, logs.shape[-1]).unsqueeze(1)
        mean = (logs * mask).sum((1, 2), keepdim=True) / (mask.sum(-1, keepdim=True) * logs.shape[1])
        return (logs - mean) / SPREAD * mask


class AudioConvNetPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What both models below are to transformers."""

    config_class = AudioConvNetConfig
    base_model_prefix = "convnet"
    main_input_name = "input_values"


class AudioConvNetModel(AudioConvNetPreTrainedModel):
    """Sounds to one vector each, `(sounds, channels)`: the mean and the peak over time of what the last layer sees."""

    def __init__(self, config: AudioConvNetConfig) -> None:
        super().__init__(config)
        self.spectrum = LogMel(config)
        widths = [1, *config.channels]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)
            )
            for narrow, wide in itertools.pairwise(widths)
        )
        self.post_init()

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutput:
        samples = (
            torch.full((len(input_values),), input_values.shape[-1], device=input_values.device)
            if attention_mask is None
            else attention_mask.sum(-1)
        )
        shortest = 1 << len(self.blocks)
        frames = self.spectrum.frames(samples)
        seen = self.spectrum(input_values, frames)
        frames = frames.clamp_min(shortest)  # a click is followed by silence
        seen = nn.functional.pad(seen, (0, max(0, shortest - seen.shape[-1]))).unsqueeze(1)
        for block in self.blocks:
            frames = frames // 2
            seen = block(seen)
            seen = seen * masked(frames, seen.shape[-1])[:, None, None, :]
        mean = seen.mean(2).sum(-1) / frames.unsqueeze(-1)
        return BaseModelOutput(last_hidden_state=torch.cat([mean, seen.amax((2, 3))], -1))


class AudioConvNetForAudioClassification(AudioConvNetPreTrainedModel):
    """Sounds to logits `(sounds, labels)`."""

    def __init__(self, config: AudioConvNetConfig) -> None:
        super().__init__(config)
        self.convnet = AudioConvNetModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.channels[-1], config.num_labels)
        self.post_init()

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        features = self.convnet(input_values, attention_mask).last_hidden_state
        logits = self.classifier(self.dropout(features))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def masked(lengths: torch.Tensor, width: int) -> torch.Tensor:
    """`(rows, width)`: 1.0 where a row of `lengths` is, 0.0 behind it."""
    return (torch.arange(width, device=lengths.device) < lengths.unsqueeze(-1)).float()


AutoModel.register(AudioConvNetConfig, AudioConvNetModel, exist_ok=True)
AutoModelForAudioClassification.register(AudioConvNetConfig, AudioConvNetForAudioClassification, exist_ok=True)
