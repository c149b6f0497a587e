"""Making copies of a tile that still show the same place and moment, and copies that no longer do.

Everything here is a pure function on arrays; randomness comes in as a ``numpy.random.Generator``.

* What leaves a duplicate a duplicate: :func:`jpeg`, :func:`hls_shift`, :func:`reprocess`, and
  :func:`dihedral` of both tiles alike. :func:`augment_pair` draws from all of them.
* What makes a hard non-duplicate: :func:`another_day`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.images.jpeg import encode_jpeg

__all__ = [
    "N_DIHEDRAL",
    "AugmentConfig",
    "another_day",
    "augment_pair",
    "dihedral",
    "hls_shift",
    "jpeg",
    "random_hls_shift",
    "random_jpeg",
    "reprocess",
    "soft_blobs",
]

Image = npt.NDArray[np.uint8]

N_DIHEDRAL = 8
"""Elements of the dihedral group of the square: four quarter turns, each with and without a mirror."""


@dataclass(frozen=True)
class AugmentConfig:
    """How far a copy may be from its original. Symmetric limits: a limit of 15 draws from -15 to 15.

    Hue is in degrees, lightness and saturation in percent, all as in GIMP's *Hue-Saturation*. Their limits
    are those of ``notebooks/eda/hls_shift.ipynb``: the largest shifts that cost nine tiles of ten no more
    likeness than saving them again as JPEG of quality 75. Lightness has two, since GIMP brightens by mixing
    in white, which dark sea shows at once, and darkens by a factor.
    """

    hue_limit: float = 15.0
    lightness_low: float = -30.0
    lightness_high: float = 5.0
    saturation_limit: float = 10.0
    hls_probability: float = 0.75  # the original shifted one tile of a pair in three cases of four
    jpeg_quality_min: int = 75
    jpeg_quality_max: int = 97
    jpeg_probability: float = 0.5  # of each tile on its own
    reprocess_probability: float = 0.25
    gain_limit: float = 0.06  # relative, one draw for the image and half as much for each channel
    gamma_limit: float = 0.06
    colour_mix_limit: float = 0.03  # what a channel takes from each of the other two
    sharpen_limit: float = 0.3  # weight of an unsharp mask; below zero it blurs
    noise_limit: float = 0.7  # standard deviation, grey levels


def hls_shift(image: Image, hue: float = 0.0, lightness: float = 0.0, saturation: float = 0.0) -> Image:
    """Shift hue, lightness and saturation of an RGB image as GIMP 2.10's *Hue-Saturation* does (range: all).

    Parameters
    ----------
    image : (height, width, 3) uint8
        RGB.
    hue : -180 to 180
        Degrees, added and wrapped.
    lightness : -100 to 100
        Percent. 100 takes lightness half the way to white, -100 half the way to black: GIMP halves the value
        (``map_lightness`` in ``gimpoperationhuesaturation.c``).
    saturation : -100 to 100
        Percent, a factor of ``1 + saturation / 100``, clipped at full saturation.

    Returns
    -------
    (height, width, 3) uint8, RGB, within one level of GIMP's result

    Raises
    ------
    ValueError
        If the image is not RGB uint8 or a shift is outside its range.
    """
    _check_rgb(image)
    shifts = (("hue", hue, 180), ("lightness", lightness, 100), ("saturation", saturation, 100))
    for name, value, limit in shifts:
        if not -limit <= value <= limit:
            raise ValueError(f"{name} is {value}; it must be from {-limit} to {limit}, as in GIMP.")
    if hue == lightness == saturation == 0:
        return image.copy()
    # Floating point, as in GIMP: the 8-bit conversion alone is off by up to 4 levels.
    hls = _float32(cv2.cvtColor(image.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2HLS))
    hues, lights, saturations = hls[..., 0], hls[..., 1], hls[..., 2]
    if hue:
        hues += np.float32(hue % 360)
        np.subtract(hues, 360, out=hues, where=hues >= 360)  # the way back takes no hue outside 0 to 360
    if lightness:
        lights *= np.float32(1 - abs(lightness) / 200)
        lights += np.float32(max(lightness, 0) / 200)
    if saturation:
        saturations *= np.float32(1 + saturation / 100)
        np.minimum(saturations, 1, out=saturations)
    return _round_half_up(_float32(cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)) * np.float32(255))


def jpeg(image: Image, quality: int) -> Image:
    """The image after one JPEG round trip with 4:2:0 chroma, as the Airbus files have it.

    Parameters
    ----------
    image : (height, width, 3) or (height, width) uint8
        RGB, or grey.
    quality : 1 to 100
        On libjpeg's scale.

    Raises
    ------
    ValueError
        If the quality is outside 1 to 100 or the array is no such image.
    """
    if image.ndim != 2:
        _check_rgb(image)
    coded = np.frombuffer(encode_jpeg(image, quality), dtype=np.uint8)
    flag = cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR_RGB
    return np.asarray(cv2.imdecode(coded, flag), dtype=np.uint8)


def dihedral(image: npt.NDArray[np.generic], element: int) -> npt.NDArray[np.generic]:
    """One of the eight flips and quarter turns of an image or a stack of images.

    Parameters
    ----------
    image : (height, width), (height, width, 3), (n, height, width) or (n, height, width, 3)
        A last axis of length 3 is taken for the channels.
    element : 0 to 7
        ``element % 4`` counterclockwise quarter turns, after a left-right mirror from 4 on. Every element
        from 4 on is its own inverse; 1 and 3 undo each other.

    Returns
    -------
    A contiguous array of the same dtype; odd numbers of quarter turns exchange height and width.

    Raises
    ------
    ValueError
        If there is no such element.
    """
    if not 0 <= element < N_DIHEDRAL:
        raise ValueError(f"element is {element}; the square has elements 0 to {N_DIHEDRAL - 1}.")
    last = image.ndim - (2 if image.ndim >= 3 and image.shape[-1] == 3 else 1)
    mirrored = np.flip(image, last) if element >= 4 else image
    return np.ascontiguousarray(np.rot90(mirrored, element % 4, axes=(last - 1, last)))


def random_hls_shift(
    image: Image, rng: np.random.Generator, config: AugmentConfig = AugmentConfig()
) -> Image:
    """:func:`hls_shift` of an RGB image, each shift drawn evenly within the limits of ``config``.

    (height, width, 3) uint8 twice.
    """
    hue = float(rng.uniform(-config.hue_limit, config.hue_limit))
    lightness = float(rng.uniform(config.lightness_low, config.lightness_high))
    saturation = float(rng.uniform(-config.saturation_limit, config.saturation_limit))
    return hls_shift(image, hue, lightness, saturation)


def random_jpeg(image: Image, rng: np.random.Generator, config: AugmentConfig = AugmentConfig()) -> Image:
    """:func:`jpeg` with a quality drawn evenly within the limits of ``config``.

    (height, width, 3) or (height, width) uint8 twice.
    """
    return jpeg(image, int(rng.integers(config.jpeg_quality_min, config.jpeg_quality_max, endpoint=True)))


def reprocess(image: Image, rng: np.random.Generator, config: AugmentConfig = AugmentConfig()) -> Image:
    """One acquisition processed again: gain, gamma, colour matrix, sharpening and noise.

    Each is drawn within the limits of ``config``. Nothing moves: the result is registered to the pixel and
    remains a duplicate of ``image``.

    Parameters
    ----------
    image : (height, width, 3) uint8
        RGB.
    rng
        The source of every draw.
    config
        The limits.

    Returns
    -------
    (height, width, 3) uint8, RGB
    """
    _check_rgb(image)
    gain = (1 + rng.uniform(-1, 1) * config.gain_limit) * (1 + rng.uniform(-1, 1, 3) * config.gain_limit / 2)
    gamma = 1 + rng.uniform(-1, 1) * config.gamma_limit
    mix = rng.uniform(-1, 1, (3, 3)) * config.colour_mix_limit
    np.fill_diagonal(mix, 0)
    np.fill_diagonal(mix, 1 - mix.sum(axis=1))  # rows sum to one, so grey stays grey
    sharpen = rng.uniform(-1, 1) * config.sharpen_limit
    noise = rng.uniform(0, config.noise_limit)

    curve = (np.arange(256) / 255) ** gamma * 255
    table = (curve[:, None] * gain).astype(np.float32)
    curved = cv2.LUT(image, table.reshape(256, 1, 3))
    mixed = _float32(cv2.transform(curved, mix.astype(np.float32)))
    sharp = cv2.addWeighted(mixed, 1 + sharpen, cv2.GaussianBlur(mixed, (0, 0), 1.0), -sharpen, 0)
    levels = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(noise) + _float32(sharp)
    # Saturated white and black carry nothing to process: no sensor noise reappears in them.
    solid = (image == 255) | (image == 0)
    return np.where(solid, image, _round_half_up(levels))


def augment_pair(
    tile1: Image, tile2: Image, rng: np.random.Generator, config: AugmentConfig = AugmentConfig()
) -> tuple[Image, Image]:
    """A pair of tiles as it might also have been met; its label, duplicate or not, stays what it was.

    In this order: one tile processed again, an HLS shift of one tile, JPEG round trips of either, the same
    flip and quarter turn of both, an exchange of the two. Duplicates stay registered to the pixel.

    Parameters
    ----------
    tile1, tile2 : (size, size, 3) uint8
        RGB.
    rng
        The source of every draw; equal generators give equal pairs.
    config
        The limits and probabilities.

    Returns
    -------
    Two (size, size, 3) uint8 arrays, RGB
    """
    tiles = [tile1, tile2]
    if rng.random() < config.reprocess_probability:
        which = int(rng.integers(2))
        tiles[which] = reprocess(tiles[which], rng, config)
    if rng.random() < config.hls_probability:
        which = int(rng.integers(2))
        tiles[which] = random_hls_shift(tiles[which], rng, config)
    for which in range(2):
        if rng.random() < config.jpeg_probability:
            tiles[which] = random_jpeg(tiles[which], rng, config)
    element = int(rng.integers(N_DIHEDRAL))
    turned = [np.asarray(dihedral(tile, element), dtype=np.uint8) for tile in tiles]
    if rng.random() < 0.5:
        turned.reverse()
    return turned[0], turned[1]


def another_day(tile: Image, other_tile: Image, rng: np.random.Generator) -> Image:
    """The place of ``tile`` as on another day: part of it has the texture of ``other_tile``.

    30 to 70 % of the pixels, in soft blobs of 60 to 100 px, take the detail of ``other_tile`` on the slow
    brightness and colour of ``tile``; the rest stays registered to the pixel, and all of it is lit anew. So
    quay and roofs agree while water does not. The pair is a *hard non-duplicate* provided that the two tiles
    carry different texture; a replaced part that is solid in both proves nothing.

    Parameters
    ----------
    tile, other_tile : (height, width, 3) uint8
        RGB, of one shape.
    rng
        The source of every draw.

    Returns
    -------
    (height, width, 3) uint8, RGB

    Raises
    ------
    ValueError
        If the shapes differ or are not RGB.
    """
    _check_rgb(tile)
    if tile.shape != other_tile.shape:
        raise ValueError(f"other_tile has shape {other_tile.shape}; it must be that of tile, {tile.shape}.")
    mask = soft_blobs(tile.shape[:2], rng.uniform(0.3, 0.7), rng.uniform(60, 100), rng)[..., None]
    here, there = tile.astype(np.float32), other_tile.astype(np.float32)
    slow_here, slow_there = (_slow_levels(levels) for levels in (here, there))
    detail = there - slow_there
    # Half of the time the new texture is as strong as the old: strength alone must not give the answer away.
    if rng.random() < 0.5:
        old, new = float((here - slow_here).std()), float(detail.std())
        detail *= np.float32(np.clip(old / max(new, 1e-3), 0.25, 4.0))
    mixed = here + mask * (slow_here + detail - here)
    light = 1 + rng.uniform(-0.08, 0.08)
    slope = _ramp(tile.shape[:2], rng.uniform(0, 2 * np.pi)) * np.float32(rng.uniform(0, 4))
    return _round_half_up(mixed * np.float32(light) + slope[..., None])


def soft_blobs(
    shape: tuple[int, ...], share: float, diameter: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A mask of soft blobs: (height, width) float32 from 0 to 1, about ``share`` of it above one half.

    It is smoothed noise, cut at the quantile that leaves ``share``. ``shape`` begins with height and width;
    ``diameter`` is the typical width of a blob in pixels.
    """
    height, width = shape[0], shape[1]
    # Drawn at a quarter of the size, where smoothing costs a sixteenth and nothing finer survives it. Blobs
    # of smoothed noise, cut at its median, are about four standard deviations of the smoothing wide.
    noise = rng.standard_normal((-(-height // 4), -(-width // 4)), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), diameter / 16)
    smooth = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC)
    hard = (smooth > np.quantile(smooth, 1 - share)).astype(np.float32)
    return _float32(cv2.GaussianBlur(hard, (0, 0), 3.0))


def _float32(array: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """What OpenCV returned, with the type that its stubs leave open."""
    return np.asarray(array, dtype=np.float32)


def _round_half_up(levels: npt.NDArray[np.float32]) -> Image:
    """Round half up, as GIMP does, and clip."""
    rounded = levels + np.float32(0.5)
    np.clip(rounded, 0, 255, out=rounded)
    return rounded.astype(np.uint8)


def _slow_levels(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Brightness and colour without detail under about 25 px: a Gaussian of 12 px, on a quarter's size."""
    height, width = levels.shape[:2]
    small = cv2.resize(levels, (-(-width // 4), -(-height // 4)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 3.0)
    return _float32(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _ramp(shape: tuple[int, ...], angle: float) -> npt.NDArray[np.float32]:
    """A plane from -1 to 1 across the image, rising along ``angle`` in radians."""
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    cols = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return np.asarray((rows * np.sin(angle) + cols * np.cos(angle)) / np.sqrt(2), dtype=np.float32)


def _check_rgb(image: npt.NDArray[np.generic]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 (height, width, 3), RGB.")
