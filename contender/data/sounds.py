"""Sounds as libsndfile reads them: bytes to one channel at a wanted rate, or a reason why not."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from contender.data.mediafault import Unusable, first_words

MOST_SECONDS = 1_800
RATES = (1_000, 384_000)  # Hz: below nobody hears anything, above nothing records
BLOCK = 1 << 18  # frames decoded at a time; only the mean of the channels is kept

Samples = np.ndarray[Any, np.dtype[np.float32]]


def read_sound(data: bytes, rate: int | None) -> Samples:
    """float32 `(samples,)` in −1 … 1, the mean of the channels, at `rate` Hz: resampled where the file has another one; None: as it is.

    The length is looked at before anything is decoded. Unusable says why there is no sound: empty, none, shortened, too long, or
    samples that are no numbers.
    """
    import soundfile

    if not data:
        raise Unusable("the file is empty")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            own, frames = int(file.samplerate), int(file.frames)
            _check_header(own, frames)
            parts = [block.mean(axis=1) for block in file.blocks(BLOCK, dtype="float32", always_2d=True)]
    except soundfile.LibsndfileError as error:
        raise Unusable(f"no sound that is read, or damaged: {first_words(error)}") from error
    samples = np.concatenate(parts) if parts else np.empty(0, np.float32)
    if len(samples) < frames or _cut(data):
        raise Unusable(f"shortened: {len(samples):,} of {frames:,} samples")
    if not np.isfinite(samples).all():
        raise Unusable("its samples are no numbers")
    return _resampled(samples, own, rate or own)


def _check_header(rate: int, frames: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise Unusable(f"{rate:,} samples a second: {RATES[0]:,} to {RATES[1]:,} are read")
    if frames <= 0:
        raise Unusable("it holds no sound")
    if frames > MOST_SECONDS * rate:
        raise Unusable(f"{frames / rate:,.0f} seconds: at most {MOST_SECONDS:,} are read")


def _cut(data: bytes) -> bool:
    """Whether a wav file ends before the end of its data that its header states; libsndfile reads what is left of it."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return False
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            return size != 0xFFFFFFFF and at + 8 + size > len(data)  # that size is written by who did not know it
        at += 8 + size + size % 2
    return False


def _resampled(samples: Samples, own: int, rate: int) -> Samples:
    if own == rate:
        return samples
    from scipy.signal import resample_poly

    shared = math.gcd(own, rate)
    return np.asarray(resample_poly(samples, rate // shared, own // shared), np.float32)
