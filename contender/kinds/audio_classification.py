"""Audio classification: one sound in, one label out, through AutoModelForAudioClassification."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import ModelError
from contender.kinds._media import MediaClassification, MediaProcessor

if TYPE_CHECKING:
    from contender.training.options import Job

MOST_SECONDS = 30  # of a sound that are heard: what a batch takes in memory is bounded, and speech models hear no more
FRAME = 0.01  # seconds: sounds that differ by less count as of one length


class AudioProcessor(MediaProcessor):
    """Sounds at the base's rate, as its own feature extractor takes them."""

    @property
    def rate(self) -> int:
        return int(self.inner.sampling_rate)

    def decode(self, data: bytes) -> Any:
        from contender.data.sounds import read_sound

        return read_sound(data, self.rate)[: MOST_SECONDS * self.rate]

    def batch(self, examples: Sequence[Any]) -> dict[str, Any]:
        return dict(self.inner(list(examples), sampling_rate=self.rate, padding=True, return_tensors="pt"))


class AudioClassification(MediaClassification):
    """The kind `audio-classification`."""

    task = "audio-classification"
    revision = 1
    role = "audio"
    auto = "AutoModelForAudioClassification"
    rates = ((0, 1e-3), (5e6, 2e-4), (50e6, 5e-5))

    def processor_of(self, base: Path) -> AudioProcessor:
        from transformers import AutoFeatureExtractor

        inner = AutoFeatureExtractor.from_pretrained(str(base), trust_remote_code=False)
        if not getattr(inner, "sampling_rate", None):
            raise ModelError(f"it is {type(inner).__name__}, which hears nothing", "")
        return AudioProcessor(inner)

    def sample(self) -> bytes:
        import numpy as np
        import soundfile

        out = io.BytesIO()
        soundfile.write(out, np.sin(np.arange(8_000) / 10), 8_000, format="WAV")
        return out.getvalue()

    def prepare(
        self, processor: Any, batch: Mapping[str, Sequence[Any]], labels: Mapping[str, int], max_length: int
    ) -> dict[str, list[Any]]:
        sounds = processor.each(lambda value: len(processor.of_value(value)), list(batch[self.role]))
        frames = [1 + int(samples / (FRAME * processor.rate)) for samples in sounds]
        return {**super().prepare(processor, batch, labels, max_length), "length": frames}

    def set_up(self, job: Job, processor: Any, model: Any) -> None:
        super().set_up(job, processor, model)
        if rate := getattr(model.config, "sampling_rate", None):
            processor.inner.sampling_rate = (
                rate  # of a model that starts from nothing, `model.config` may say another than the base
            )
        if job.options.augment == "light":
            from contender.training.augment import augment_sounds

            augment_sounds(model)


KIND = AudioClassification()
