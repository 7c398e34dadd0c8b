"""Pictures and sounds that nobody means well with: each is decoded as people see and hear it, or refused with a reason."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from contender.data import sounds
from contender.data.images import read_image
from contender.data.mediafault import Unusable
from contender.data.sounds import read_sound

NOISE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)


def saved(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def png(width: int, height: int) -> bytes:
    """A png whose header says a size, with next to nothing behind it."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "JPEG", "WEBP", "GIF"])
def test_every_kind_gives_rgb_of_8_bits(form):
    image = read_image(saved(Image.fromarray(NOISE), form))
    assert (image.mode, image.size) == ("RGB", (32, 24))
    if form in ("PNG", "BMP", "TIFF"):
        assert (np.asarray(image) == NOISE).all()


@pytest.mark.parametrize("form", ["PNG", "BMP", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_shortened_picture_is_refused(form, share):
    whole = saved(Image.fromarray(np.tile(NOISE, (8, 8, 1))), form)
    with pytest.raises(Unusable, match=r"damaged or shortened|no picture"):
        read_image(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "the file is empty"), (b"GIF", "no picture"), (b"text" * 99, "no picture")]
)
def test_what_is_no_picture_is_refused(data, reason):
    with pytest.raises(Unusable, match=reason):
        read_image(data)


def test_a_size_is_refused_before_anything_is_decoded():
    tracemalloc.start()
    with pytest.raises(Unusable, match=r"30,000 × 30,000|80,000,000 pixels"):
        read_image(png(30_000, 30_000))
    with pytest.raises(Unusable, match="at most 80,000,000"):
        read_image(png(10_000, 8_001))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_16_bits_are_scaled_and_not_clipped():
    deep = Image.fromarray(np.array([[0, 257, 32_896, 65_535]], np.uint16))
    assert np.asarray(read_image(saved(deep, "PNG")))[0, :, 0].tolist() == [0, 1, 128, 255]
    with pytest.raises(Unusable, match="more than 16 bits"):
        read_image(saved(Image.fromarray(np.array([[70_000]], np.int32)), "TIFF"))
    with pytest.raises(Unusable, match="floating-point"):
        read_image(saved(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF"))


def test_cmyk_gives_the_colours_that_it_prints():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for form in ("JPEG", "TIFF"):
        middle = np.asarray(read_image(saved(red, form)))[8, 8].astype(int)
        assert middle[0] > 230 and middle[1] < 25 and middle[2] < 25


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(read_image(saved(clear, "PNG"))).min() == 255
    half = Image.new("LA", (4, 4), (0, 128))
    assert np.asarray(read_image(saved(half, "PNG")))[0, 0].tolist() == [127] * 3
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert np.asarray(read_image(saved(palette, "PNG")))[0, 0].tolist() == [255, 0, 0]
    assert np.asarray(read_image(saved(palette, "PNG", transparency=0)))[0, 0].tolist() == [255] * 3


def test_a_picture_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is on the right
    upright = Image.fromarray(NOISE)
    image = read_image(saved(upright, "PNG", exif=exif))
    assert image.size == (24, 32)
    assert (np.asarray(image) == np.rot90(NOISE, -1)).all()


def test_broken_exif_does_not_cost_the_picture():
    data = saved(Image.fromarray(NOISE), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1\x12" * 40)
    assert read_image(data).size == (32, 24)


def test_the_first_frame_of_several_is_the_picture():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    image = read_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert np.asarray(image)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_damage_anywhere_is_a_reason_and_never_another_error(form):
    rng = np.random.default_rng(1)
    whole = saved(Image.fromarray(NOISE), form)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(Unusable):
            read_image(bytes(damaged))


# --- sounds

TONE = np.sin(np.arange(8_000) * 2 * np.pi * 440 / 8_000).astype(np.float32) * 0.5


def sound(samples: np.ndarray, rate: int = 8_000, form: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_sound_is_read_as_it_is(form):
    assert np.abs(read_sound(sound(TONE, form=form), 8_000) - TONE).max() < 1e-4


def test_ogg_is_read():
    found = read_sound(sound(TONE, form="OGG"), 8_000)
    assert len(found) == len(TONE) and np.corrcoef(found, TONE)[0, 1] > 0.95


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_another_rate_is_the_same_tone(rate):
    tone = np.sin(np.arange(rate) * 2 * np.pi * 440 / rate).astype(np.float32)
    found = read_sound(sound(tone, rate), 16_000)
    assert len(found) == 16_000
    assert np.abs(np.fft.rfft(found)).argmax() == 440


def test_stereo_is_the_mean_of_its_channels():
    both = np.stack([TONE, -TONE], axis=1)
    assert np.abs(read_sound(sound(both), 8_000)).max() < 1e-4
    assert np.abs(read_sound(sound(np.stack([TONE, TONE], axis=1)), 8_000) - TONE).max() < 1e-4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"RIFF", "no sound"),
        (b"no sound at all" * 50, "no sound"),
        (sound(TONE[:0]), "holds no sound"),
        (sound(np.full(9, np.nan, np.float32), subtype="FLOAT"), "no numbers"),
        (sound(TONE, 999), "999 samples a second"),
    ],
)
def test_what_is_no_sound_is_refused(data, reason):
    with pytest.raises(Unusable, match=reason):
        read_sound(data, 8_000)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_a_shortened_sound_is_refused_where_its_file_says_how_long_it_is(form):
    whole = sound(np.random.default_rng(0).normal(0, 0.1, 80_000).astype(np.float32), form=form)
    try:
        found = read_sound(whole[: len(whole) // 2], 8_000)
    except Unusable:
        return
    assert form == "OGG" and len(found) < 80_000  # a stream of pages, which may end behind any of them


def test_hours_of_silence_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(sounds, "MOST_SECONDS", 60)
    data = sound(np.zeros(8_000 * 61, np.int16), form="FLAC")
    assert len(data) < 100_000
    tracemalloc.start()
    with pytest.raises(Unusable, match="61 seconds: at most 60"):
        read_sound(data, 8_000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
