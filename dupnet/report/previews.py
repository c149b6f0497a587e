"""What a person looks at to judge a pair: shared regions, their differences, reduced pictures, safe names."""

from __future__ import annotations

import base64
import unicodedata

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.tiles import Grid, Overlap

__all__ = [
    "data_uri",
    "difference_map",
    "encode",
    "outline",
    "reduce_to",
    "shared_regions",
    "shown_name",
]

Pixels = npt.NDArray[np.uint8]

OUTLINE_RGB = (230, 159, 0)
"""Orange of Okabe and Ito's palette, seen on sea, land and cloud alike."""

_MIME = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def shared_regions(image1: Pixels, image2: Pixels, overlap: Overlap, grid: Grid) -> tuple[Pixels, Pixels]:
    """The pixels of either image that the overlap says are the same: two views of one shape.

    Parameters
    ----------
    image1, image2
        (grid.height, grid.width, 3) uint8 RGB.
    overlap
        Which tiles they share.
    grid
        The tiles of one image.

    Raises
    ------
    ValueError
        If an image is not of the grid's size.
    """
    for name, image in (("image1", image1), ("image2", image2)):
        if image.shape[:2] != (grid.height, grid.width):
            raise ValueError(
                f"{name} is {image.shape[0]} x {image.shape[1]} pixels; the grid takes "
                f"{grid.height} x {grid.width}. Pass the grid at which this collection was cut."
            )
    return image1[_region(overlap.tiles1, grid)], image2[_region(overlap.tiles2, grid)]


def _region(tiles: tuple[int, ...], grid: Grid) -> tuple[slice, slice]:
    """Rows and columns in pixels of the rectangle from the first to the last of ``tiles``."""
    (top, left), (bottom, right) = divmod(tiles[0], grid.cols), divmod(tiles[-1], grid.cols)
    size = grid.tile_size
    return slice(top * size, (bottom + 1) * size), slice(left * size, (right + 1) * size)


def difference_map(region1: Pixels, region2: Pixels, medians: bool = True, gain: int = 8) -> Pixels:
    """Absolute difference of two regions (h, w, 3) uint8, by channel, made visible: (h, w, 3) uint8.

    Parameters
    ----------
    region1, region2
        What is to be compared.
    medians
        Subtract from either region the median of each of its channels first, which takes out an evenly
        changed colour or brightness.
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
    first, second = region1.astype(np.int32), region2.astype(np.int32)
    if medians:
        first = first - np.median(first, axis=(0, 1)).astype(np.int32)
        second = second - np.median(second, axis=(0, 1)).astype(np.int32)
    visible: Pixels = np.clip(gain * np.abs(first - second), 0, 255).astype(np.uint8)
    return visible


def outline(image: Pixels, tiles: tuple[int, ...], grid: Grid) -> Pixels:
    """A copy of an RGB image with the rectangle of ``tiles`` outlined in orange on black.

    (height, width, 3) uint8 twice, of any scale as long as it shows the whole grid.
    """
    drawn = np.ascontiguousarray(image).copy()
    scale = image.shape[1] / grid.width
    rows, cols = _region(tiles, grid)
    width = max(2, round(image.shape[1] / 110))
    inset = width
    upper_left = (round(cols.start * scale) + inset, round(rows.start * scale) + inset)
    lower_right = (round(cols.stop * scale) - 1 - inset, round(rows.stop * scale) - 1 - inset)
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
