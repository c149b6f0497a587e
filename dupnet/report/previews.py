"""What a person looks at to judge a pair: shared regions, their differences, reduced pictures, safe names."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.metrics.pair_metrics import channel_medians

__all__ = [
    "data_uri",
    "difference_map",
    "encode",
    "outline",
    "reduce_to",
    "region_boxes",
    "shared_regions",
    "shown_name",
]

Pixels = npt.NDArray[np.uint8]
Box = tuple[slice, slice]

OUTLINE_RGB = (230, 159, 0)
"""Orange of Okabe and Ito's palette, seen on sea, land and cloud alike."""

WHITE, BLACK = 250, 5
"""Levels from which on, and up to which, a channel counts as clipped: JPEG at quality 75 moves flat white and
flat black by up to five levels."""

_MIME = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def shared_regions(image1: Pixels, image2: Pixels, y_offset: int, x_offset: int) -> tuple[Pixels, Pixels]:
    """The pixels of either image (height, width, 3) that lie on common ground: two views of one shape.

    ``y_offset, x_offset``: image 2's origin in image 1's frame, in pixels.

    Raises
    ------
    ValueError
        If the images share nothing there.
    """
    box1, box2 = region_boxes(image1.shape[:2], image2.shape[:2], y_offset, x_offset)
    return image1[box1], image2[box2]


def region_boxes(
    shape1: Sequence[int], shape2: Sequence[int], y_offset: int, x_offset: int
) -> tuple[Box, Box]:
    """Rows and columns of the common region in either image, of which the shapes are given.

    Raises
    ------
    ValueError
        If the images share nothing there.
    """
    boxes: list[list[slice]] = [[], []]
    for length1, length2, offset in zip(shape1, shape2, (y_offset, x_offset), strict=True):
        start, stop = max(0, offset), min(length1, offset + length2)
        if stop <= start:
            raise ValueError(
                f"Images of {shape1[0]} x {shape1[1]} and {shape2[0]} x {shape2[1]} pixels share nothing at "
                f"offset ({y_offset}, {x_offset})."
            )
        boxes[0].append(slice(start, stop))
        boxes[1].append(slice(start - offset, stop - offset))
    return (boxes[0][0], boxes[0][1]), (boxes[1][0], boxes[1][1])


def difference_map(region1: Pixels, region2: Pixels, medians: bool = True, gain: int = 8) -> Pixels:
    """Absolute difference of two regions (h, w, 3) uint8, by channel, made visible: (h, w, 3) uint8.

    Parameters
    ----------
    region1, region2
        What is to be compared.
    medians
        Subtract from either region the median of each of its channels first, which takes out an evenly
        changed colour or brightness. Where a channel is white in both regions, or black in both, it was
        clipped and tells nothing: there the difference is zero.
    gain
        Factor applied to the difference; 8 makes a difference of 32 levels white.

    Raises
    ------
    ValueError
        If the regions differ in shape.
    """
    if region1.shape != region2.shape:
        raise ValueError(
            f"region1 has shape {region1.shape} and region2 {region2.shape}; they must be equal."
        )
    first, second = region1.astype(np.int16), region2.astype(np.int16)
    if medians:
        first = first - channel_medians(region1).astype(np.int16)
        second = second - channel_medians(region2).astype(np.int16)
    difference = np.abs(first - second)
    if medians:
        is_clipped = (np.minimum(region1, region2) >= WHITE) | (np.maximum(region1, region2) <= BLACK)
        difference[is_clipped] = 0
    visible: Pixels = np.minimum(difference.astype(np.int32) * gain, 255).astype(np.uint8)
    return visible


def outline(image: Pixels, box: Box, scale: float = 1.0) -> Pixels:
    """A copy of an RGB image (height, width, 3) uint8 with a box outlined in orange on black.

    ``scale``: pixels of ``image`` for one of the image that ``box`` counts in.
    """
    drawn = np.ascontiguousarray(image).copy()
    width = max(2, round(image.shape[1] / 110))
    upper_left = tuple(round(side.start * scale) + width for side in reversed(box))
    lower_right = tuple(round(side.stop * scale) - 1 - width for side in reversed(box))
    cv2.rectangle(drawn, upper_left, lower_right, (0, 0, 0), width + 2)
    cv2.rectangle(drawn, upper_left, lower_right, OUTLINE_RGB, width)
    return drawn


def reduce_to(image: Pixels, longest: int) -> Pixels:
    """The image (height, width, 3) uint8, its longer side averaged down to at most ``longest`` pixels."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def encode(image: Pixels, suffix: str = ".png", quality: int = 80) -> bytes:
    """An RGB image (h, w, 3) uint8 as the bytes of a ``.png``, ``.jpg`` or ``.webp`` file.

    ``quality`` (1 to 100) is not for PNG.

    Raises
    ------
    ValueError
        If the suffix is another one, or the image cannot be written so.
    """
    options = {
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }
    if suffix not in options:
        raise ValueError(f"suffix is {suffix!r}; use one of {', '.join(options)}.")
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options[suffix])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as {suffix}.")
    return data.tobytes()


def data_uri(image: Pixels, suffix: str = ".jpg", quality: int = 80) -> str:
    """An RGB image as a ``data:`` address that a page can hold; arguments and errors as of :func:`encode`."""
    return f"data:{_MIME[suffix]};base64,{base64.b64encode(encode(image, suffix, quality)).decode()}"


def shown_name(name: str) -> str:
    r"""A file name safe to look at: control, direction and undecodable characters as ``\n``, ``\u202e``.

    Such characters could otherwise break a line, reverse the text around them, or not be writable at all.
    """
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in hidden
        else character
        for character in name
    )
