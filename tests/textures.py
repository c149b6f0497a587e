"""Tiles of random texture, and copies of them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def textured(n: int, size: int = 256, seed: int = 0, contrast: float = 12.0) -> Bytes:
    """Grey tiles of smooth random texture."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, size, size)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.5) for plane in noise])
    return np.clip(np.rint(110 + contrast * smooth / smooth.std()), 0, 255).astype(np.uint8)


def noisy(tiles: Bytes, strength: float, seed: int = 1) -> Bytes:
    noise = np.random.default_rng(seed).normal(0, strength, tiles.shape)
    return np.clip(np.rint(tiles + noise), 0, 255).astype(np.uint8)


def turned(tiles: Bytes, element: int) -> Bytes:
    mirrored = tiles[:, :, ::-1] if element >= 4 else tiles
    return np.ascontiguousarray(np.rot90(mirrored, element % 4, axes=(1, 2)))


def rough_scene(seed: int, noise: float) -> Bytes:
    """Fields of 64 px in colours of their own, (768, 768, 3), with noise of so many levels."""
    rng = np.random.default_rng(seed)
    slow = np.kron(rng.uniform(60, 180, (12, 12, 3)), np.ones((64, 64, 1)))
    return np.clip(slow + rng.normal(0, noise, slow.shape), 0, 255).astype(np.uint8)
