"""The configuration of a small convolutional network over the log-mel spectrum of a sound."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig


class AudioConvNetConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is untyped here
    """Sizes of the spectrum (`window`, `hop`: seconds) and of the layers above it."""

    model_type = "contender-audio-convnet"

    def __init__(
        self,
        sampling_rate: int = 16_000,
        mel_bins: int = 64,
        window: float = 0.025,
        hop: float = 0.01,
        channels: list[int] | tuple[int, ...] = (32, 64, 128),
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        self.sampling_rate = sampling_rate
        self.mel_bins = mel_bins
        self.window = window
        self.hop = hop
        self.channels = list(channels)
        self.dropout = dropout
        super().__init__(**kwargs)


AutoConfig.register(AudioConvNetConfig.model_type, AudioConvNetConfig, exist_ok=True)
