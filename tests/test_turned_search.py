"""Turned images are read as images of their own, after all that are as they are."""

from __future__ import annotations

import numpy as np

from dupnet.find.turned_search import turned_reader
from dupnet.images.transforms import N_TURNS, turned


def test_every_turn_of_every_image_has_a_number_of_its_own() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (5, 7), np.uint8), rng.integers(0, 256, (4, 4), np.uint8)]
    valid = [images[0] > 99, None]
    read = turned_reader(lambda number: (images[number], valid[number]), 2)
    for turn in range(N_TURNS):
        for number in range(2):
            grey, mask = read(number + 2 * turn)
            np.testing.assert_array_equal(grey, turned(images[number], turn))
            assert (mask is None) == (valid[number] is None)
            if mask is not None:
                np.testing.assert_array_equal(mask, turned(valid[number], turn))
