"""Hashes of a tile: MD5, OpenCV's and imagehash's perceptual hashes, and the distance between two of a kind.

:data:`HASHES` names them all, so that a loop over it measures each in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.files.extras import extra
from dupnet.tiles import grey_levels

__all__ = [
    "HASHES",
    "TileHash",
    "block_mean_hash",
    "block_mean_hash_channels",
    "colour_moment_hash",
    "hamming_distance",
    "md5",
    "opencv_phash",
]

Bytes = npt.NDArray[np.uint8]
Hash = npt.NDArray[np.generic]

BLOCK_MEAN_SIDE = 256
"""Side to which OpenCV's BlockMeanHash reduces an image before it cuts 16 x 16 blocks of 16 px."""

SEGMENTATION_SIDE, SEGMENT_THRESHOLD, SEGMENT_PIXELS = 300, 128, 500
"""Of imagehash's crop-resistant hash: side to which a tile is brought, grey level above which a pixel is
bright, and size that a segment has to exceed."""


@dataclass(frozen=True)
class TileHash:
    """A hash, and how far apart two of its values are.

    ``compute`` takes an RGB tile, (height, width, 3) uint8. ``distance`` is zero for equal hashes,
    symmetric, and larger for less alike; ``n_bits`` is the size of the hash (0: it depends on the tile).
    """

    compute: Callable[[Bytes], Hash]
    distance: Callable[[Hash, Hash], float]
    n_bits: int
    source: str

    def __call__(self, tile: Bytes) -> Hash:
        return self.compute(tile)

    def between(self, tile1: Bytes, tile2: Bytes) -> float:
        """Distance of the hashes of two RGB tiles (height, width, 3) uint8."""
        return self.distance(self.compute(tile1), self.compute(tile2))


def hamming_distance(hash1: Bytes, hash2: Bytes) -> npt.NDArray[np.int64]:
    """Bits in which packed hashes differ: (..., bytes) uint8 twice, broadcast -> (...) int64.

    Raises
    ------
    ValueError
        If the hashes are not of one length, or not bytes.
    """
    if hash1.dtype != np.uint8 or hash2.dtype != np.uint8 or hash1.shape[-1] != hash2.shape[-1]:
        raise ValueError(
            f"hash1 is {hash1.dtype} {hash1.shape}, hash2 {hash2.dtype} {hash2.shape}; "
            "expected uint8 hashes of one length."
        )
    return np.asarray(np.bitwise_count(hash1 ^ hash2).sum(axis=-1, dtype=np.int64))


def md5(tile: Bytes) -> str:
    """MD5 of a tile's values (any shape), in row order: 32 hexadecimal digits. One level more changes all."""
    return hashlib.md5(np.ascontiguousarray(tile).tobytes(), usedforsecurity=False).hexdigest()


def block_mean_hash(grey_tiles: Bytes) -> Bytes:
    """OpenCV's BlockMeanHash (mode 0) of grey tiles: (..., height, width) uint8 -> (..., 32) uint8.

    A bit says whether the mean of one of 16 x 16 blocks is at least the mean of the whole. Bit for bit what
    ``cv2.img_hash.blockMeanHash`` returns, and about ten times as fast on a stack.

    Source: Yang, Gu and Niu, "Block mean value based image perceptual hashing", 2006,
    doi:10.1109/IIH-MSP.2006.265125.
    """
    side = BLOCK_MEAN_SIDE
    leading = grey_tiles.shape[:-2]
    tiles = grey_tiles.reshape(-1, *grey_tiles.shape[-2:])
    if tiles.shape[1:] != (side, side):
        size, method = (side, side), cv2.INTER_LINEAR_EXACT  # as OpenCV does
        tiles = np.stack([np.asarray(cv2.resize(tile, size, interpolation=method)) for tile in tiles])
    strips = tiles.reshape(-1, 16, side // 16, side).sum(axis=2, dtype=np.uint16)
    sums = strips.reshape(-1, 16, 16, side // 16).sum(axis=3, dtype=np.uint32).reshape(-1, 256)
    # In whole numbers: block mean >= mean of all, both times 65536.
    bits = sums * np.uint32(256) >= sums.sum(axis=1, keepdims=True)
    return np.packbits(bits, axis=1, bitorder="little").reshape(*leading, 32)


def block_mean_hash_channels(tile: Bytes) -> Bytes:
    """:func:`block_mean_hash` of each channel, one after the other: (height, width, 3) RGB -> (96,) uint8."""
    return block_mean_hash(np.ascontiguousarray(np.moveaxis(tile, 2, 0))).reshape(-1)


def colour_moment_hash(tile: Bytes) -> npt.NDArray[np.float64]:
    """OpenCV's ColorMomentHash: (height, width, 3) RGB -> (42,) float64, seven Hu moments of six channels.

    The channels are those of HSV and YCrCb. Source: Tang, Dai and Zhang, "Perceptual hashing for color images
    using invariant moments", 2012.
    """
    moments = _img_hash().colorMomentHash(cv2.cvtColor(tile, cv2.COLOR_RGB2BGR))
    return np.asarray(moments, dtype=np.float64).reshape(-1)


def opencv_phash(tile: Bytes) -> Bytes:
    """OpenCV's pHash: (height, width, 3) RGB -> (8,) uint8, lowest cosine coefficients against their mean."""
    return np.asarray(_img_hash().pHash(grey_levels(tile)), dtype=np.uint8).reshape(-1)


def _img_hash() -> Any:
    if not hasattr(cv2, "img_hash"):
        raise ImportError(
            "This OpenCV has no img_hash: replace opencv-python by opencv-contrib-python-headless."
        )
    return cv2.img_hash


def _imagehash(name: str) -> Callable[[Bytes], Bytes]:
    """A hash of the imagehash package, packed: (n,) uint8. The package is imported at the first call."""

    def compute(tile: Bytes) -> Bytes:
        with extra():
            import imagehash
        from PIL import Image

        found = getattr(imagehash, name)(Image.fromarray(tile))
        return np.packbits(np.asarray(found.hash, dtype=bool).reshape(-1))

    return compute


def _crop_resistant_hash(tile: Bytes) -> Bytes:
    """Difference hashes of a tile's bright and dark segments: (n_segments, 8) uint8.

    Those of ``imagehash.crop_resistant_hash``, in its order, forty times as fast: its regions grow pixel by
    pixel in Python, and these are OpenCV's connected components.

    Source: Steinebach, Liu and Yannikos, "Efficient cropping-resistant robust image hashing", 2014,
    doi:10.1109/ARES.2014.85.
    """
    with extra():
        import imagehash
    from PIL import Image, ImageFilter

    image, side = Image.fromarray(tile), SEGMENTATION_SIDE
    small = image.convert("L").resize((side, side), Image.Resampling.LANCZOS)
    levels = cv2.medianBlur(np.asarray(small.filter(ImageFilter.GaussianBlur())), 3)
    scale = np.tile([image.width / side, image.height / side], 2)
    boxes = _segments(levels > SEGMENT_THRESHOLD) * scale
    hashes = [imagehash.dhash(image.crop(tuple(box))).hash for box in boxes.tolist()]
    return np.stack([np.packbits(bits.reshape(-1)) for bits in hashes])


def _segments(is_bright: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Boxes (n, 4) of the bright, then of the dark segments: left, top, right, bottom; ends are exclusive."""
    boxes = []
    # imagehash counts the pixels around the border as segmented, and stops when it has counted as many as
    # the image holds: the dark segments that come last are left out.
    n_counted = 2 * sum(is_bright.shape)
    for mask in (is_bright, ~is_bright):
        n_labels, labels, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
        first = np.zeros(n_labels, dtype=np.int64)
        first[labels.ravel()[::-1]] = np.arange(labels.size)[::-1]  # what is written last stays
        for row in np.argsort(first[1:]) + 1:
            left, top, width, height, size = (int(value) for value in found[row])
            if mask is not is_bright and n_counted >= mask.size:
                break
            n_counted += size if size > 1 else 0  # of a single pixel it does not see that it is done
            if size > SEGMENT_PIXELS:
                boxes.append((left, top, left + width, top + height))
    return np.array(boxes or [(0, 0, *is_bright.shape[::-1])], dtype=np.int64)


def _crop_resistant_distance(hash1: Hash, hash2: Hash) -> float:
    """Share of segments without a counterpart within a quarter of the bits, averaged over both directions.

    imagehash matches by the same quarter, but counts from the first image only.
    """
    bits1, bits2 = np.asarray(hash1, dtype=np.uint8), np.asarray(hash2, dtype=np.uint8)
    apart = hamming_distance(bits1[:, None], bits2[None]) > bits1.shape[1] * 8 / 4
    return float((apart.all(axis=1).mean() + apart.all(axis=0).mean()) / 2)


def _bits_apart(hash1: Hash, hash2: Hash) -> float:
    return float(hamming_distance(np.asarray(hash1, dtype=np.uint8), np.asarray(hash2, dtype=np.uint8)))


def _unequal(hash1: Hash, hash2: Hash) -> float:
    return float(not np.array_equal(hash1, hash2))


def _moments_apart(hash1: Hash, hash2: Hash) -> float:
    """Euclidean distance times 10,000, the scale of OpenCV's own ``compare``."""
    return float(np.linalg.norm(hash1.astype(np.float64) - hash2.astype(np.float64)) * 10_000)


def _md5_bytes(tile: Bytes) -> Bytes:
    return np.frombuffer(bytes.fromhex(md5(tile)), dtype=np.uint8)


def _block_mean_hash_grey(tile: Bytes) -> Bytes:
    return block_mean_hash(grey_levels(tile))


HASHES: dict[str, TileHash] = {
    "md5": TileHash(_md5_bytes, _unequal, 128, "hashlib"),
    "block_mean_hash": TileHash(_block_mean_hash_grey, _bits_apart, 256, "OpenCV"),
    "block_mean_hash_channels": TileHash(block_mean_hash_channels, _bits_apart, 768, "OpenCV"),
    "colour_moment_hash": TileHash(colour_moment_hash, _moments_apart, 2688, "OpenCV"),
    "opencv_phash": TileHash(opencv_phash, _bits_apart, 64, "OpenCV"),
    "average_hash": TileHash(_imagehash("average_hash"), _bits_apart, 64, "imagehash"),
    "perceptual_hash": TileHash(_imagehash("phash"), _bits_apart, 64, "imagehash"),
    "difference_hash": TileHash(_imagehash("dhash"), _bits_apart, 64, "imagehash"),
    "wavelet_hash": TileHash(_imagehash("whash"), _bits_apart, 64, "imagehash"),
    "colour_hash": TileHash(_imagehash("colorhash"), _bits_apart, 42, "imagehash"),
    "crop_resistant_hash": TileHash(_crop_resistant_hash, _crop_resistant_distance, 0, "imagehash"),
}
"""Every hash by name."""
