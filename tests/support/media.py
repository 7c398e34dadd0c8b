"""Pictures and sounds for the tests of training, as a snapshot and a split leave them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from contender.data.media import PACK, REFERENCE, PackWriter
from contender.training.options import Job, TrainOptions

File = tuple[bytes, str]  # its bytes and its label


def pictures(count: int, seed: int = 0) -> list[File]:
    """Noise with a bright left or right half, which is the label."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        pixels = rng.integers(0, 120, (24, 24, 3), np.uint8)
        side = ("left", "right")[number % 2]
        pixels[:, slice(0, 12) if side == "left" else slice(12, 24)] += 100
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        found.append((out.getvalue(), side))
    return found


def sounds(count: int, seed: int = 0) -> list[File]:
    """Tones of about a tenth of a second in some noise, low (left) or high (right), at one of two rates."""
    import soundfile

    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        rate, side = (8_000, 16_000)[number // 2 % 2], ("left", "right")[number % 2]
        times = np.arange(int(rate * rng.uniform(0.08, 0.2))) / rate
        tone = np.sin(2 * np.pi * (400 if side == "left" else 1_500) * times) + rng.normal(0, 0.1, len(times))
        out = io.BytesIO()
        soundfile.write(out, 0.3 * tone, rate, format="WAV")
        found.append((out.getvalue(), side))
    return found


def write_set(path: Path, role: str, files: Sequence[File]) -> Path:
    """A row file of one set, and its media beside it."""
    pack = PackWriter(path)
    values = [pack.add(data) for data, _ in files]
    pack.close()
    packs = sorted(one.name for one in path.parent.glob(f"*{PACK}"))
    (path.parent / REFERENCE).write_text(json.dumps({"packs": packs}))
    columns = {role: values, "label": [label for _, label in files]}
    table = pa.table(
        {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
        | {"_key": pa.array(range(len(files)), pa.uint64())}
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def image_base(folder: Path) -> Path:
    """A residual network of 3,000 weights with batch normalisation, and its processor."""
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(**shape, num_labels=3)).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 24, "width": 24}).save_pretrained(folder)
    return folder


def media_job(task: str, base: Path, train: Path, validation: Path, output: Path, **options: object) -> Job:
    method = options.pop("method", "full")
    chosen = {"batch_size": 8, "epochs": 2, "precision": "fp32", "learning_rate": 1e-2} | options
    return Job(
        task=task,
        base=str(base),
        base_digest="0",
        method=method,  # type: ignore[arg-type]
        columns={},
        labels=("left", "right"),
        options=TrainOptions.model_validate(chosen),
        primary_metric="accuracy",
        train=str(train),
        validation=str(validation),
        output=str(output),
    )
