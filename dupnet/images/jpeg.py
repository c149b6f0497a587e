"""JPEG, the fast path: libjpeg-turbo in strict mode.

The pixels are those that OpenCV gives, and data that the decoder had to guess (of a truncated or damaged
file) are an error instead of grey filling. EXIF orientation is ignored: places are defined on the pixels as
stored.
"""

from __future__ import annotations

import re

import cv2

from dupnet.images.image import Image, Pixels, UnreadableImage, check_size

__all__ = ["decode_jpeg", "encode_jpeg"]

FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..(.)", re.DOTALL)
"""Start of frame (ITU-T T.81, B.2.2): the marker, a length, and the bits of a sample."""


def decode_jpeg(data: bytes, *, grey: bool, tile_size: int | None = None) -> Image:
    """Decode a JPEG file, as :func:`dupnet.images.reading.decode` does.

    Raises
    ------
    UnreadableImage
        If it is damaged, of a size that is not decoded, or of more than 8 bits a sample.
    """
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(height, width, tile_size)
        if colours in ("CMYK", "YCCK"):
            from dupnet.images.pictures import decode_picture

            return decode_picture(data, grey=grey, tile_size=tile_size)
        pixels: Pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except UnreadableImage:
        raise
    except ValueError as error:
        frame = FRAME.search(data)
        if frame is not None and frame[1][0] not in (0, 8) and "precision" in str(error).lower():
            reason = f"JPEG of {frame[1][0]} bits a sample; convert it to a TIFF"
        else:
            reason = f"damaged JPEG: {str(error).strip().rstrip('.')}"
        raise UnreadableImage("image", reason) from None
    note = "grey; taken as three equal channels" if colours == "Gray" else ""
    return Image(pixels[:, :, 0] if grey else pixels, None, note)


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """An image as a baseline JPEG file with 4:2:0 chroma, as the Airbus images are.

    Parameters
    ----------
    image : (height, width, 3) or (height, width) uint8
        RGB, or grey.
    quality : 1 to 100
        On libjpeg's scale.

    Raises
    ------
    ValueError
        If the quality is not in 1 to 100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; a JPEG quality lies in 1 to 100.")
    # The subsampling is given, since OpenCV's default has changed between versions.
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", stored, options)[1])
