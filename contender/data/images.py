"""Pictures as Pillow reads them: bytes to RGB of 8 bits, the right way up, or a reason why not."""

from __future__ import annotations

import io
import struct
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from contender.data.mediafault import Unusable, first_words

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # Pillow reads dozens more that nobody has looked at for years
MOST_PIXELS = 80_000_000  # 240 MB as RGB; below Pillow's own limit, which depends on its version
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError, KeyError, OverflowError)


def read_image(data: bytes) -> Image.Image:
    """An RGB picture of 8 bits: the first frame of several, turned as its EXIF says, what is transparent on white.

    CMYK and palettes are converted, 16 bits scaled to 8. The size is looked at before anything is decoded. Unusable says why
    there is no picture: empty, none, shortened, too large, or pixels that are no colours.
    """
    if not data:
        raise Unusable("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata, which nothing here reads
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(*image.size)
                image.load()
                return _rgb(_upright(image))
        except UnidentifiedImageError:
            raise Unusable(f"no picture of a kind that is read ({', '.join(FORMATS)})") from None
        except Image.DecompressionBombError:
            raise Unusable(f"larger than {MOST_PIXELS:,} pixels") from None
        except MemoryError:
            raise Unusable("more memory than there is") from None
        except _DAMAGED as error:
            raise Unusable(f"damaged or shortened: {first_words(error)}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise Unusable(f"{width:,} × {height:,} pixels: at most {MOST_PIXELS:,} are read")
    if not width * height:
        raise Unusable("no pixels")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGED:  # metadata that is broken says nothing
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_deep(image)
    if image.mode == "F":
        raise Unusable("its pixels are floating-point numbers, which say no colours")
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Greys of 16 bits; Pillow clips them where it is asked to convert."""
    import numpy as np

    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65_535:
        raise Unusable("its greys have more than 16 bits")
    return Image.fromarray((grey.astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
