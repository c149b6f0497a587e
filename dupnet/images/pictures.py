"""PNG, WebP, BMP, GIF and AVIF of 8 bits, and CMYK or CIELAB of any kind, by Pillow."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import ExitStack

import cv2
import numpy as np

from dupnet.images.image import Image, Mask, Pixels, UnreadableImage, check_size

__all__ = ["as_grey", "decode_picture"]

FORMATS = ["AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]

CONVERTED = {
    "L": "grey; taken as three equal channels",
    "1": "black and white; taken as three equal channels",
    "P": "palette; converted to RGB",
    "LA": "grey with alpha; alpha taken as a mask, grey as three equal channels",
    "PA": "palette with alpha; alpha taken as a mask, palette converted to RGB",
    "RGBA": "alpha taken as a mask",
    "RGBX": "fourth channel dropped",
    "CMYK": "CMYK; converted to RGB",
    "YCbCr": "YCbCr; converted to RGB",
    "LAB": "CIELAB; converted to RGB",
}
"""Modes of Pillow that are read beside RGB, and the note on each."""

_warnings_lock = threading.Lock()
"""Python has one list of warning filters for all threads."""


def decode_picture(data: bytes, *, grey: bool, tile_size: int | None = None) -> Image:
    """Decode a file by Pillow, as :func:`dupnet.images.reading.decode` does.

    Raises
    ------
    UnreadableImage
        If it is damaged, of a size that is not decoded, has several frames or more than 8 bits a sample.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    said: list[str] = []
    try:
        with ExitStack() as stack:
            if not data.startswith((b"\x89PNG", b"RIFF", b"BM")) or b"acTL" in data[:4096]:
                # Pillow warns of some files of these kinds; to catch that, one thread at a time decodes them.
                stack.enter_context(_warnings_lock)
                caught = stack.enter_context(warnings.catch_warnings(record=True))
                warnings.simplefilter("always")
                stack.callback(lambda: said.extend(str(one.message) for one in caught))
            image: Pillow.Image = stack.enter_context(Pillow.open(io.BytesIO(data), formats=FORMATS))
            check_size(image.height, image.width, tile_size)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise UnreadableImage("image", f"{frames} frames; save the one to use as an image of its own")
            if image.mode not in ("RGB", *CONVERTED):
                raise UnreadableImage(
                    "image",
                    f"{image.mode} samples, which are not read of this kind of file; save it as a TIFF",
                )
            note = CONVERTED.get(image.mode, "")
            valid: Mask | None = None
            if "A" in image.getbands() or "transparency" in image.info:
                valid = np.asarray(image.convert("RGBA").getchannel("A")) > 0
                if "transparency" in image.info:
                    note = f"{note + '; ' if note else ''}transparent pixels masked"
                    if isinstance(image.info["transparency"], bytes):
                        image = image.convert("RGBA")
            pixels: Pixels = np.array(image.convert("RGB"))
    except UnreadableImage:
        raise
    except UnidentifiedImageError:  # its message holds a memory address, another one in every run
        raise UnreadableImage("image", "does not decode: damaged, or of an unknown kind") from None
    except Exception as error:  # a damaged file makes Pillow's parsers raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage("image", f"does not decode: {reason}") from None
    note = "; ".join([part for part in (note, *dict.fromkeys(said)) if part])
    return Image(as_grey(pixels) if grey else pixels, None if valid is None or valid.all() else valid, note)


def as_grey(pixels: Pixels) -> Pixels:
    """ITU-R BT.601 luma (height, width) uint8 of RGB pixels."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
