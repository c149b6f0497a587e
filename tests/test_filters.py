"""The fixed filters: separate bands, and the same as shipped."""

from __future__ import annotations

import numpy as np

from dupnet.network.descriptors import SEARCH_PROJECTION, load_weights, untrained_weights
from dupnet.network.filters import band_filters, centred_filters, search_directions


def test_shipped_search_directions_are_those_of_the_seed() -> None:
    shipped = np.load(SEARCH_PROJECTION, allow_pickle=False)
    made = search_directions()
    assert shipped.shape == made.shape and shipped.dtype == np.int8
    assert np.abs(shipped.astype(int) - made).max() <= 1


def test_band_filters_start_in_separate_bands() -> None:
    filters = band_filters(7).reshape(7, -1)
    np.testing.assert_allclose(filters @ filters.T, np.eye(7), atol=1e-4)


def test_shipped_filters_are_those_of_the_seed() -> None:
    shipped = centred_filters(load_weights().arrays["projection.filters"])
    np.testing.assert_allclose(shipped, untrained_weights().arrays["projection.filters"], atol=1e-5)
