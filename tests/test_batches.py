"""What a batch of described pairs can teach."""

from __future__ import annotations

import numpy as np
import pytest
from textures import textured

from dupnet.network.descriptors import describe, untrained_weights
from dupnet.training.batches import is_told


@pytest.mark.parametrize(("side", "told"), [(128, False), (176, True), (256, True)])
def test_a_label_is_told_by_cells_that_neither_collar_hides(side: int, told: bool) -> None:
    """Tiles that show something in opposite corners, black elsewhere."""
    texture = textured(1, 256, seed=1)[0]
    tiles = np.zeros((2, 256, 256), np.uint8)
    tiles[0, :side, :side], tiles[1, -side:, -side:] = texture[:side, :side], texture[-side:, -side:]
    assert is_told(describe(tiles, untrained_weights()).verify, "cross") is told
