"""Image classification: one picture in, one label out, through AutoModelForImageClassification."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.kinds._media import MediaClassification, MediaProcessor

if TYPE_CHECKING:
    from contender.training.options import Job


class ImageProcessor(MediaProcessor):
    """Pictures to pixels as the base's own processor makes them, by Pillow on every machine: torchvision resizes to other values."""

    def decode(self, data: bytes) -> Any:
        from contender.data.images import read_image

        return read_image(data)

    def batch(self, examples: Sequence[Any]) -> dict[str, Any]:
        import numpy as np
        import torch

        pixels = self.each(lambda image: self.inner(images=image, return_tensors="np")["pixel_values"][0], examples)
        return {"pixel_values": torch.from_numpy(np.stack(pixels).astype(np.float32, copy=False))}


class ImageClassification(MediaClassification):
    """The kind `image-classification`."""

    task = "image-classification"
    revision = 1
    role = "image"
    auto = "AutoModelForImageClassification"
    rates = ((0, 1e-3), (5e6, 3e-4), (20e6, 1e-4), (80e6, 5e-5))

    def processor_of(self, base: Path) -> ImageProcessor:
        from transformers import AutoImageProcessor

        return ImageProcessor(AutoImageProcessor.from_pretrained(str(base), trust_remote_code=False, backend="pil"))

    def sample(self) -> bytes:
        from PIL import Image

        out = io.BytesIO()
        Image.new("RGB", (64, 64), (128, 128, 128)).save(out, "PNG")
        return out.getvalue()

    def set_up(self, job: Job, processor: Any, model: Any) -> None:
        super().set_up(job, processor, model)
        if job.options.augment == "light":
            from contender.training.augment import augment_pictures

            augment_pictures(model)


KIND = ImageClassification()
