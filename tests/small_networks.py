"""Networks small enough to build in a test, and pairs of tiles to show them."""

from __future__ import annotations

import keras
import numpy as np

from dupnet.network.architectures import DupnetConfig, DupnetV0Config, HeadConfig, dupnet

SMALL = DupnetConfig(
    tile_size=96,
    n_filters=3,
    first_stage=HeadConfig((6,), 2, 4, ()),
    ensemble=HeadConfig((12, 7), 3, 10, (9,)),
    n_members=2,
)
SMALL_V0 = DupnetV0Config(tile_size=32, filters=(3, 4), dense_units=5)


def tiles(n: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that resemble each other more or less, with uneven texture."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 256, (n, size, size, 3)) * np.linspace(0.02, 1, size)[:, None, None]
    second = first + rng.normal(0, 1, first.shape) * np.linspace(0, 60, n)[:, None, None, None]
    return first.astype(np.uint8), np.clip(second, 0, 255).astype(np.uint8)


def scores(model: keras.Model, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict([first, second], verbose=0)).ravel()


def small_dupnet() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = dupnet(SMALL)
    # Biases start at zero, which would hide a mistake in them.
    for variable in model.trainable_variables:
        if variable.name == "bias":
            variable.assign(np.random.default_rng(1).normal(0, 0.3, variable.shape))
    return model
