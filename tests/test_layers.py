"""Layers: each moves with flips and turns of its input, or does not change at all."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from dupnet.network.filters import band_filters, centred_filters, orientations
from dupnet.network.layers import (
    Cascade,
    CellFeatures,
    CellProjection,
    NeighbourhoodMean,
    PoolCells,
    TileFeatures,
)


def turned(array: np.ndarray, element: int) -> np.ndarray:
    mirrored = array[:, :, ::-1] if element >= 4 else array
    return np.rot90(mirrored, element % 4, axes=(1, 2)).copy()


def tiles(seed: int, n: int = 3, size: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def projection() -> CellProjection:
    keras.utils.set_random_seed(0)
    layer = CellProjection(n_filters=5)
    layer(tiles(0))
    return layer


def test_projection_is_that_of_numpy(projection: CellProjection) -> None:
    found = projection(tiles(1))
    filters = centred_filters(np.asarray(ops.convert_to_numpy(projection.filters), np.float32))
    np.testing.assert_allclose(filters, band_filters(5), atol=1e-4)
    directions = orientations(filters).reshape(5, 8, -1)
    cell = tiles(1)[2, 32:64, 96:128, 0].astype(np.float64)
    projected = directions @ cell.ravel()
    power = np.square(projected).sum(axis=1) + 0.2
    expected = np.sort(127 * projected / np.sqrt(power)[:, None], axis=1)
    computed = np.sort(ops.convert_to_numpy(found["codes"])[2, 1, 3], axis=1)
    np.testing.assert_allclose(computed, expected, atol=0.52)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found["powers"])[2, 1, 3], 16 * (np.log(power) + 1.7), atol=0.52
    )
    assert ops.convert_to_numpy(found["mean"])[2, 1, 3, 0] == np.rint(cell.mean())


def test_only_the_shape_of_a_filter_counts(projection: CellProjection) -> None:
    """Neither its length nor what is added to all of a row or a column."""
    changed = CellProjection(n_filters=5)
    changed(tiles(0))
    rng = np.random.default_rng(0)
    added = rng.normal(size=(5, 32, 1)) + rng.normal(size=(5, 1, 32))
    changed.filters.assign(3 * ops.convert_to_numpy(projection.filters) + added)
    for name, expected in projection(tiles(1)).items():
        found = ops.convert_to_numpy(changed(tiles(1))[name])
        np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=1.01)


@pytest.mark.parametrize("element", range(8))
def test_features_move_with_the_cells(projection: CellProjection, element: int) -> None:
    first, second = tiles(1), tiles(2)
    still = [projection(first), projection(second)]
    moved = [projection(turned(first, element)), projection(turned(second, element))]
    cells = ops.convert_to_numpy(CellFeatures()(*still))
    np.testing.assert_allclose(
        ops.convert_to_numpy(CellFeatures()(*moved)), turned(cells, element), atol=2e-3
    )
    whole = ops.convert_to_numpy(TileFeatures()(*still))
    np.testing.assert_allclose(ops.convert_to_numpy(TileFeatures()(*moved)), whole, atol=2e-3)


def test_features_are_symmetric_and_know_equal_tiles(projection: CellProjection) -> None:
    one, two = projection(tiles(1)), projection(tiles(2))
    for layer in (CellFeatures(), TileFeatures()):
        forth, back = (ops.convert_to_numpy(layer(*pair)) for pair in ((one, two), (two, one)))
        np.testing.assert_allclose(forth, back, atol=1e-5)
    equal = ops.convert_to_numpy(CellFeatures()(one, one))
    np.testing.assert_allclose(equal[..., :5], 1, atol=0.03)  # eight codes, each rounded
    np.testing.assert_allclose(equal[..., 5:10], 0, atol=1e-5)


def test_neighbourhood_mean_against_a_loop() -> None:
    cells = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    found = ops.convert_to_numpy(NeighbourhoodMean()(cells))
    for row in range(4):
        for col in range(4):
            window = cells[:, max(0, row - 1) : row + 2, max(0, col - 1) : col + 2]
            np.testing.assert_allclose(found[:, row, col], window.mean(axis=(1, 2)), atol=1e-6)


def test_pool_is_mean_and_maximum() -> None:
    cells = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    found = ops.convert_to_numpy(PoolCells()(cells))
    np.testing.assert_allclose(found, np.concatenate([cells.mean((1, 2)), cells.max((1, 2))], 1), atol=1e-6)


def test_the_ensemble_scores_what_the_first_stage_defers() -> None:
    def logit(score: float) -> float:
        return float(np.log(score / (1 - score)))

    cascade = Cascade((logit(0.01), logit(0.9)))
    ensemble = [0.3, 0.4, 0.8]
    for first, expected in ((0.001, 0.001), (0.01, 0.01), (0.95, 0.95), (0.5, 0.5), (0.1, 0.5)):
        found = np.asarray(cascade(np.array([[first, *ensemble]], np.float32)))
        assert found.shape == (1, 1)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # Half a unit inside the bound, half of each.
    half = 1 / (1 + np.exp(-(logit(0.01) + 0.5)))
    found = np.asarray(cascade(np.array([[half, *ensemble]], np.float32)))
    np.testing.assert_allclose(found, (half + 0.5) / 2, atol=1e-5)
    # No step anywhere, the ends included.
    first = np.linspace(0, 1, 200_001, dtype=np.float32)
    found = np.asarray(cascade(np.stack([first, *(np.full_like(first, e) for e in ensemble)], axis=1)))
    assert np.isfinite(found).all() and np.abs(np.diff(found[:, 0])).max() < 1e-3


def test_every_head_learns_from_every_pair() -> None:
    cascade = Cascade((-1.0, 1.0))
    scores = np.array([[0.9, 0.1, 0.2, 0.4]], np.float32)
    np.testing.assert_allclose(np.asarray(cascade(scores, training=True)), 0.4, atol=1e-6)
